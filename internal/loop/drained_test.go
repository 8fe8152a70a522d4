package loop

import (
	"bytes"
	"io"
	"testing"
)

// A handler that sends only when it is told that the last has gone out is told once for each time, may fill the outbox anew in
// the call, and the reader gets everything in order.
func TestDrainedOncePerEmptying(t *testing.T) {
	const rounds, size = 5, 400_000 // more than the kernel takes at once: Config.SendBuffer
	drained := 0
	h := &echo{}
	fill := func(c Conn) {
		if res := h.l.Send(c, bytes.Repeat([]byte{byte('a' + drained)}, size)); res != Queued {
			t.Errorf("round %d: result %d, want Queued", drained, res)
		}
	}
	h.onData = func(c Conn, b []byte) int { fill(c); return len(b) }
	h.onIdle = func(c Conn) {
		if h.l.Unsent(c) != 0 || h.l.record(c).out != 0 || h.l.Room(c) != 8<<20 {
			t.Errorf("drained with %d bytes unsent and room for %d", h.l.Unsent(c), h.l.Room(c))
		}
		if drained++; drained < rounds {
			fill(c)
		}
	}
	l := newTestLoop(t, Config{OutboxBytes: 8 << 20}, h)
	c := dialTest(t, l)
	_, _ = c.Write([]byte("go"))
	for i := range rounds {
		wantRead(t, c, bytes.Repeat([]byte{byte('a' + i)}, size))
	}
	for n := 0; n < rounds; { // the last call may be still to come when the last byte has been read
		onLoop(l, func() { n = drained })
	}
	onLoop(l, func() {
		if drained != rounds || l.cfg.Budget.Used() != 0 {
			t.Errorf("drained %d times of %d; %d bytes still held", drained, rounds, l.cfg.Budget.Used())
		}
	})
}

// What is taken back, or goes out while the connection is closing, is nobody's occasion to send.
func TestNotDrainedWhenDroppedOrClosing(t *testing.T) {
	h := &echo{}
	h.onIdle = func(Conn) { t.Error("drained") }
	queued := make(chan Conn, 1)
	h.onData = func(c Conn, b []byte) int {
		h.l.Send(c, make([]byte, 1<<20))
		for h.l.Send(c, make([]byte, 10_000)) != Full {
			continue
		}
		queued <- c
		return len(b)
	}
	l := newTestLoop(t, Config{OutboxBytes: 2 << 20}, h)
	c := dialTest(t, l)
	_, _ = c.Write([]byte("go"))
	id := <-queued
	onLoop(l, func() {
		if n := l.Unsent(id); n < 1<<20 || n+l.Room(id) != 2<<20 {
			t.Errorf("%d bytes unsent and room for %d, of %d", n, l.Room(id), 2<<20)
		}
		seen := 0
		l.EachUnsent(func(c Conn, bytes, _ int) {
			if seen++; c != id || bytes != l.Unsent(id) {
				t.Errorf("%v has %d bytes unsent, want %v and %d", c, bytes, id, l.Unsent(id))
			}
		})
		if seen != 1 {
			t.Errorf("%d connections have an outbox", seen)
		}
		if got, want := l.Remote(id).String(), c.LocalAddr().String(); got != want {
			t.Errorf("remote %s, want %s", got, want)
		}
		l.DropUnsent(id)
		l.CloseAfterFlush(id)
		if l.Room(id) != 0 {
			t.Error("room in a connection that is closing")
		}
	})
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	wantClosed(t, h, ReasonLinger)
	onLoop(l, func() {
		if l.Room(id) != 0 || l.Unsent(id) != 0 || l.Remote(id).IsValid() {
			t.Error("room in a connection that is gone")
		}
		l.EachUnsent(func(Conn, int, int) { t.Error("an outbox of nobody") })
	})
}
