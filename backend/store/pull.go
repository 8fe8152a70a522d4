package store

import (
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// PullDelta is the answer to a pull but for its rows, conflicts and results, which are those after its From.
func PullDelta(id string, head board.Head, since Since) board.Delta {
	d := board.Delta{Board: id, From: since.Seq, To: head.Seq, HLC: head.HLC, Hash: board.FormatHash(head.Hash)}
	if since.Seq <= 0 || since.Seq < head.GC || since.Seq > head.Seq {
		d.Reset, d.From = true, 0
	}
	return d
}

// Logged is the entry for those who read the log.
func (e *Entry) Logged() Logged {
	m := board.DecodeMutation(e.Body)
	m.User = e.User
	return Logged{User: e.User, At: time.UnixMilli(e.At).UTC(), Mutation: m, Result: e.Result}
}
