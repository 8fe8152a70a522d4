package relay

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/resp"
	"github.com/millracehq/millrace/internal/loop"
)

// fakeHome is a loop that runs what is posted at once, and notes what is sent on its one adopted connection.
type fakeHome struct {
	handler loop.Handler
	sent    []byte
	seconds int
	closed  bool
	woken   int
	ended   chan struct{}
}

func (h *fakeHome) Post(f func()) bool     { f(); return true }
func (h *fakeHome) Wake()                  { h.woken++ }
func (h *fakeHome) Ended() <-chan struct{} { return h.ended }
func (h *fakeHome) Arm(_ loop.Conn, s int) { h.seconds = s }
func (h *fakeHome) Adopt(_ int32, w loop.Handler) loop.Conn {
	h.handler = w
	return loop.Conn{Seat: 9, Gen: 1}
}

func (h *fakeHome) SendCopy(_ loop.Conn, b []byte) loop.Result {
	h.sent = append(h.sent, b...)
	return loop.Sent
}
func (h *fakeHome) Close(loop.Conn, loop.Reason) { h.closed = true }

// wired are streams that have a socket for the asking.
type wired struct{ *fakeStreams }

func (wired) Socket(context.Context) (int, error) { return 7, nil }

// acked is a Sink that notes what became of commands.
type acked struct {
	Sink
	acks    []Ack
	batches []*hub.Batch
	answers []stream.Answer
	resumed int
}

func (s *acked) Acked(a []Ack)            { s.acks = append(s.acks, a...) }
func (s *acked) Resume()                  { s.resumed++ }
func (s *acked) Answer(a []stream.Answer) { s.answers = append(s.answers, a...) }
func (s *acked) Deliver(b *hub.Batch)     { s.batches = append(s.batches, b) }
func (s *acked) Control([]Order)          {}

func newWired(t testing.TB, sink Sink) (*Relay, *fakeHome) {
	t.Helper()
	h := &fakeHome{ended: make(chan struct{})}
	r := New(Config{Node: "n", Partitions: 8, Home: h, LoopOf: func(string) int { return 0 }, Logger: slog.New(slog.DiscardHandler)}, wired{newFakeStreams()}, []Loop{{Poster: h, Sink: sink}})
	return r, h
}

func pubCommand(n int) *Command {
	return &Command{Kind: stream.KindPub, Answer: true, Partition: 1, Ref: uint64(n), At: 5, Channel: []byte("echo:a"), Body: fmt.Append(nil, n), User: "u", Session: []byte("s")}
}

// startWrite has the write wire hold the work, as lend does.
func startWrite(t *testing.T, r *Relay) {
	t.Helper()
	if !r.writing.connect(t.Context(), &r.writing) {
		t.Fatal("no wire")
	}
	r.ring.lent.Store(true)
	r.writing.lent = true
}

