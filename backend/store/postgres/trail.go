package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Behind implements [store.Trail].
func (s *Store) Behind(ctx context.Context, after string, limit int) ([]store.Behind, error) {
	rows, err := s.pool.Query(ctx, "SELECT board, workspace, marked, seq FROM app.trail_behind($1, $2)", after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (b store.Behind, err error) {
		return b, row.Scan(&b.Board, &b.Workspace, &b.Marked, &b.Seq)
	})
}

// Records implements [store.Trail].
func (s *Store) Records(ctx context.Context, id string, after int64, limit int) ([]board.Record, error) {
	rows, err := s.pool.Query(ctx, "SELECT seq, user_id, at, deeds FROM app.trail_log($1, $2, $3)", id, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (board.Record, error) {
		r := board.Record{Board: id}
		var deeds []byte
		if err := row.Scan(&r.Seq, &r.User, &r.At, &deeds); err != nil {
			return r, err
		}
		return r, json.Unmarshal(deeds, &r.Deeds)
	})
}

// Mark implements [store.Trail].
func (s *Store) Mark(ctx context.Context, id string, seq int64) error {
	_, err := s.pool.Exec(ctx, "SELECT app.trail_mark($1, $2)", id, seq)
	return err
}
