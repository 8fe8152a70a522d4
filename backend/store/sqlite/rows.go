package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// Rows implements [store.Store].
func (s *Store) Rows(ctx context.Context, user, id string, keys []board.Key) (rows []*board.Row, seq int64, err error) {
	wanted, err := json.Marshal(keys)
	if err != nil {
		return nil, 0, err
	}
	err = s.read(ctx, func(t *sql.Tx) error {
		b, err := oneBoard(ctx, t, user, id)
		if err != nil {
			return err
		}
		x := &tx{ctx: ctx, sql: t, board: id}
		found, err := x.rows("(kind, id) IN (SELECT value ->> '$.kind', value ->> '$.id' FROM json_each(?))", string(wanted))
		rows, seq = store.InOrder(keys, found), b.Seq
		return err
	})
	return rows, seq, err
}
