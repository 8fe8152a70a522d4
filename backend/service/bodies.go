package service

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/worker"
)

// bodies answers what heads have left out of rows.
func (s *Service) bodies(ctx context.Context, e *worker.Event, id string, keys []board.Key) error {
	if n := len(keys); n == 0 || n > board.MaxBodies {
		return refuse(e, 413, fmt.Sprintf("rows: %d of them, 1 to %d go together", n, board.MaxBodies), nil)
	}
	for _, k := range keys {
		switch {
		case board.BodyGroup(k.Kind) == "":
			return refuse(e, 400, fmt.Sprintf("rows: a %.20q has no body, only cards and comments have: leave it out", k.Kind), nil)
		case !board.ValidID(k.ID):
			return refuse(e, 400, fmt.Sprintf("rows: %.80q is no ID: 1 to %d of A-Z a-z 0-9 _ -", k.ID, board.MaxID), nil)
		}
	}
	rows, seq, err := s.store.Rows(ctx, e.User, id, keys)
	if err != nil {
		return answer(e, nil, err)
	}
	b := board.Bodies{Board: id, To: seq, Rows: []*board.Row{}, Unknown: unknown(keys, rows)}
	return answer(e, &b, fill(&b, rows, maxPage))
}

// fill takes the bodies of rows until they are about so many bytes, and says whether there are more.
func fill(b *board.Bodies, rows []*board.Row, size int) error {
	for i, row := range rows {
		body := row.Body()
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		if size -= len(data); size < 0 && i > 0 {
			b.More = true
			return nil
		}
		b.Rows = append(b.Rows, body)
	}
	return nil
}

// unknown are the keys of which there is no row.
func unknown(keys []board.Key, rows []*board.Row) (out []board.Key) {
	known := make(map[board.Key]bool, len(rows))
	for _, r := range rows {
		known[r.Key] = true
	}
	for _, k := range keys {
		if !known[k] {
			out = append(out, k)
		}
	}
	return out
}
