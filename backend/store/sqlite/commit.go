package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, id string, mutations []*board.Mutation) (d board.Delta, err error) {
	err = s.write(ctx, func(t *sql.Tx) error {
		d, err = store.Apply(&tx{ctx: ctx, sql: t, board: id}, s.rules, id, mutations, s.now())
		return err
	})
	return d, err
}

// Collect implements [store.Store].
func (s *Store) Collect(ctx context.Context, user, id string, before time.Time) (d board.Delta, err error) {
	err = s.write(ctx, func(t *sql.Tx) error {
		if _, err := oneBoard(ctx, t, user, id); err != nil {
			return err
		}
		d, err = store.Collect(&tx{ctx: ctx, sql: t, board: id}, user, id, before, s.now())
		return err
	})
	return d, err
}

// Pull implements [store.Store].
func (s *Store) Pull(ctx context.Context, user, id string, since store.Since) (d board.Delta, err error) {
	err = s.read(ctx, func(t *sql.Tx) error {
		if _, err := oneBoard(ctx, t, user, id); err != nil {
			return err
		}
		x := &tx{ctx: ctx, sql: t, board: id}
		head, err := x.Head()
		if err != nil {
			return err
		}
		d = store.PullDelta(id, head, since)
		last := int64(math.MaxInt64)
		if since.Limit > 0 {
			err := t.QueryRowContext(ctx, "SELECT seq FROM board_rows WHERE board = ? AND seq > ? ORDER BY seq LIMIT 1 OFFSET ?", id, d.From, since.Limit-1).Scan(&last)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if d.Rows, err = x.rows("seq > ? AND seq <= ? ORDER BY seq, kind, id", d.From, last); err != nil {
			return err
		}
		rows, err := t.QueryContext(ctx, "SELECT body FROM conflicts WHERE board = ? AND seq > ? ORDER BY seq, i", id, d.From)
		if err != nil {
			return err
		}
		conflicts, err := collect(rows, func(s *string) []any { return []any{s} })
		if err != nil {
			return err
		}
		for _, c := range conflicts {
			var conflict board.Conflict
			if err := json.Unmarshal([]byte(c), &conflict); err != nil {
				return err
			}
			d.Conflicts = append(d.Conflicts, conflict)
		}
		rows, err = t.QueryContext(ctx, "SELECT result FROM mutations WHERE board = ? AND client = ? AND user_id = ? AND n > ? ORDER BY n", id, since.Client, user, since.N)
		if err != nil {
			return err
		}
		results, err := collect(rows, func(s *string) []any { return []any{s} })
		for _, r := range results {
			result := board.ClientResult{Client: since.Client}
			if err := json.Unmarshal([]byte(r), &result.Result); err != nil {
				return err
			}
			d.Results = append(d.Results, result)
		}
		store.Cut(&d, since, last)
		return err
	})
	return d, err
}

// Log implements [store.Store].
func (s *Store) Log(ctx context.Context, user, id string, after int64, limit int) (out []store.Logged, err error) {
	err = s.read(ctx, func(t *sql.Tx) error {
		if _, err := oneBoard(ctx, t, user, id); err != nil {
			return err
		}
		rows, err := t.QueryContext(ctx, `SELECT user_id, client, n, at, body, result FROM mutations
			WHERE board = ? AND seq > ? ORDER BY seq LIMIT ?`, id, after, limit)
		if err != nil {
			return err
		}
		out, err = entries(rows)
		return err
	})
	return out, err
}

// entries reads user_id, client, n, at, body and result.
func entries(rows *sql.Rows) (out []store.Logged, err error) {
	type entry struct {
		store.Entry
		result string
	}
	all, err := collect(rows, func(e *entry) []any { return []any{&e.User, &e.Client, &e.N, &e.At, (*[]byte)(&e.Body), &e.result} })
	for _, e := range all {
		if err := json.Unmarshal([]byte(e.result), &e.Result); err != nil {
			return nil, err
		}
		out = append(out, e.Logged())
	}
	return out, err
}

// tx is a transaction on one board.
type tx struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one call
	sql   *sql.Tx
	board string
}

func (t *tx) Prepare(store.Wanted) error { return nil } // nothing is far away

func (t *tx) Head() (h board.Head, err error) {
	var hash int64
	err = t.sql.QueryRowContext(t.ctx, "SELECT seq, hlc, hash, gc, workspace FROM boards WHERE id = ?", t.board).Scan(&h.Seq, &h.HLC, &hash, &h.GC, &h.Workspace)
	h.Hash = uint64(hash)
	return h, notFound(err)
}

func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

func (t *tx) Role(user string) (store.Role, error) {
	b, err := oneBoard(t.ctx, t.sql, user, t.board)
	if errors.Is(err, store.ErrNotFound) {
		return store.None, nil
	}
	return b.Role, err
}

func (t *tx) Client(id string) (c store.Client, err error) {
	err = t.sql.QueryRowContext(t.ctx, "SELECT user_id, last FROM clients WHERE board = ? AND client = ?", t.board, id).Scan(&c.User, &c.Last)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return c, err
}

