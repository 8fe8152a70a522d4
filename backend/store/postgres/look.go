package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Workspaces implements [store.Store].
func (s *Store) Workspaces(ctx context.Context, user string) (out []store.Workspace, err error) {
	err = s.read(ctx, user, func(pg pgx.Tx) error {
		rows, err := pg.Query(ctx, `SELECT w.id, w.name, m.role FROM app.workspaces w JOIN app.members m ON m.workspace = w.id
			WHERE m.user_id = $1 AND m.role <> '' ORDER BY w.id`, user)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (w store.Workspace, err error) {
			return w, row.Scan(&w.ID, &w.Name, &w.Role)
		})
		return err
	})
	return out, err
}

// History implements [store.Store].
func (s *Store) History(ctx context.Context, user, id string, row board.Key, before int64, limit int) (out []store.Logged, next int64, err error) {
	err = s.read(ctx, user, func(pg pgx.Tx) error {
		if _, err := oneBoard(ctx, pg, user, id); err != nil {
			return err
		}
		rows, err := pg.Query(ctx, `SELECT user_id, client, n, at, body, result FROM app.mutations
			WHERE board = $1 AND seq > 0 AND ($2::bigint = 0 OR seq < $2) AND strpos(body, $3) > 0 ORDER BY seq DESC LIMIT $4`, id, before, store.Named(row), limit)
		if err != nil {
			return err
		}
		may, err := pgx.CollectRows(rows, scanLogged)
		out, next = store.AboutRow(may, row, limit)
		return err
	})
	return out, next, err
}

// Conflicts implements [store.Store].
func (s *Store) Conflicts(ctx context.Context, user, id string, behind store.Spot, limit int) (out []store.Lost, err error) {
	err = s.read(ctx, user, func(pg pgx.Tx) error {
		if _, err := oneBoard(ctx, pg, user, id); err != nil {
			return err
		}
		rows, err := pg.Query(ctx, `SELECT c.seq, c.i, c.body, m.at, coalesce(k.user_id, ''), coalesce(l.user_id, '') FROM app.conflicts c
			JOIN app.mutations m ON m.board = c.board AND m.seq = c.seq
			LEFT JOIN app.mutations k ON k.board = c.board AND k.seq = (c.body::json -> 'kept' ->> 3)::bigint
			LEFT JOIN app.mutations l ON l.board = c.board AND l.seq = (c.body::json -> 'lost' ->> 3)::bigint
			WHERE c.board = $1 AND ($2::bigint = 0 OR c.seq < $2 OR c.seq = $2 AND c.i > $3) ORDER BY c.seq DESC, c.i LIMIT $4`, id, behind.Seq, behind.I, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l store.Lost, err error) {
			var body []byte
			var at int64
			if err := row.Scan(&l.Spot.Seq, &l.Spot.I, &body, &at, &l.KeptBy, &l.LostBy); err != nil {
				return l, err
			}
			l.At = time.UnixMilli(at).UTC()
			return l, json.Unmarshal(body, &l.Conflict)
		})
		return err
	})
	return out, err
}

// Search implements [store.Store]. Whose boards are searched is said by the function, which the policies do not bind.
func (s *Store) Search(ctx context.Context, user string, q store.Query) (out []store.Hit, err error) {
	if len(q.Words) == 0 {
		return nil, nil
	}
	var after store.Hit
	if q.After != nil {
		after = *q.After
	}
	words := strings.Join(q.Words, ":* & ") + ":*" // letters and digits: nothing to escape
	err = s.read(ctx, user, func(pg pgx.Tx) error {
		rows, err := pg.Query(ctx, "SELECT * FROM app.search($1, $2, $3, $4, $5, $6, $7, $8)",
			words, q.Workspace, q.Board, after.TS, after.Board, after.Kind, after.ID, q.Limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Hit, error) {
			var id string
			var r board.Row
			var regs []byte
			if err := row.Scan(&id, &r.Kind, &r.ID, &regs); err != nil {
				return store.Hit{}, err
			}
			err := json.Unmarshal(regs, &r.Regs)
			return store.NewHit(id, &r), err
		})
		return err
	})
	return out, err
}
