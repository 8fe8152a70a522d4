package sim

import (
	"context"
	"errors"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
	"github.com/millracehq/millrace/backend/store"
)

// askBodies asks for the bodies that a client lacks, or for one of them.
func (w *world) askBodies(c *client, all bool) {
	var keys []board.Key
	for _, row := range c.copy.Base().All() {
		if c.copy.Base().Lacks(row.Key) {
			keys = append(keys, row.Key)
		}
	}
	if len(keys) == 0 {
		return
	}
	if !all {
		i := w.r.IntN(len(keys))
		keys = keys[i : i+1]
	}
	c.to = append(c.to, request{bodies: keys})
}

// serveBodies answers with some of the bodies: the rest are over the size of an answer. Who has no right gets none.
func (w *world) serveBodies(c *client, keys []board.Key) {
	keys = keys[:1+w.r.IntN(len(keys))]
	rows, seq, err := w.store.Rows(context.Background(), c.user, boardID, keys)
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	w.must(err)
	b := &board.Bodies{Board: boardID, To: seq}
	known := make(map[board.Key]bool)
	for _, row := range rows {
		known[row.Key] = true
		b.Rows = append(b.Rows, row.Body())
	}
	for _, k := range keys {
		if !known[k] {
			b.Unknown = append(b.Unknown, k)
		}
	}
	c.from = append(c.from, answer{bodies: b})
}

func (w *world) takeBodies(c *client, b *board.Bodies) {
	before := c.copy.Base().Missing()
	switch c.copy.ReceiveBodies(b) {
	case replica.Pull:
		w.askPull(c, c.copy.Seq())
	case replica.Nothing:
	default:
		w.history.fail("%s differs from the server at %d, by a body", c.saved.Client, c.copy.Seq())
	}
	w.counts.Bodies += before - c.copy.Base().Missing()
}
