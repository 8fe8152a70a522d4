package generator

import (
	"fmt"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/bench/internal/dialect"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// client is one simulated client. It holds no pointer: the collector never looks at it.
type client struct {
	conn    loop.Conn // zero: not connected
	state   state
	set     Set   // what it is subscribed to; 0: nothing
	inbox   bool  // Dialect.Inbox has been said
	awaited int32 // Answers that are still to come
}

type state uint8

const (
	away        state = iota
	handshaking       // connecting, or the request is under way
	greeting          // upgraded; the server's Answer is to come
	subscribing
	ready
)

// readyWithin is how many seconds a client may take from its connect to its last subscription.
const readyWithin = 30

// owner is the client that c belongs to.
func (g *Generator) owner(c loop.Conn) (i int32, ok bool) {
	i = *g.owners.At(c.Seat) - 1
	return i, i >= 0 && g.clients[i].conn == c
}

// Open implements loop.Handler.
func (g *Generator) Open(c loop.Conn) {
	i, ok := g.owner(c)
	if !ok {
		return
	}
	extra := ""
	if g.cfg.Token != "" {
		extra = "Authorization: Bearer " + g.cfg.Token + "\r\n"
	}
	g.out = wsio.AppendRequest(g.out[:0], g.cfg.Remote.String(), g.cfg.Dialect.URI(), g.key(i), g.cfg.Dialect.Protocols(), extra)
	g.loop.SendCopy(c, g.out)
}

// Closed implements loop.Handler.
func (g *Generator) Closed(c loop.Conn, why loop.Reason) {
	i, ok := g.owner(c)
	if !ok {
		return
	}
	cl := &g.clients[i]
	g.count(i, -1)
	if cl.state != ready {
		g.bring.failed(cl.state, why)
	} else {
		g.closed++
	}
	*cl = client{}
}

// count adds n to the members of all channels that client i is in.
func (g *Generator) count(i int32, n int64) {
	if set := g.clients[i].set; set >= Plain {
		g.members[int(i)%g.cfg.Channels] += n
		if set >= Many {
			for _, c := range g.block(int(i)) {
				g.members[c] += n
			}
		}
	}
}

// block is the channels of the second set that client i has.
func (g *Generator) block(i int) []int {
	list := make([]int, g.cfg.PerClient)
	first := g.cfg.Channels + i%g.cfg.Channels*len(list)
	for j := range list {
		list[j] = first + j
	}
	return list
}

// Data implements loop.Handler.
func (g *Generator) Data(c loop.Conn, b []byte) (used int) {
	i, ok := g.owner(c)
	if !ok {
		return len(b)
	}
	if g.clients[i].state == handshaking {
		n, err := wsio.ParseResponse(b, g.key(i))
		if err != nil {
			g.complain(err.Error())
			g.loop.Close(c, loop.ReasonUser)
		}
		if n == 0 {
			return 0
		}
		used = n
		g.clients[i].state = greeting
		g.clients[i].awaited = 1
		if g.out = g.cfg.Dialect.Greet(g.out[:0]); len(g.out) > 0 {
			g.loop.SendCopy(c, g.out)
		}
	}
	now := g.loop.Clock()
	for {
		h, ok, err := wsio.ParseHeader(b[used:])
		if err != nil || ok && (h.Masked || !h.Fin) {
			g.complain("a frame that no server may send, or in fragments")
			g.loop.Close(c, loop.ReasonUser)
			return len(b)
		}
		if !ok || len(b)-used < h.Size+h.Length {
			return used
		}
		g.frame(i, h.OpCode, b[used+h.Size:][:h.Length], now)
		used += h.Size + h.Length
	}
}

func (g *Generator) frame(i int32, op ws.OpCode, payload []byte, now int64) {
	switch op {
	case ws.OpPing:
		g.out = wsio.AppendMasked(g.out[:0], ws.OpPong, payload, dialect.Mask)
		g.loop.SendCopy(g.clients[i].conn, g.out)
	case ws.OpClose:
		code, reason, _ := wsio.ParseClose(payload)
		g.complain(fmt.Sprintf("close %d %s", code, reason))
		g.loop.Close(g.clients[i].conn, loop.ReasonPeer)
	case ws.OpText, ws.OpBinary:
		for len(payload) > 0 {
			ev, n := g.cfg.Dialect.Read(payload)
			if n == 0 {
				g.complain("a server's message ends too early")
				return
			}
			g.event(i, ev, now)
			payload = payload[n:]
		}
	}
}

func (g *Generator) event(i int32, ev dialect.Event, now int64) {
	switch ev.Kind {
	case dialect.Body:
		if g.load != nil {
			g.load.received(ev.Body, now)
		}
	case dialect.Answer:
		if cl := &g.clients[i]; cl.awaited > 0 {
			if cl.awaited--; cl.awaited == 0 {
				g.advance(i)
			}
		}
	case dialect.Probe:
		g.out = g.cfg.Dialect.Alive(g.out[:0])
		g.loop.SendCopy(g.clients[i].conn, g.out)
	case dialect.Fault:
		g.complain(string(ev.Body[:min(len(ev.Body), 200)]))
	case dialect.Other:
	}
}

// complain keeps what went wrong first.
func (g *Generator) complain(text string) {
	if g.fault == "" {
		g.fault = text
	}
}
