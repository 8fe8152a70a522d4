package generator

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/millracehq/millrace/internal/loop"
)

const (
	stepsPerTurn = 64
	// maxUnderway bounds the clients that are connecting or subscribing, so that a server that is slow to accept is not measured by
	// the length of its queue.
	maxUnderway = 512
	// bringGrace is how long the last client may take, beyond the pace.
	bringGrace = 40 * time.Second
)

// bringing is the work of Bring. Owned by the loop.
type bringing struct {
	todo     []int32 // clients that are to be connected or to subscribe to more
	done     int     // of todo
	underway int
	missed   int // that did not become ready
	why      string
	set      Set
	start    int64
	interval float64 // ns
	answer   chan<- error
}

// Bring connects the first n clients, as far as they are not, and has them subscribe to set, at a pace of rate clients a second. It
// returns when all are ready.
func (g *Generator) Bring(ctx context.Context, n int, set Set, rate float64) error {
	limit := time.Duration(float64(n)/rate*float64(time.Second)) + bringGrace
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not all of %d connections were ready within %v", n, limit))
	defer cancel()
	result, err := ask(ctx, g, func(answer chan<- error) { g.beginBring(n, set, rate, answer) })
	if err != nil {
		return context.Cause(ctx)
	}
	return result
}

func (g *Generator) beginBring(n int, set Set, rate float64, answer chan<- error) {
	g.fault = ""
	g.bring = bringing{set: set, start: g.loop.Clock(), interval: 1e9 / rate, answer: answer}
	for i := range int32(n) {
		if g.clients[i].set < set {
			g.bring.todo = append(g.bring.todo, i)
		}
	}
}

// bringDue begins what is due; wake is when the next one is, 0 when an event will tell.
func (g *Generator) bringDue() (more bool, wake int64) {
	br := &g.bring
	if br.answer == nil {
		return false, 0
	}
	now := g.loop.Clock()
	for range stepsPerTurn {
		if br.done == len(br.todo) || br.underway >= maxUnderway {
			break
		}
		if due := br.start + int64(float64(br.done)*br.interval); due > now {
			return false, due
		}
		i := br.todo[br.done]
		br.done++
		br.underway++
		if g.clients[i].state == away {
			g.dial(i)
		} else {
			g.subscribe(i)
		}
	}
	if br.done == len(br.todo) && br.underway == 0 {
		g.endBring()
	}
	return br.answer != nil && br.done < len(br.todo) && br.underway < maxUnderway, 0
}

func (g *Generator) endBring() {
	br := &g.bring
	var err error
	if br.missed > 0 {
		err = fmt.Errorf("%d of %d connections did not become ready: %s", br.missed, len(br.todo), br.why)
		if g.fault != "" {
			err = fmt.Errorf("%w; the server: %s", err, g.fault)
		}
	}
	br.answer <- err
	*br = bringing{}
}

func (g *Generator) dial(i int32) {
	local := netip.AddrPortFrom(g.locals[int(i)%len(g.locals)], 0)
	conn, err := g.loop.Dial(local, g.cfg.Remote)
	if err != nil {
		g.bring.underway--
		g.bring.missed++
		g.bring.why = err.Error()
		return
	}
	g.clients[i] = client{conn: conn, state: handshaking}
	*g.owners.At(conn.Seat) = i + 1
	g.loop.Arm(conn, readyWithin)
}

// failed takes note of a client that was lost before it was ready.
func (br *bringing) failed(s state, why loop.Reason) {
	br.underway--
	br.missed++
	br.why = fmt.Sprintf("%s (%s)", map[loop.Reason]string{
		loop.ReasonPeer: "cut off", loop.ReasonRefused: "refused", loop.ReasonUser: "refused or too slow", loop.ReasonStopped: "stopped",
	}[why], map[state]string{handshaking: "in the handshake", greeting: "before its greeting", subscribing: "subscribing"}[s])
}

// advance follows an Answer behind which no other is awaited.
func (g *Generator) advance(i int32) {
	switch cl := &g.clients[i]; cl.state {
	case greeting:
		g.subscribe(i)
	case subscribing:
		g.count(i, -1)
		cl.state, cl.set = ready, g.bring.set
		g.count(i, +1)
		g.loop.Arm(cl.conn, 0)
		g.bring.underway--
	default:
	}
}

// subscribe asks for what client i does not have of the set that is wanted.
func (g *Generator) subscribe(i int32) {
	cl := &g.clients[i]
	var channels []int
	if cl.set < Plain {
		channels = append(channels, int(i)%g.cfg.Channels)
	}
	if g.bring.set >= Many {
		channels = append(channels, g.block(int(i))...)
	}
	var n int
	g.out, n = g.cfg.Dialect.Subscribe(g.out[:0], channels)
	cl.state, cl.awaited = subscribing, int32(n)
	g.loop.Arm(cl.conn, readyWithin)
	g.loop.SendCopy(cl.conn, g.out)
}