func (t *tx) Result(client string, n int64) (r board.Result, err error) {
	var text string
	err = t.sql.QueryRowContext(t.ctx, "SELECT result FROM mutations WHERE board = ? AND client = ? AND n = ?", t.board, client, n).Scan(&text)
	if err != nil {
		return r, notFound(err)
	}
	return r, json.Unmarshal([]byte(text), &r)
}

func (t *tx) rows(where string, args ...any) ([]*board.Row, error) {
	found, err := t.sql.QueryContext(t.ctx, "SELECT kind, id, seq, regs FROM board_rows WHERE board = ? AND "+where, append([]any{t.board}, args...)...)
	if err != nil {
		return nil, err
	}
	type stored struct {
		row  board.Row
		regs []byte
	}
	all, err := collect(found, func(s *stored) []any { return []any{&s.row.Kind, &s.row.ID, &s.row.Seq, &s.regs} })
	if err != nil {
		return nil, err
	}
	out := make([]*board.Row, len(all))
	for i := range all {
		if err := json.Unmarshal(all[i].regs, &all[i].row.Regs); err != nil {
			return nil, err
		}
		out[i] = &all[i].row
	}
	return out, nil
}

func (t *tx) first(where string, args ...any) (*board.Row, error) {
	rows, err := t.rows(where, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

func (t *tx) Row(k board.Key) (*board.Row, error) {
	return t.first("kind = ? AND id = ?", k.Kind, k.ID)
}

func (t *tx) Neighbor(lane, pos string, back bool) (*board.Row, error) {
	switch {
	case !back:
		return t.first("lane = ? AND pos > ? ORDER BY pos LIMIT 1", lane, pos)
	case pos == "":
		return t.first("lane = ? ORDER BY pos DESC LIMIT 1", lane)
	default:
		return t.first("lane = ? AND pos < ? ORDER BY pos DESC LIMIT 1", lane, pos)
	}
}

func (t *tx) Lane(lane string) ([]*board.Row, error) { return t.rows("lane = ? ORDER BY pos", lane) }

func (t *tx) Before(at int64) (seq int64, err error) {
	err = t.sql.QueryRowContext(t.ctx, "SELECT seq FROM mutations WHERE board = ? AND seq > 0 AND at < ? ORDER BY seq DESC LIMIT 1", t.board, at).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return seq, err
}

func (t *tx) All() ([]*board.Row, error) { return t.rows("true ORDER BY kind, id") }

func (t *tx) Save(c *store.Changes) error {
	s := &saver{tx: t}
	s.exec("UPDATE boards SET seq = ?, hlc = ?, hash = ?, gc = ? WHERE id = ?", c.Head.Seq, c.Head.HLC, int64(c.Head.Hash), c.Head.GC, t.board)
	for _, r := range c.Rows {
		var lane, pos any
		if p, ok := r.Place(); ok {
			lane, pos = p.Lane, p.Pos
		}
		s.exec(`INSERT INTO board_rows (board, kind, id, seq, lane, pos, regs) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (board, kind, id) DO UPDATE SET seq = excluded.seq, lane = excluded.lane, pos = excluded.pos, regs = excluded.regs`,
			t.board, r.Kind, r.ID, r.Seq, lane, pos, s.json(r.Regs))
	}
	for _, k := range c.Purged {
		s.exec("DELETE FROM board_rows WHERE board = ? AND kind = ? AND id = ?", t.board, k.Kind, k.ID)
	}
	if c.Resolved > 0 {
		s.exec("DELETE FROM conflicts WHERE board = ? AND seq <= ?", t.board, c.Resolved)
	}
	for _, e := range c.Log {
		var seq any
		if e.Result.Seq > 0 {
			seq = e.Result.Seq
		}
		var deeds any
		if len(e.Deeds) > 0 {
			deeds = s.json(e.Deeds)
		}
		s.exec("INSERT INTO mutations (board, client, n, user_id, seq, at, body, result, deeds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			t.board, e.Client, e.N, e.User, seq, e.At, string(e.Body), s.json(e.Result), deeds)
	}
	for id, client := range c.Clients {
		s.exec(`INSERT INTO clients (board, client, user_id, last) VALUES (?, ?, ?, ?)
			ON CONFLICT (board, client) DO UPDATE SET last = excluded.last`, t.board, id, client.User, client.Last)
	}
	for i, conflict := range c.Conflicts {
		s.exec("INSERT INTO conflicts (board, seq, i, body) VALUES (?, ?, ?, ?)", t.board, conflict.Seq, i, s.json(conflict))
	}
	return s.err
}

// saver stops at the first error.
type saver struct {
	tx  *tx
	err error
}

func (s *saver) exec(query string, args ...any) {
	if s.err == nil {
		_, s.err = s.tx.sql.ExecContext(s.tx.ctx, query, args...)
	}
}

func (s *saver) json(v any) string {
	b, err := json.Marshal(v)
	if s.err == nil {
		s.err = err
	}
	return string(b)
}
