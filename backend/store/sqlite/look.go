package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

//go:embed search.sql
var searchSchema string

// Workspaces implements [store.Store].
func (s *Store) Workspaces(ctx context.Context, user string) (out []store.Workspace, err error) {
	err = s.read(ctx, func(t *sql.Tx) error {
		rows, err := t.QueryContext(ctx, `SELECT w.id, w.name, m.role FROM workspaces w JOIN members m ON m.workspace = w.id
			WHERE m.user_id = ? AND m.role <> '' ORDER BY w.id`, user)
		if err != nil {
			return err
		}
		out, err = collect(rows, func(w *store.Workspace) []any { return []any{&w.ID, &w.Name, &w.Role} })
		return err
	})
	return out, err
}

// History implements [store.Store].
func (s *Store) History(ctx context.Context, user, id string, row board.Key, before int64, limit int) (out []store.Logged, next int64, err error) {
	err = s.read(ctx, func(t *sql.Tx) error {
		if _, err := oneBoard(ctx, t, user, id); err != nil {
			return err
		}
		rows, err := t.QueryContext(ctx, `SELECT user_id, client, n, at, body, result FROM mutations
			WHERE board = ?1 AND seq > 0 AND (?2 = 0 OR seq < ?2) AND instr(body, ?3) > 0 ORDER BY seq DESC LIMIT ?4`, id, before, store.Named(row), limit)
		if err != nil {
			return err
		}
		may, err := entries(rows)
		out, next = store.AboutRow(may, row, limit)
		return err
	})
	return out, next, err
}

// Conflicts implements [store.Store].
func (s *Store) Conflicts(ctx context.Context, user, id string, behind store.Spot, limit int) (out []store.Lost, err error) {
	err = s.read(ctx, func(t *sql.Tx) error {
		if _, err := oneBoard(ctx, t, user, id); err != nil {
			return err
		}
		rows, err := t.QueryContext(ctx, `SELECT c.seq, c.i, c.body, m.at, coalesce(k.user_id, ''), coalesce(l.user_id, '') FROM conflicts c
			JOIN mutations m ON m.board = c.board AND m.seq = c.seq
			LEFT JOIN mutations k ON k.board = c.board AND k.seq = c.body ->> '$.kept[3]'
			LEFT JOIN mutations l ON l.board = c.board AND l.seq = c.body ->> '$.lost[3]'
			WHERE c.board = ?1 AND (?2 = 0 OR c.seq < ?2 OR c.seq = ?2 AND c.i > ?3) ORDER BY c.seq DESC, c.i LIMIT ?4`, id, behind.Seq, behind.I, limit)
		if err != nil {
			return err
		}
		type found struct {
			store.Lost
			at   int64
			body string
		}
		all, err := collect(rows, func(f *found) []any { return []any{&f.Spot.Seq, &f.Spot.I, &f.body, &f.at, &f.KeptBy, &f.LostBy} })
		for _, f := range all {
			if err := json.Unmarshal([]byte(f.body), &f.Conflict); err != nil {
				return err
			}
			f.At = time.UnixMilli(f.at).UTC()
			out = append(out, f.Lost)
		}
		return err
	})
	return out, err
}

// selectHits names the user and looks at each board's members: nothing else protects what is found.
const selectHits = `SELECT k.board, r.kind, r.id, r.regs FROM search_words
	JOIN search_keys k ON k.id = search_words.rowid
	JOIN boards b ON b.id = k.board
	JOIN members m ON m.workspace = b.workspace AND m.user_id = ?1 AND m.role <> ''
	JOIN board_rows r ON r.board = k.board AND r.kind = k.kind AND r.id = k.row
	JOIN board_rows c ON c.board = k.board AND c.kind = 'card'
		AND c.id = CASE r.kind WHEN 'item' THEN r.lane WHEN 'comment' THEN r.regs ->> '$.card[0]' ELSE r.id END
	WHERE search_words MATCH ?2 AND (?3 = '' OR b.workspace = ?3) AND (?4 = '' OR b.id = ?4)
	AND r.regs ->> '$.life[0]' <> 'deleted' AND c.regs ->> '$.life[0]' <> 'deleted'
	AND (?5 = 0 OR k.ts < ?5 OR k.ts = ?5 AND (k.board, k.kind, k.row) > (?6, ?7, ?8))
	ORDER BY k.ts DESC, k.board, k.kind, k.row LIMIT ?9`

// Search implements [store.Store].
func (s *Store) Search(ctx context.Context, user string, q store.Query) (out []store.Hit, err error) {
	if len(q.Words) == 0 {
		return nil, nil
	}
	var after store.Hit
	if q.After != nil {
		after = *q.After
	}
	words := `"` + strings.Join(q.Words, `"* "`) + `"*` // letters and digits: nothing to escape
	err = s.read(ctx, func(t *sql.Tx) error {
		rows, err := t.QueryContext(ctx, selectHits, user, words, q.Workspace, q.Board, after.TS, after.Board, after.Kind, after.ID, q.Limit)
		if err != nil {
			return err
		}
		type found struct {
			board string
			row   board.Row
			regs  []byte
		}
		all, err := collect(rows, func(f *found) []any { return []any{&f.board, &f.row.Kind, &f.row.ID, &f.regs} })
		for i := range all {
			if err := json.Unmarshal(all[i].regs, &all[i].row.Regs); err != nil {
				return err
			}
			out = append(out, store.NewHit(all[i].board, &all[i].row))
		}
		return err
	})
	return out, err
}