// TestWriteWire writes what has gathered in one go, then what came meanwhile, and says of each what became of it.
func TestWriteWire(t *testing.T) {
	sink := new(acked)
	r, h := newWired(t, sink)
	startWrite(t, r)
	for n := 1; n <= 3; n++ {
		r.Append(pubCommand(n))
	}
	if h.woken != 0 || len(h.sent) != 0 {
		t.Fatalf("woken %d, sent %q before the end of the turn", h.woken, h.sent)
	}
	r.Turn(home)
	if n := strings.Count(string(h.sent), "XADD"); n != 3 {
		t.Fatalf("%d entries sent, want 3: %q", n, h.sent)
	}
	r.Append(pubCommand(4))
	h.sent = h.sent[:0]
	r.Turn(home)
	if len(h.sent) != 0 {
		t.Fatal("a second batch while the first one is unanswered")
	}
	answers := "$3\r\n1-1\r\n-ERR it is full\r\n$3\r\n1-2\r\n"
	for i := range len(answers) { // byte by byte, as a loop would give it
		if n := h.handler.Data(loop.Conn{}, []byte(answers[:i+1])); n > 0 {
			answers = answers[n:]
			break
		}
	}
	if n := h.handler.Data(loop.Conn{}, []byte(answers)); n != len(answers) {
		t.Fatalf("%d of %d bytes of answers read", n, len(answers))
	}
	if want := "[{{0 0} 1 pub true} {{0 0} 2 pub false} {{0 0} 3 pub true}]"; fmt.Sprint(sink.acks) != want {
		t.Fatalf("acks %v, want %v", sink.acks, want)
	}
	r.Turn(home)
	if !strings.Contains(string(h.sent), "$4\r\ndata\r\n$1\r\n4\r\n") || h.seconds == 0 {
		t.Fatalf("sent %q with %d s to answer, want the fourth", h.sent, h.seconds)
	}
	h.handler.Data(loop.Conn{}, []byte("$3\r\n1-3\r\n"))
	if s := r.Stats(); s.Ring != 0 || s.RingBytes != 0 || s.Appended != 3 || s.Failed != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestWriteWireBreaks: what was not answered may or may not be stored, and is told so; the work goes back.
func TestWriteWireBreaks(t *testing.T) {
	sink := new(acked)
	r, h := newWired(t, sink)
	startWrite(t, r)
	for n := range writeBatch + 10 {
		r.Append(pubCommand(n + 1))
	}
	r.Turn(home)
	h.handler.Data(loop.Conn{}, []byte("$3\r\n1-1\r\n"))
	h.handler.Closed(loop.Conn{}, loop.ReasonPeer)
	if err := <-r.writing.back; err == nil {
		t.Error("the work came back without an error")
	}
	stored := 0
	for i, a := range sink.acks {
		if a.Ref != uint64(i+1) {
			t.Fatalf("ack %d is of %d", i, a.Ref)
		}
		if a.Stored {
			stored++
		}
	}
	if len(sink.acks) != writeBatch+10 || stored != 1 {
		t.Errorf("%d acks, %d stored; want %d and 1", len(sink.acks), stored, writeBatch+10)
	}
	if r.Up(1) || r.Stats().Ring != 0 {
		t.Errorf("up %v, ring %d; want down and empty", r.Up(1), r.Stats().Ring)
	}
}

// TestWriteWireHangsUp on answers that it has not asked for.
func TestWriteWireHangsUp(t *testing.T) {
	for _, in := range []string{"$3\r\n1-1\r\n", "*1\r\n", "-ERR max number of clients reached\r\n"} {
		r, h := newWired(t, new(acked))
		startWrite(t, r)
		h.handler.Data(loop.Conn{}, []byte(in))
		if !h.closed {
			t.Errorf("%q: goes on", in)
		}
	}
}

// startRead has the read wire hold the work of a lane that reads partition 1 and the node's stream.
func startRead(t testing.TB, r *Relay) {
	t.Helper()
	l := r.lanes[0]
	if !r.reading.open(t.Context()) {
		t.Fatal("no wire")
	}
	l.follow(1, r.parts[1].key, stream.ID{MS: 1})
	r.parts[1].loops = 1
	l.surveyed, l.came = time.Now().Add(time.Hour), time.Now()
	r.reading.begin(t.Context())
}

func xread(key string, entries ...[]string) string {
	b := fmt.Sprintf("*1\r\n*2\r\n$%d\r\n%s\r\n*%d\r\n", len(key), key, len(entries))
	for i, fields := range entries {
		b += fmt.Sprintf("*2\r\n$4\r\n2-%d\r\n%s", 10+i, resp.AppendCommand(nil, fields...))
	}
	return b
}

func TestReadWire(t *testing.T) {
	sink := new(acked)
	r, h := newWired(t, sink)
	startRead(t, r)
	if !strings.Contains(string(h.sent), "millrace:{1}:out") {
		t.Fatalf("sent %q", h.sent)
	}
	h.sent = nil
	b := []byte(xread(r.parts[1].key, []string{"ch", "direct:a", "data", "one"}, []string{"data", "no channel"}, []string{"ch", "direct:a", "data", "two"}))
	cut := len(b) - 10
	used := h.handler.Data(loop.Conn{}, b[:cut])
	if used += h.handler.Data(loop.Conn{}, b[used:]); used != len(b) {
		t.Fatalf("%d of %d bytes read", used, len(b))
	}
	for i := range b {
		b[i] = '!' // what was handed over must not be a view
	}
	var got []string
	for _, batch := range sink.batches {
		for _, p := range batch.Publications {
			got = append(got, p.ID.String()+" "+p.Channel+" "+string(p.Frame[len(p.Frame)-3:]))
		}
	}
	if want := "[2-10 direct:a one 2-12 direct:a two]"; fmt.Sprint(got) != want {
		t.Errorf("delivered %v, want %v", got, want)
	}
	if !strings.Contains(string(h.sent), "$4\r\n2-12\r\n") {
		t.Errorf("the next read is %q, want one behind 2-12", h.sent)
	}
	if r.Stats().Bad != 1 || r.Stats().Reads != 1 {
		t.Errorf("stats %+v", r.Stats())
	}
	h.handler.Data(loop.Conn{}, []byte(xread(r.nodeKey, []string{"kind", "res", "conn", "c", "ref", "1", "data", "x"})))
	if len(sink.answers) != 1 || sink.answers[0].Conn != "c" || sink.answers[0].Data != "x" {
		t.Errorf("answers %+v", sink.answers)
	}
}

// TestReadWireGivesBack the work when the lane has something to do, and when something is wrong.
func TestReadWireGivesBack(t *testing.T) {
	many := make([][]string, readFew)
	for i := range many {
		many[i] = []string{"ch", "direct:a", "data", "x"}
	}
	for _, c := range []struct {
		name, in string
		before   func(r *Relay)
		broken   bool
	}{
		{name: "survey", in: "*-1\r\n", before: func(r *Relay) { r.lanes[0].surveyed = time.Time{} }},
		{name: "want", in: "*-1\r\n", before: func(r *Relay) { r.Use(0, 3) }},
		{name: "behind", in: xread("millrace:{1}:out", many...)},
		{name: "error", in: "-LOADING\r\n", broken: true},
		{name: "garbage", in: "+what\r\n", broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, h := newWired(t, new(acked))
			startRead(t, r)
			if c.before != nil {
				c.before(r)
			}
			h.handler.Data(loop.Conn{}, []byte(c.in))
			select {
			case err := <-r.reading.back:
				if (err != nil) != c.broken {
					t.Errorf("came back with %v", err)
				}
			default:
				t.Fatal("the work has not come back")
			}
			if h.closed != c.broken {
				t.Errorf("closed %v, want %v", h.closed, c.broken)
			}
			if h.handler.Data(loop.Conn{}, []byte("*-1\r\n")); !h.closed {
				t.Error("goes on after an answer that nobody has asked for")
			}
		})
	}
}

