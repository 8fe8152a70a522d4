package replica

import (
	"fmt"

	"github.com/millracehq/millrace/backend/board"
)

// CodeNoBody is of a result that only a replica gives: what would be changed is a text of which the base has only the head. Who has not seen a
// text cannot say what it was, and the server would take the base of the mutation to mean that it was seen.
const CodeNoBody = "no_body"

// Ready reports whether the base is the board as it was at [Replica.Seq]. Before that it is empty, or a part of the way.
func (r *Replica) Ready() bool { return r.pulled && !r.partial }

// ReceiveBodies takes the answer to a request for bodies. They may come in any order, late or twice: only the value that a row lacks is taken.
// What is still missing then is to be asked for again, after what the copy needs.
func (r *Replica) ReceiveBodies(b *board.Bodies) Need {
	filled, differs := false, false
	for _, body := range b.Rows {
		if body == nil || !r.base.Lacks(body.Key) {
			continue
		}
		row, _ := r.base.Row(body.Key) // rows in memory give no errors
		r.base.Put(row.Filled(body))
		if r.base.Lacks(body.Key) {
			differs = true
		} else {
			filled, r.view = true, nil
		}
	}
	for _, k := range b.Unknown {
		differs = differs || r.base.Lacks(k)
	}
	switch {
	case differs && (b.To > r.seq || !r.Ready()):
		return Pull
	case differs && b.To == r.seq, filled && r.diverged():
		return Reload
	default:
		return Nothing // or the answer is older than the base: the next one will not be
	}
}

// diverged reports whether the base is known not to be the board: whole, and of another hash.
func (r *Replica) diverged() bool {
	return r.Ready() && r.base.Missing() == 0 && board.FormatHash(r.base.Hash()) != r.hash
}

// blind refuses to write a text that has not been seen. What is pending does not count: the server may have come to another text since.
func (r *Replica) blind(ops []board.Op) *board.Result {
	for i := range ops {
		o, group := &ops[i], ""
		switch o.Op {
		case board.OpText:
			group = board.GroupBody
		case board.OpSet:
			group = o.Group
		}
		row, _ := r.base.Row(o.Key())
		if row != nil && row.Lacks(group) {
			text := fmt.Sprintf("the %s of %s is not here yet: fetch it, and change it then", group, o.Key())
			return &board.Result{N: r.state.Next, Status: board.Rejected, Code: CodeNoBody, Text: text}
		}
	}
	return nil
}
