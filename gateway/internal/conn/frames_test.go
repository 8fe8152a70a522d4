package conn

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// fakeRouter keeps the messages that it takes.
type fakeRouter struct {
	got  []string
	full bool // takes nothing
	keep bool
}

func (f *fakeRouter) Admit(loop.Conn, *wsio.Request) (string, error) { return "", nil }
func (f *fakeRouter) Opened(loop.Conn, bool)                         {}
func (f *fakeRouter) Drained(loop.Conn)                              {}
func (f *fakeRouter) Closed(loop.Conn, loop.Reason)                  {}
func (f *fakeRouter) Turn() bool                                     { return false }
func (f *fakeRouter) Frame(_ loop.Conn, binary bool, frame []byte) bool {
	if f.full {
		return false
	}
	if f.keep {
		f.got = append(f.got, fmt.Sprintf("%v %s", binary, frame))
	}
	return true
}

func newTestServer(t *testing.T, r *fakeRouter) (*Server, loop.Conn, *state) {
	t.Helper()
	loops, err := loop.NewGroup(1, loop.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loops[0].Stop)
	s := New(loops[0], Config{Path: "/ws", MaxFrame: 10_000, Heartbeat: time.Minute, Deflate: true}, r)
	c := loop.Conn{Seat: 5, Gen: 1}
	st := s.states.At(c.Seat)
	*st = state{phase: phaseOpen, flags: flagDeflate}
	return s, c, st
}

func packed(t *testing.T, payload string, op ws.OpCode, final bool) []byte {
	t.Helper()
	d, err := wsio.NewDeflater(1)
	if err != nil {
		t.Fatal(err)
	}
	b := wsio.AppendMasked(nil, op, d.Deflate([]byte(payload)), [4]byte{9, 8, 7, 6})
	b[0] |= 0x40
	if !final {
		b[0] &^= 0x80
	}
	return b
}

// However the bytes come, and however often the Router takes nothing, each message comes once and whole.
func TestFramesInPiecesAndNotTaken(t *testing.T) {
	mask := [4]byte{1, 2, 3, 4}
	text := "é and more of it"
	var stream []byte
	stream = append(stream, wsio.AppendMasked(nil, ws.OpText, []byte(text), mask)...)
	stream = append(stream, packed(t, strings.Repeat(text, 20), ws.OpText, true)...)
	first := packed(t, strings.Repeat(text, 30), ws.OpBinary, false)
	stream = append(stream, first...)
	stream = append(stream, wsio.AppendMasked(nil, ws.OpPong, []byte("p"), mask)...)
	stream = append(stream, wsio.AppendMasked(nil, ws.OpContinuation, nil, mask)...)
	stream = append(stream, wsio.AppendMasked(nil, ws.OpBinary, []byte("\xff"), mask)...)
	want := []string{"false " + text, "false " + strings.Repeat(text, 20), "true " + strings.Repeat(text, 30), "true \xff"}
	for piece := 1; piece <= len(stream); piece++ {
		r := &fakeRouter{keep: true}
		s, c, st := newTestServer(t, r)
		var unread []byte
		for rest := bytes.Clone(stream); len(rest) > 0; {
			n := min(piece, len(rest))
			unread = append(unread, rest[:n]...)
			rest = rest[n:]
			for _, full := range []bool{true, true, false} { // what is not taken comes again
				r.full = full
				unread = unread[s.frames(c, st, unread):]
			}
		}
		if fmt.Sprint(r.got) != fmt.Sprint(want) || len(unread) > 0 || len(s.unfinished) > 0 || len(s.fragments) > 0 {
			t.Fatalf("in pieces of %d: %q, %d left, %d and %d unfinished", piece, r.got, len(unread), len(s.unfinished), len(s.fragments))
		}
	}
}

func TestReadingMessagesDoesNotAllocate(t *testing.T) {
	s, c, st := newTestServer(t, &fakeRouter{})
	for name, frame := range map[string][]byte{
		"plain":      wsio.AppendMasked(nil, ws.OpText, bytes.Repeat([]byte("some text "), 100), [4]byte{1, 2, 3, 4}),
		"compressed": packed(t, strings.Repeat(`{"id":7,"text":"hello"},`, 40), ws.OpText, true),
	} {
		b := bytes.Clone(frame)
		if n := testing.AllocsPerRun(200, func() {
			copy(b, frame)
			if s.frames(c, st, b[:len(b)/2]) != 0 || s.frames(c, st, b) != len(b) { // in two reads
				t.Fatal("not read")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
