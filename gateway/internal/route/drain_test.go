package route

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

func testFarewell() Farewell {
	return Farewell{Code: protocol.CloseDrain, Text: "x", Delay: func(float64) time.Duration { return 1500 * time.Millisecond }}
}

func write(t *testing.T, c net.Conn, frame string) {
	t.Helper()
	if _, err := c.Write(wsio.AppendMasked(nil, ws.OpText, []byte(frame), [4]byte{1, 2, 3, 4})); err != nil {
		t.Fatal(err)
	}
}

// wantRest reads to the end: WebSocket frames with just these texts, and Close behind them.
func wantRest(t *testing.T, c net.Conn, texts ...string) {
	t.Helper()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, text := range texts {
		want = wsio.AppendFrame(want, ws.OpText, []byte(text))
	}
	if !strings.HasPrefix(string(all), string(want)) || len(all) <= len(want) || all[len(want)] != 0x88 {
		t.Fatalf("%q, want %q and Close", all, want)
	}
}

// only is the one connection that has published.
func only(r *Router) (c loop.Conn) {
	onLoop(r, func() {
		r.conns.Each(func(each loop.Conn) {
			if r.busy(each) {
				c = each
			}
		})
	})
	return c
}

// Whoever is due but has not been answered is not read any more, and hears its answer before bye. The others go at once.
func TestOKComesBeforeBye(t *testing.T) {
	r, f := newTestRouter(t)
	quiet, publisher := dialTest(t, r), dialTest(t, r)
	write(t, publisher, "pub 7 a:x\nbody")
	write(t, publisher, "pub - a:x\nbody that nobody waits for")
	for n := 0; n < 2; {
		onLoop(r, func() { n = f.appended })
	}
	id := only(r)
	onLoop(r, func() { r.Drain(testFarewell()); r.Due(1) })
	wantRest(t, quiet, "bye 4000 1500 x")
	write(t, publisher, "pub 8 a:x\ntoo late")
	onLoop(r, func() { r.Due(1) })
	onLoop(r, func() {
		if !r.conns.Alive(id) || f.appended != 2 {
			t.Errorf("alive: %v; %d publications were taken", r.conns.Alive(id), f.appended)
		}
		r.Acked([]relay.Ack{{Conn: id, Ref: 7, Kind: stream.KindPub, Stored: true}})
	})
	wantRest(t, publisher, "ok 7", "bye 4000 1500 x")
	onLoop(r, func() {
		if len(r.leaving.held) != 0 {
			t.Errorf("still held %v", r.leaving.held)
		}
	})
}

// An answer that does not come is not waited for for ever, and not at all in a hurry.
func TestByeWithoutOK(t *testing.T) {
	for name, end := range map[string]func(r *Router){
		"in time": func(r *Router) {
			onLoop(r, func() { r.leaving.held[0].until = r.loop.Now() })
			onLoop(r, func() { r.Due(1) })
		},
		"in a hurry": func(r *Router) { onLoop(r, r.Hurry) },
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTestRouter(t)
			c := dialTest(t, r)
			write(t, c, "req 7 a:x\nbody")
			for n := 0; n == 0; {
				onLoop(r, func() { n = len(r.requests.waiting) })
			}
			onLoop(r, func() { r.Drain(testFarewell()); r.Due(1) })
			for n := 0; n == 0; {
				onLoop(r, func() { n = len(r.leaving.held) })
			}
			end(r)
			wantRest(t, c, "bye 4000 1500 x")
		})
	}
}

// When the streams are back in the middle of a farewell, those who have not been told stay, and are read again.
func TestRegainKeepsTheRest(t *testing.T) {
	r, f := newTestRouter(t)
	c := dialTest(t, r)
	write(t, c, "pub 7 a:x\nbody")
	for n := 0; n == 0; {
		onLoop(r, func() { n = f.appended })
	}
	id := only(r)
	onLoop(r, func() { r.Lose(testFarewell()); r.Due(1) })
	for n := 0; n == 0; {
		onLoop(r, func() { n = len(r.leaving.held) })
	}
	onLoop(r, func() {
		r.Regain()
		r.Acked([]relay.Ack{{Conn: id, Ref: 7, Kind: stream.KindPub, Stored: true}})
	})
	ask(t, c, "ping 8", "ok 7")
	b := make([]byte, 8)
	if _, err := io.ReadFull(c, b); err != nil || string(b[2:]) != "pong 8" {
		t.Fatalf("%q, %v", b, err)
	}
	dialTest(t, r) // taken in again
	onLoop(r, func() {
		r.Drain(testFarewell())
		r.Regain()
		r.Lose(Farewell{})
		if r.refusal == nil || r.leaving.Code != protocol.CloseDrain {
			t.Error("a drain was ended by something else")
		}
	})
}
