package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Rows implements [store.Store].
func (s *Store) Rows(ctx context.Context, user, id string, keys []board.Key) (rows []*board.Row, seq int64, err error) {
	now, err := s.Board(ctx, user, id)
	if err != nil {
		return nil, 0, err
	}
	read := func(pg pgx.Tx) (err error) {
		rows, seq, err = rowsFrom(ctx, pg, id, now.Seq, keys)
		return err
	}
	if s.fromReplica(ctx, user, id, read) {
		return rows, seq, nil
	}
	err = s.readBoard(ctx, user, id, read)
	return rows, seq, err
}

// rowsByKey are rows of a board by their kinds and IDs.
const rowsByKey = `SELECT kind, id, seq, regs FROM app.board_rows WHERE board = $1
	AND (kind, id) IN (SELECT * FROM unnest($2::text[], $3::text[]))`

// rowsFrom reads in a transaction that sees the board at least at a sequence number, or fails with errBehind.
func rowsFrom(ctx context.Context, pg pgx.Tx, id string, atLeast int64, keys []board.Key) ([]*board.Row, int64, error) {
	var seq int64
	if err := pg.QueryRow(ctx, "SELECT seq FROM app.boards WHERE id = $1", id).Scan(&seq); err != nil {
		return nil, 0, notFound(err)
	}
	if seq < atLeast {
		return nil, 0, errBehind
	}
	kinds, ids := columns(keys)
	found, err := pg.Query(ctx, rowsByKey, id, kinds, ids)
	if err != nil {
		return nil, 0, err
	}
	rows, err := pgx.CollectRows(found, scanRow)
	return store.InOrder(keys, rows), seq, err
}

// columns are keys as two arrays.
func columns(keys []board.Key) (kinds, ids []string) {
	kinds, ids = make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		kinds[i], ids[i] = k.Kind, k.ID
	}
	return kinds, ids
}
