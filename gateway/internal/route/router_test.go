package route

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/gateway/internal/conn"
	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// fakeRelay takes everything and answers at once that a partition is live.
type fakeRelay struct {
	l        *loop.Loop
	r        *Router
	appended int
	orders   uint32
	used     []int
	unused   []int
}

func (f *fakeRelay) Up(int) bool            { return true }
func (f *fakeRelay) Full() bool             { return false }
func (f *fakeRelay) Room() bool             { return true }
func (f *fakeRelay) Orders() uint32         { return f.orders }
func (f *fakeRelay) Append(*relay.Command)  { f.appended++ }
func (*fakeRelay) Turn(int)                 {}
func (f *fakeRelay) Unuse(_, partition int) { f.unused = append(f.unused, partition) }
func (f *fakeRelay) Use(_, partition int) {
	f.used = append(f.used, partition)
	go f.l.Post(func() {
		f.r.Live(&hub.Opening{Partition: partition, At: stream.Position{ID: stream.ID{MS: 1}, Epoch: 9}}, nil)
	})
}
func (f *fakeRelay) Older(int, int, stream.Epoch, stream.ID, stream.ID) { panic("older") }

func newTestRouter(t testing.TB) (*Router, *fakeRelay) {
	t.Helper()
	l, err := loop.New(loop.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{
		Nonce: "n", Partitions: 8, RequestTimeout: time.Second, Rules: &Rules{
			Hello: []byte("{}"), MaxSubscriptions: 100, MaxRequests: 1 << 30,
			Namespaces: map[string]Namespace{"*": {Publish: ToBackend, Authorize: ByToken}},
			Rates:      limit.Rates{Frames: limit.NewRate(limit.MaxFrameRate, 1), Bytes: limit.NewRate(1<<30, 1)},
		},
	}, l, conn.Config{Path: "/ws", MaxFrame: 1 << 16, Heartbeat: 25 * time.Second})
	f := &fakeRelay{l: l, r: r}
	r.Wire(f)
	if err := l.Start(r.Handler()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return r, f
}

func onLoop(r *Router, f func()) {
	done := make(chan struct{})
	r.loop.Post(func() { defer close(done); f() })
	<-done
}

// dialTest is an open WebSocket; hello has been read.
func dialTest(t testing.TB, r *Router) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.loop.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(wsio.AppendRequest(nil, "x", "/ws", [16]byte{}, "", "")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 0, 4096)
	for !strings.HasSuffix(string(b), "\n{}") {
		n, err := c.Read(b[len(b):cap(b)])
		if err != nil {
			t.Fatal(err)
		}
		b = b[:len(b)+n]
	}
	return c
}

func ask(t *testing.T, c net.Conn, frame, want string) {
	t.Helper()
	if _, err := c.Write(wsio.AppendMasked(nil, ws.OpText, []byte(frame), [4]byte{1, 2, 3, 4})); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(want)+2)
	if _, err := io.ReadFull(c, b); err != nil || string(b[2:]) != want {
		t.Fatalf("%q, %v; want %q", b, err, want)
	}
}

// The whole way of a command through loop, conn and route, and of a publication through hub, conn and loop, leaves
// nothing for the collector.
func TestHotPathsDoNotAllocate(t *testing.T) {
	r, f := newTestRouter(t)
	c := dialTest(t, r)
	ask(t, c, "sub 1 a:x", "ok 1 1-0.9")
	frames := map[string][]byte{}
	for name, text := range map[string]string{
		"ping": "ping 2", "pub": "pub 3 a:x key\n" + strings.Repeat("x", 100), "unknown verb": "nonsense", "not subscribed": "unsub 4 a:y",
	} {
		frames[name] = []byte(text)
	}
	var id loop.Conn
	onLoop(r, func() { r.conns.Each(func(c loop.Conn) { id = c }) })
	go func() { _, _ = io.Copy(io.Discard, c) }()
	for name, frame := range frames {
		onLoop(r, func() {
			if n := testing.AllocsPerRun(200, func() {
				r.Frame(id, false, frame)
				r.misdeeds[id.Seat] = misdeed{}
				r.conns.Turn()
			}); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		})
	}
	if f.appended == 0 {
		t.Error("no publication reached the relay")
	}
	b := &hub.Batch{Publications: []hub.Publication{{Channel: "a:x", Frame: wsio.AppendFrame(nil, ws.OpText, []byte("msg a:x 1-1\nhi"))}}}
	onLoop(r, func() {
		if n := testing.AllocsPerRun(200, func() {
			r.Deliver(b)
			r.Turn()
		}); n != 0 {
			t.Errorf("deliver: %v allocations", n)
		}
	})
}

func TestSessions(t *testing.T) {
	r, _ := newTestRouter(t)
	dialTest(t, r)
	onLoop(r, func() {
		r.conns.Each(func(c loop.Conn) {
			session := string(r.appendSession(nil, c))
			if n := LoopOf(r.cfg.Nonce, session); n != r.cfg.Loop {
				t.Errorf("%s is of loop %d, want %d", session, n, r.cfg.Loop)
			}
			if got, ok := r.find(session); !ok || got != c {
				t.Errorf("%s finds %v", session, got)
			}
			for _, other := range []string{"", "n", "n.", "m" + session[1:], session + "0", string(r.appendSession(nil, loop.Conn{Seat: c.Seat, Gen: c.Gen + 1})), "n.zzzzzzzzzzzzzz", "n.-1"} {
				if got, ok := r.find(other); ok {
					t.Errorf("%q finds %v", other, got)
				}
			}
		})
	})
}

// A partition is asked for once, whoever subscribes, and let go of when nobody has wanted it for a while.
func TestPartitionsComeAndGo(t *testing.T) {
	r, f := newTestRouter(t)
	a, b := dialTest(t, r), dialTest(t, r)
	ask(t, a, "sub 1 a:x", "ok 1 1-0.9")
	ask(t, b, "sub 1 a:x", "ok 1 1-0.9")
	onLoop(r, func() {
		if len(f.used) != 1 {
			t.Errorf("asked for %v", f.used)
		}
	})
	_ = a.Close()
	ask(t, b, "unsub 2 a:x", "ok 2")
	for range 3 {
		onLoop(r, func() { r.leavePartitions(); r.tick += keepIdle })
	}
	onLoop(r, func() {
		if fmt.Sprint(f.unused) != fmt.Sprint(f.used) {
			t.Errorf("used %v, let go of %v", f.used, f.unused)
		}
	})
	ask(t, b, "sub 3 a:x", "ok 3 1-0.9")
}