// TestEgressAllocates at most twice a publication, from the bytes of Redis to what each subscriber is sent.
func TestEgressAllocates(t *testing.T) {
	const publications, subscribers = 20, 50
	sink := new(sweeping)
	sink.h = hub.New(hub.Config{Partitions: 8, WindowBytes: 1 << 20}, sink)
	r, h := newWired(t, sink)
	sink.h.Open(&hub.Opening{Partition: 1, At: stream.Position{Epoch: 5}})
	for fd := range int32(subscribers) {
		sink.h.Subscribe(fd+10, []byte("direct:a"), 1, hub.Close)
	}
	startRead(t, r)
	entries := make([][]string, publications)
	for i := range entries {
		entries[i] = []string{"ch", "direct:a", "at", "1700000000000", "data", strings.Repeat("x", 128)}
	}
	b := []byte(xread(r.parts[1].key, entries...))
	at := &r.lanes[0].cursors[1]
	perRead := testing.AllocsPerRun(200, func() {
		at.ID = stream.ID{MS: 1}
		h.sent = h.sent[:0]
		h.handler.Data(loop.Conn{}, b)
		sink.h.Finish()
	})
	if sink.pushed == 0 || sink.h.Delivered == 0 {
		t.Fatal("nothing was delivered")
	}
	if perRead > 2*publications {
		t.Errorf("%.0f allocations for %d publications to %d subscribers, want at most %d", perRead, publications, subscribers, 2*publications)
	}
}

// sweeping is a Sink with a hub, and the hub's connections.
type sweeping struct {
	acked
	hub.Conns
	h      *hub.Hub
	pushed int
}

func (s *sweeping) Deliver(b *hub.Batch)        { s.h.Take(b) }
func (s *sweeping) Near([]int32)                {}
func (s *sweeping) Push(int32, []byte) bool     { s.pushed++; return true }
func (s *sweeping) PushCopy(int32, []byte) bool { s.pushed++; return true }
