package loop

import (
	"bytes"
	"io"
	"testing"
)

// TestOwed goes out once, ahead of what is sent next and in the same write, or by itself.
func TestOwed(t *testing.T) {
	owed := []byte("<owed>")
	for _, c := range []struct {
		name, want string
		writes     uint64
		do         func(l *Loop, c Conn)
	}{
		{"send", "<owed>one two", 2, func(l *Loop, c Conn) { l.Owe(c, owed); l.Send(c, []byte("one ")); l.Send(c, []byte("two")) }},
		{"copy", "<owed>one", 1, func(l *Loop, c Conn) { l.Owe(c, owed); l.SendCopy(c, []byte("one")) }},
		{"twice", "<owed>one", 1, func(l *Loop, c Conn) { l.Owe(c, owed); l.Owe(c, owed); l.Send(c, []byte("one")) }},
		{"paid", "<owed>one", 2, func(l *Loop, c Conn) { l.Owe(c, owed); l.Pay(c, owed); l.Send(c, []byte("one")) }},
		{"paid, not owed", "<owed>one", 2, func(l *Loop, c Conn) { l.Pay(c, owed); l.Send(c, []byte("one")) }},
		{"gone", "", 0, func(l *Loop, c Conn) { l.Owe(c, owed); l.CloseAfterFlush(c); l.Send(c, []byte("late")); l.Pay(c, owed) }},
		{"dropped", "", 0, func(l *Loop, c Conn) { l.Owe(c, owed); l.DropUnsent(c); l.Close(c, ReasonUser) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &echo{}
			h.onData = func(id Conn, b []byte) int {
				before := h.l.counts.Sends
				c.do(h.l, id)
				if n := h.l.counts.Sends - before; n != c.writes {
					t.Errorf("%d writes, want %d", n, c.writes)
				}
				h.l.CloseAfterFlush(id)
				return len(b)
			}
			conn := dialTest(t, newTestLoop(t, Config{}, h))
			_, _ = conn.Write([]byte("go"))
			if got, err := io.ReadAll(conn); err != nil || string(got) != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// TestOwedToTheSlow: where the socket takes a part or nothing of both, the rest follows, in order, though the buffer was used again.
func TestOwedToTheSlow(t *testing.T) {
	const frames, size = 100, 70_000
	h := &echo{}
	h.onData = func(c Conn, b []byte) int {
		h.l.Owe(c, []byte("<owed>"))
		for i := range frames {
			h.l.Send(c, bytes.Repeat([]byte{byte(i)}, size))
			h.l.Owe(c, []byte("<owed>")) // it has an outbox
			h.l.withOwed([]byte("of somebody else"))
		}
		if h.l.Unsent(c) == 0 {
			t.Error("nothing has to wait")
		}
		return len(b)
	}
	l := newTestLoop(t, Config{OutboxBytes: frames * size, SendBuffer: 16 << 10}, h)
	c := dialTest(t, l)
	_, _ = c.Write([]byte("go"))
	wantRead(t, c, []byte("<owed>"))
	for i := range frames {
		wantRead(t, c, bytes.Repeat([]byte{byte(i)}, size))
	}
	onLoop(l, func() {
		if used := l.cfg.Budget.Used(); used != 0 {
			t.Errorf("budget still holds %d bytes", used)
		}
		if cap(l.paying) > maxPaying {
			t.Errorf("a buffer of %d bytes is kept", cap(l.paying))
		}
	})
}

func TestOwedDoesNotAllocate(t *testing.T) {
	h := &echo{}
	h.onData = func(c Conn, b []byte) int {
		owed, frame := []byte("x"), make([]byte, 200)
		if n := testing.AllocsPerRun(100, func() {
			h.l.Owe(c, owed)
			h.l.Near([]int32{c.Seat, 7, -1})
			h.l.Send(c, frame)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
		h.l.CloseAfterFlush(c)
		return len(b)
	}
	c := dialTest(t, newTestLoop(t, Config{}, h))
	_, _ = c.Write([]byte("go"))
	if got, err := io.ReadAll(c); err != nil || len(got) != 101*201 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
