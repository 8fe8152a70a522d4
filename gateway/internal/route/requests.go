package route

import (
	"time"

	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
)

// request is one unanswered req.
type request struct {
	conn loop.Conn
	ref  uint64
}

// requests are all of a loop. They time out in the order in which they came, so a queue does for a clock. Bound:
// Config.MaxRequests for each connection; policy: err 429; metric: Stats.Requests.
type requests struct {
	waiting map[request]struct{}
	queue   []deadline // head is at queue[first]
	first   int
}

type deadline struct {
	request
	at uint32 // tick
}

// await notes a req, or answers why it cannot be taken.
func (r *Router) await(c loop.Conn, ref uint64) bool {
	key := request{c, ref}
	m := r.members.At(c.FD)
	if _, busy := r.requests.waiting[key]; busy {
		r.err(c, ref, protocol.CodeConflict, "a request with this REF is still unanswered")
		return false
	}
	if int(m.requests) >= r.cfg.MaxRequests {
		r.err(c, ref, protocol.CodeTooFast, "retry_ms=1000")
		return false
	}
	m.requests++
	q := &r.requests
	q.waiting[key] = struct{}{}
	if q.first > 1024 && q.first > len(q.queue)/2 {
		q.queue = append(q.queue[:0], q.queue[q.first:]...)
		q.first = 0
	}
	q.queue = append(q.queue, deadline{key, r.loop.Tick() + 1 + uint32(r.cfg.RequestTimeout/time.Second)})
	return true
}

// settle takes a request off and reports whether it was waiting.
func (r *Router) settle(c loop.Conn, ref uint64) bool {
	key := request{c, ref}
	if _, waits := r.requests.waiting[key]; !waits {
		return false
	}
	delete(r.requests.waiting, key)
	if r.loop.Conn(c.FD) == c {
		r.members.At(c.FD).requests--
	}
	return true
}

// expireRequests answers 408 to what is overdue. Requests of connections that have ended go the same way, unheard.
func (r *Router) expireRequests() {
	q := &r.requests
	for q.first < len(q.queue) && q.queue[q.first].at <= r.tick {
		d := q.queue[q.first]
		q.first++
		if r.settle(d.conn, d.ref) && r.conns.Alive(d.conn) {
			r.err(d.conn, d.ref, protocol.CodeTimeout, "the backend did not answer in time")
		}
	}
	if q.first == len(q.queue) {
		q.queue, q.first = q.queue[:0], 0
	}
}
