package route

import (
	"cmp"
	"slices"

	"github.com/millracehq/millrace/internal/loop"
)

// Slow is a connection that has something unsent: its client reads more slowly than it is sent to.
type Slow struct {
	Session       string `json:"session"`
	User          string `json:"user"`
	Remote        string `json:"remote"`  // HOST:PORT
	Unsent        int    `json:"unsent"`  // bytes in its outbox
	Seconds       int    `json:"seconds"` // since its outbox was last empty
	Subscriptions int    `json:"subscriptions"`
}

// SortSlow puts the one with the most unsent bytes first and returns at most n.
func SortSlow(list []Slow, n int) []Slow {
	slices.SortFunc(list, func(a, b Slow) int { return cmp.Compare(b.Unsent, a.Unsent) })
	return list[:min(n, len(list))]
}

// unsent is a candidate: what is written about it is made only for those that are among the slowest.
type unsent struct {
	conn           loop.Conn
	bytes, seconds int
}

// Slowest is the n connections of this loop with the most unsent bytes, the first having most; on the loop. It costs 2n records, a
// look at each outbox there is, and a system call for each of the n; connections without an outbox cost nothing.
func (r *Router) Slowest(n int) []Slow {
	found := make([]unsent, 0, 2*n)
	r.loop.EachUnsent(func(c loop.Conn, bytes, seconds int) {
		if len(found) == 2*n { // seldom: half of them go each time
			found = mostUnsent(found, n)
		}
		if r.conns.Alive(c) {
			found = append(found, unsent{c, bytes, seconds})
		}
	})
	found = mostUnsent(found, n)
	list := make([]Slow, 0, len(found))
	for _, u := range found {
		list = append(list, Slow{
			Session: string(r.appendSession(nil, u.conn)), User: r.members.At(u.conn.Seat).id.User(), Remote: r.loop.Remote(u.conn).String(),
			Unsent: u.bytes, Seconds: u.seconds, Subscriptions: r.hub.Count(u.conn.Seat),
		})
	}
	return list
}

func mostUnsent(list []unsent, n int) []unsent {
	slices.SortFunc(list, func(a, b unsent) int { return cmp.Compare(b.bytes, a.bytes) })
	return list[:min(n, len(list))]
}
