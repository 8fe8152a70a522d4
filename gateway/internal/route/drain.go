package route

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// Farewell is what connections are told that are sent away together.
type Farewell struct {
	Code  protocol.Code
	Text  string
	Delay func(f float64) time.Duration // how long the connection at fraction f of the order is to stay away, from now
}

// departure is a Farewell on its way through the connections of a loop.
//
//	conns  | told or gone, but for held | due, told in the next turns | not yet due |
//	       0                          next                           due         len
type departure struct {
	Farewell
	conns []loop.Conn // in a random order
	next  int
	due   int
	held  []held
}

// held is a connection that is due but has publications or requests under way: it is not read any more, and told as soon as they are
// answered, or at a time of the loop's clock.
type held struct {
	conn  loop.Conn
	place int
	until int64
}

const (
	holdTime     = 2 * time.Second // Redis and a backend that are well answer within some ms
	departChunk  = 256             // connections told before reads, pongs and accepts have their turn
	stopRetry    = 1               // seconds, Retry-After
	outageRetry  = 5
	stoppingText = "this gateway is stopping; connect again to reach another one"
	lostText     = "the streams are lost; connect again later"
)

func refusal(text string, seconds int) *wsio.Refusal {
	return &wsio.Refusal{Status: http.StatusServiceUnavailable, Reason: text, Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}}}
}

// Drain lets no new connection in and makes those there are ready to go; Due has them told. A handshake that is under way is answered 503.
// A farewell that was under way ends, and there is no other after it.
func (r *Router) Drain(f Farewell) {
	r.draining = true
	r.loop.StopAccepting()
	r.refusal = refusal(stoppingText, stopRetry)
	r.depart(f)
}

// Lose refuses new connections with 503 and makes those there are ready to go, as Drain does, but until Regain only.
func (r *Router) Lose(f Farewell) {
	if r.draining {
		return
	}
	r.refusal = refusal(lostText, outageRetry)
	r.depart(f)
}

// Regain ends Lose: connections are let in again, and who has not been told bye stays.
func (r *Router) Regain() {
	if r.draining {
		return
	}
	r.refusal = nil
	r.stay()
}

func (r *Router) depart(f Farewell) {
	r.stay()
	d := &departure{Farewell: f, conns: make([]loop.Conn, 0, r.conns.Opened())}
	r.conns.Each(func(c loop.Conn) { d.conns = append(d.conns, c) })
	rand.Shuffle(len(d.conns), func(i, j int) { d.conns[i], d.conns[j] = d.conns[j], d.conns[i] })
	r.leaving = d
}

func (r *Router) stay() {
	if r.leaving == nil {
		return
	}
	for _, h := range r.leaving.held {
		r.loop.Resume(h.conn)
	}
	r.leaving = nil
}

// Due says that the fraction f of the connections, of 0 to 1, should have been told by now. They are told in the next turns,
// each after the answers to what it has published. It is to be called again while there are connections: the turns it makes see to those
// whose answers do not come.
func (r *Router) Due(f float64) {
	if d := r.leaving; d != nil {
		d.due = max(d.due, min(len(d.conns), int(f*float64(len(d.conns))+0.999999)))
	}
}

// Hurry has everybody told in the next turns, with nothing waited for.
func (r *Router) Hurry() {
	if d := r.leaving; d != nil {
		d.due = len(d.conns)
		d.hurry(r)
	}
}

func (d *departure) hurry(r *Router) {
	for _, h := range d.held {
		d.tell(r, h.conn, h.place)
	}
	d.held = nil
	for ; d.next < d.due; d.next++ {
		d.tell(r, d.conns[d.next], d.next)
	}
}

// step is a turn's part of the farewell. It reports whether more is due.
func (d *departure) step(r *Router) (more bool) {
	kept := d.held[:0]
	for _, h := range d.held {
		switch {
		case !r.conns.Alive(h.conn):
		case !r.busy(h.conn) || r.loop.Now() >= h.until:
			d.tell(r, h.conn, h.place)
		default:
			r.loop.Pause(h.conn) // Resume may have come for all
			kept = append(kept, h)
		}
	}
	d.held = kept
	for end := min(d.due, d.next+departChunk); d.next < end; d.next++ {
		switch c := d.conns[d.next]; {
		case !r.conns.Alive(c):
		case r.busy(c):
			r.loop.Pause(c)
			d.held = append(d.held, held{c, d.next, r.loop.Now() + int64(holdTime)})
		default:
			d.tell(r, c, d.next)
		}
	}
	return d.next < d.due
}

func (d *departure) tell(r *Router, c loop.Conn, place int) {
	delay := d.Delay((float64(place) + 0.5) / float64(len(d.conns)))
	r.conns.CloseWith(c, d.Code, int(delay.Milliseconds()), d.Text)
}

// busy reports whether c waits for an answer to what it has published or asked.
func (r *Router) busy(c loop.Conn) bool {
	m := r.members.At(c.Seat)
	return m.published > 0 || m.requests > 0
}

// Connections is how many WebSockets are open; on the loop.
func (r *Router) Connections() int { return r.conns.Opened() }
