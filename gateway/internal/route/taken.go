package route

import (
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// taken counts publications between Append and Acked, by connection, so that a connection that is to go can have its `ok`
// first. Only connections that have some are in it.
type taken map[loop.Conn]int

// countedRelay notes what goes to the relay.
type countedRelay struct {
	Relay
	taken taken
}

// Append is relay.Relay's. What wants no answer is not waited for by anybody.
func (r countedRelay) Append(c *relay.Command) {
	if c.Answer {
		r.taken[c.Conn]++
	}
	r.Relay.Append(c)
}

// Sink is what the relay calls, on the loop: the Router, and the count of what it acknowledges.
func (r *Router) Sink() relay.Sink { return countedSink{r} }

type countedSink struct{ *Router }

// Acked is relay.Sink's.
func (s countedSink) Acked(acks []relay.Ack) {
	s.Router.Acked(acks)
	for i := range acks {
		if a := &acks[i]; a.Kind == stream.KindPub && a.Ref != 0 { // Ref 0: a failure is told, though no answer was wanted
			s.taken.done(a.Conn)
		}
	}
}

func (t taken) done(c loop.Conn) {
	if n := t[c]; n > 1 {
		t[c] = n - 1
	} else {
		delete(t, c)
	}
}
