package route

import (
	"time"

	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
)

// request is one thing that the backend has been asked and has not answered: a req, or a permission.
type request struct {
	conn loop.Conn
	ref  uint64 // in its entry
}

// requests are all of a loop. They time out in the order in which they came, so a queue does for a clock. Bound:
// MaxRequests for each connection; policy: err 429; metric: Stats.Requests, Stats.Asking.
type requests struct {
	waiting map[request]*question // nil for a req
	asked   map[wish]uint64       // ref of the ask for a subscription
	asks    int                   // in waiting
	refs    uint64                // given to asks of which the client has given none
	queue   []deadline            // head is at queue[first]
	first   int
}

type deadline struct {
	request
	at uint32 // tick
}

// await notes a request, or answers why it cannot be taken. ref is that of its entry: the client's, where it has given one.
func (r *Router) await(c loop.Conn, ref uint64, a *question) bool {
	key := request{c, ref}
	m := r.members.At(c.Seat)
	if ref > protocol.MaxRef {
		ref = 0 // the client has given none
	}
	if _, busy := r.requests.waiting[key]; busy {
		r.err(c, ref, protocol.CodeConflict, "a request with this REF is still unanswered")
		return false
	}
	if int(m.requests) >= r.rules.MaxRequests {
		r.tooFast(c, ref, limit.Requests, 1000)
		return false
	}
	r.note(key, a)
	return true
}

func (r *Router) note(key request, a *question) {
	r.members.At(key.conn.Seat).requests++
	q := &r.requests
	q.waiting[key] = a
	if a != nil {
		q.asks++
	}
	if q.first > 1024 && q.first > len(q.queue)/2 {
		q.queue = append(q.queue[:0], q.queue[q.first:]...)
		q.first = 0
	}
	q.queue = append(q.queue, deadline{key, r.loop.Tick() + 1 + uint32(r.cfg.RequestTimeout/time.Second)})
}

// settle takes a request off and reports whether it was waiting, and what for when it is a permission.
func (r *Router) settle(c loop.Conn, ref uint64) (a *question, waited bool) {
	key := request{c, ref}
	a, waits := r.requests.waiting[key]
	if !waits {
		return nil, false
	}
	delete(r.requests.waiting, key)
	here := r.loop.Conn(c.Seat) == c
	if here {
		r.members.At(c.Seat).requests--
	}
	if a != nil {
		r.requests.asks--
		if !a.open {
			delete(r.requests.asked, wish{c, a.channel})
			if here {
				r.members.At(c.Seat).waiting--
			}
		}
	}
	return a, true
}

// expireRequests answers 408 to what is overdue. Requests of connections that have ended go the same way, unheard.
func (r *Router) expireRequests() {
	q := &r.requests
	for q.first < len(q.queue) && q.queue[q.first].at <= r.tick {
		d := q.queue[q.first]
		q.first++
		a, waited := r.settle(d.conn, d.ref)
		switch {
		case !waited || !r.conns.Alive(d.conn):
		case a != nil:
			r.counts.Asked[askTimeout]++
			r.refuse(d.conn, a, protocol.CodeTimeout, "the backend did not answer in time")
		default:
			r.err(d.conn, d.ref, protocol.CodeTimeout, "the backend did not answer in time")
		}
	}
	if q.first == len(q.queue) {
		q.queue, q.first = q.queue[:0], 0
	}
}
