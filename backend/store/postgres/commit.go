package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, id string, mutations []*board.Mutation) (d board.Delta, err error) {
	err = s.write(ctx, "", func(pg pgx.Tx) error {
		d, err = store.Apply(&tx{ctx: ctx, pg: pg, board: id}, s.rules, id, mutations, s.now())
		return err
	})
	return d, err
}

// Collect implements [store.Store].
func (s *Store) Collect(ctx context.Context, user, id string, before time.Time) (d board.Delta, err error) {
	err = s.write(ctx, "", func(pg pgx.Tx) error {
		d, err = store.Collect(&tx{ctx: ctx, pg: pg, board: id}, user, id, before, s.now())
		return err
	})
	return d, err
}

// Pull implements [store.Store].
func (s *Store) Pull(ctx context.Context, user, id string, since store.Since) (d board.Delta, err error) {
	if s.replica != nil {
		now, err := s.Board(ctx, user, id)
		if err != nil {
			return d, err
		}
		pull := func(pg pgx.Tx) (err error) {
			d, err = pullFrom(ctx, pg, user, id, since, now.Seq)
			return err
		}
		if s.fromReplica(ctx, user, id, pull) {
			return d, nil
		}
	}
	err = s.readBoard(ctx, user, id, func(pg pgx.Tx) error {
		d, err = pullFrom(ctx, pg, user, id, since, 0)
		return err
	})
	return d, err
}

// pullFrom pulls in a transaction that sees the board at least at a sequence number, or fails with errBehind.
func pullFrom(ctx context.Context, pg pgx.Tx, user, id string, since store.Since, atLeast int64) (d board.Delta, err error) {
	t := &tx{ctx: ctx, pg: pg, board: id}
	var head board.Head
	var hash int64
	err = pg.QueryRow(ctx, "SELECT seq, hlc, hash, gc FROM app.boards WHERE id = $1", id).Scan(&head.Seq, &head.HLC, &hash, &head.GC)
	if err != nil {
		return d, notFound(err)
	}
	if head.Seq < atLeast {
		return d, errBehind
	}
	head.Hash = uint64(hash)
	d = store.PullDelta(id, head, since)
	b := &pgx.Batch{}
	last := int64(math.MaxInt64)
	if since.Limit > 0 {
		err := pg.QueryRow(ctx, "SELECT seq FROM app.board_rows WHERE board = $1 AND seq > $2 ORDER BY seq OFFSET $3 LIMIT 1", id, d.From, since.Limit-1).Scan(&last)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return d, err
		}
	}
	b.Queue("SELECT kind, id, seq, regs FROM app.board_rows WHERE board = $1 AND seq > $2 AND seq <= $3 ORDER BY seq, kind, id", id, d.From, last).Query(func(rows pgx.Rows) error {
		d.Rows, err = pgx.CollectRows(rows, scanRow)
		return err
	})
	b.Queue("SELECT body FROM app.conflicts WHERE board = $1 AND seq > $2 ORDER BY seq, i", id, d.From).Query(func(rows pgx.Rows) error {
		d.Conflicts, err = pgx.CollectRows(rows, scanJSON[board.Conflict])
		return err
	})
	b.Queue("SELECT result FROM app.mutations WHERE board = $1 AND client = $2 AND user_id = $3 AND n > $4 ORDER BY n", id, since.Client, user, since.N).Query(func(rows pgx.Rows) error {
		results, err := pgx.CollectRows(rows, scanJSON[board.Result])
		for _, r := range results {
			d.Results = append(d.Results, board.ClientResult{Client: since.Client, Result: r})
		}
		return err
	})
	if err := t.send(b); err != nil {
		return d, err
	}
	store.Cut(&d, since, last)
	return d, nil
}

func scanJSON[T any](row pgx.CollectableRow) (v T, err error) {
	var text []byte
	if err := row.Scan(&text); err != nil {
		return v, err
	}
	return v, json.Unmarshal(text, &v)
}

// Log implements [store.Store].
func (s *Store) Log(ctx context.Context, user, id string, after int64, limit int) (out []store.Logged, err error) {
	now, err := s.Board(ctx, user, id)
	if err != nil {
		return nil, err
	}
	read := func(pg pgx.Tx) (err error) {
		out, err = logFrom(ctx, pg, id, now.Seq, after, limit)
		return err
	}
	if s.fromReplica(ctx, user, id, read) {
		return out, nil
	}
	err = s.readBoard(ctx, user, id, read)
	return out, err
}

// logFrom reads in a transaction that sees the board at least at a sequence number, or fails with errBehind.
func logFrom(ctx context.Context, pg pgx.Tx, id string, atLeast, after int64, limit int) ([]store.Logged, error) {
	var seq int64
	if err := pg.QueryRow(ctx, "SELECT seq FROM app.boards WHERE id = $1", id).Scan(&seq); err != nil {
		return nil, notFound(err)
	}
	if seq < atLeast {
		return nil, errBehind
	}
	rows, err := pg.Query(ctx, `SELECT user_id, client, n, at, body, result FROM app.mutations
		WHERE board = $1 AND seq > $2 ORDER BY seq LIMIT $3`, id, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanLogged)
}

// scanLogged reads user_id, client, n, at, body and result.
func scanLogged(row pgx.CollectableRow) (store.Logged, error) {
	var e store.Entry
	var body, result []byte
	if err := row.Scan(&e.User, &e.Client, &e.N, &e.At, &body, &result); err != nil {
		return store.Logged{}, err
	}
	e.Body = body
	err := json.Unmarshal(result, &e.Result)
	return e.Logged(), err
}

// asksForStatements reports whether the address says how to send statements.
func asksForStatements(url string) bool { return strings.Contains(url, "default_query_exec_mode") }
