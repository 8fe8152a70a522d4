package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Behind implements [store.Trail].
func (s *Store) Behind(ctx context.Context, after string, limit int) (out []store.Behind, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT b.id, b.workspace, COALESCE(m.seq, 0), b.seq FROM boards b LEFT JOIN trail_marks m ON m.board = b.id
			WHERE b.id > ? AND b.seq > COALESCE(m.seq, 0) ORDER BY b.id LIMIT ?`, after, limit)
		if err != nil {
			return err
		}
		out, err = collect(rows, func(b *store.Behind) []any { return []any{&b.Board, &b.Workspace, &b.Marked, &b.Seq} })
		return err
	})
	return out, err
}

// Records implements [store.Trail].
func (s *Store) Records(ctx context.Context, id string, after int64, limit int) (out []board.Record, err error) {
	err = s.read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT seq, user_id, at, deeds FROM mutations
			WHERE board = ? AND seq > ? AND deeds IS NOT NULL ORDER BY seq LIMIT ?`, id, after, limit)
		if err != nil {
			return err
		}
		type found struct {
			board.Record
			deeds string
		}
		all, err := collect(rows, func(f *found) []any { return []any{&f.Seq, &f.User, &f.At, &f.deeds} })
		for _, f := range all {
			f.Board = id
			if err := json.Unmarshal([]byte(f.deeds), &f.Deeds); err != nil {
				return err
			}
			out = append(out, f.Record)
		}
		return err
	})
	return out, err
}

// Mark implements [store.Trail].
func (s *Store) Mark(ctx context.Context, id string, seq int64) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO trail_marks (board, seq) VALUES (?, ?)
			ON CONFLICT (board) DO UPDATE SET seq = max(seq, excluded.seq)`, id, seq)
		return err
	})
}
