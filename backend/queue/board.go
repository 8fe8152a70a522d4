package queue

import (
	"strconv"

	"github.com/millracehq/millrace/backend/board"
)

// boardPrefix begins the IDs of events that come from boards, and of no others.
const boardPrefix = "board:"

// BoardID is the ID of the i-th deed of a board's mutation.
func BoardID(id string, seq int64, i int) string {
	return boardPrefix + id + ":" + strconv.FormatInt(seq, 10) + ":" + strconv.Itoa(i)
}

// BoardEvents are what a mutation has brought about, as events. They are the same whoever makes them: the backend that has committed it, or
// the reconciler from the log.
func BoardEvents(r *board.Record) []Event {
	out := make([]Event, 0, len(r.Deeds))
	for i, d := range r.Deeds {
		out = append(out, Event{
			ID: BoardID(r.Board, r.Seq, i), Kind: d.Kind, User: r.User, Team: r.Workspace, Subject: r.Board + "/" + d.ID, Whom: d.Whom,
			At: r.At, Prio: d.Prio, Est: d.Est, Born: d.Born,
		})
	}
	return out
}
