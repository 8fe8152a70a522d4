package swarm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
	"github.com/millracehq/millrace/loadtest/internal/ledger"
)

// newTestSwarm makes a swarm in its steady phase that was never started: its clients count as ready on connections that do not exist, so
// that what it receives can be handed to it.
func newTestSwarm(tb testing.TB, cfg Config) *Swarm {
	tb.Helper()
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	s.unresolved = len(s.clients)
	s.phase = PhaseSteady
	s.starts[PhaseWarmup] = s.loop.Clock()
	for i := range s.clients {
		c := &s.clients[i]
		c.conn = loop.Conn{Seat: int32(i + 10), Gen: 1}
		*s.owners.At(c.conn.Seat) = int32(i) + 1
		s.enterState(c, clientReady)
	}
	for sub := range s.roll {
		s.roll[sub], s.subscribed[sub] = true, true
		s.reach[s.plan.channel(sub)]++
	}
	return s
}

func testConfig(clients, channels, subscriptions, publishers int) Config {
	cfg := Config{
		Remote: netip.MustParseAddrPort("127.0.0.1:1"), Connections: clients, ConnectRate: 1, Handshakes: 1, Subscriptions: subscriptions,
		Rate: 1000, Publishers: publishers, Payload: 128, Warmup: time.Second, Duration: time.Minute,
	}
	for i := range channels {
		cfg.Channels = append(cfg.Channels, fmt.Sprintf("echo:load-%d", i))
	}
	return cfg
}

// delivery is the WebSocket frame that brings publication k.
func (s *Swarm) delivery(k int64) []byte {
	feed, seq := s.plan.feed(k)
	body := stamp{run: s.run, feed: feed, seq: seq, due: s.loop.Clock(), lag: 1000}.append(nil)
	body = append(body, s.padding[StampSize:]...)
	text := fmt.Appendf(nil, "msg %s 1700000000000-%d\n%s", s.cfg.Channels[int(feed)%s.plan.channels], k, body)
	return wsio.AppendFrame(nil, ws.OpText, text)
}

func TestDeliveryAllocs(t *testing.T) {
	for _, reconnect := range []bool{false, true} {
		cfg := testConfig(100, 1, 1, 1)
		cfg.Reconnect = reconnect
		s := newTestSwarm(t, cfg)
		s.next = 5000
		frames := make([][]byte, 1200)
		for i := range frames {
			frames[i] = s.delivery(int64(i))
		}
		k := 0
		n := testing.AllocsPerRun(1000, func() {
			for i := range s.clients {
				if used := s.Data(s.clients[i].conn, frames[k]); used != len(frames[k]) {
					t.Fatalf("%d of %d bytes consumed", used, len(frames[k]))
				}
			}
			k++
		})
		if n != 0 {
			t.Errorf("reconnect %v: %v allocations per publication delivered to 100 clients, want 0", reconnect, n)
		}
		if got := s.warmup.Received + s.metrics.Received.Count(); got != int64(k*100) {
			t.Errorf("%d deliveries counted, want %d", got, k*100)
		}
	}
}

// TestFrameAcrossReads hands a delivery over in every possible pair of pieces.
func TestFrameAcrossReads(t *testing.T) {
	s := newTestSwarm(t, testConfig(1, 1, 1, 1))
	s.next = 5000
	size := len(s.delivery(0))
	for cut := range size {
		frame := s.delivery(int64(cut))
		if used := s.Data(s.clients[0].conn, frame[:cut]); used != 0 {
			t.Fatalf("%d of the first %d bytes consumed, want none", used, cut)
		}
		if used := s.Data(s.clients[0].conn, frame); used != len(frame) {
			t.Fatalf("%d of %d bytes consumed", used, len(frame))
		}
	}
	if s.warmup.Received != int64(size) || s.metrics.Damaged.Count() != 0 {
		t.Fatalf("%d deliveries, %d damaged, want %d and 0", s.warmup.Received, s.metrics.Damaged.Count(), size)
	}
}

// TestPlanIsConsistent checks the arithmetic of the plan against its definition.
func TestPlanIsConsistent(t *testing.T) {
	for i, n := range [][4]int{{1, 1, 1, 1}, {7, 3, 2, 1}, {7, 3, 3, 5}, {15, 5, 1, 5}, {10, 4, 2, 9}, {100, 7, 3, 100}, {7, 3, 2, 1}, {100, 70, 3, 9}} {
		cfg := testConfig(n[0], n[1], n[2], n[3])
		if i >= 6 {
			cfg.Zipf = 1
		}
		p := newPlan(cfg, 0)
		for i := range int32(p.clients) {
			var mine []int
			for j := range p.perClient {
				mine = append(mine, p.channel(int(i)*p.perClient+j))
			}
			for channel := range p.channels {
				sub, ok := p.subscription(i, channel)
				if ok != slices.Contains(mine, channel) || ok && p.channel(sub) != channel {
					t.Fatalf("%v: client %d, channel %d: subscription %d, %v; its channels are %v", n, i, channel, sub, ok, mine)
				}
			}
		}
		counts := make([]uint32, p.feeds)
		lines := map[int]bool{}
		publishers := map[int32]bool{}
		for k := range int64(5 * p.feeds) {
			for feed := range uint32(p.feeds) {
				if got := p.before(feed, k); got != counts[feed] {
					t.Fatalf("%v: before(%d, %d) = %d, want %d", n, feed, k, got, counts[feed])
				}
			}
			feed, seq := p.feed(k)
			if seq != counts[feed] || p.publication(feed, seq) != k {
				t.Fatalf("%v: publication %d is number %d of feed %d, want number %d", n, k, seq, feed, counts[feed])
			}
			counts[feed]++
			c := p.publisher(feed)
			if c < 0 || int(c) >= p.clients {
				t.Fatalf("%v: the publisher of feed %d is client %d", n, feed, c)
			}
			publishers[c] = true
		}
		for c := range int32(p.clients) {
			if p.publishes(c) != publishers[c] {
				t.Fatalf("%v: client %d publishes: %v, want %v", n, c, p.publishes(c), publishers[c])
			}
		}
		for sub := range p.clients * p.perClient {
			for feed := range uint32(p.feeds) {
				if int(feed)%p.channels == p.channel(sub) {
					lines[p.line(sub, feed)] = true
				}
			}
		}
		if len(lines) != p.clients*p.perClient*p.lanes {
			t.Fatalf("%v: %d lines, want %d", n, len(lines), p.clients*p.perClient*p.lanes)
		}
	}
}

func TestPendingFindsOnlyWhatIsOpen(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var p pending
	open, closed := map[uint64]int64{}, map[uint64]bool{}
	for k := range int64(10_000) {
		if rng.IntN(2) == 0 || len(open) == 0 {
			place, ok := p.add(command{k: k, kind: commandPublish})
			if !ok {
				t.Fatal("no place")
			}
			ref := p.ref(place)
			if ref < firstRef || ref >= 1<<53 || closed[ref] {
				t.Fatalf("REF %d is not fit or not new", ref)
			}
			open[ref] = k
			continue
		}
		for ref, k := range open {
			place, c := p.find(ref)
			if c == nil || c.k != k {
				t.Fatalf("REF %d finds %+v, want publication %d", ref, c, k)
			}
			p.remove(place)
			delete(open, ref)
			closed[ref] = true
			break
		}
	}
	for ref := range closed {
		if _, c := p.find(ref); c != nil {
			t.Fatalf("REF %d finds %+v after its answer", ref, c)
		}
	}
	if p.open != len(open) {
		t.Fatalf("%d open, want %d", p.open, len(open))
	}
}

func TestAgendaIsInOrder(t *testing.T) {
	var a agenda
	for range 1000 {
		at := rand.Int64N(500)
		a.add(at, uint64(at))
	}
	last := uint64(0)
	for now := range int64(500) {
		for {
			id, ok := a.take(now)
			if !ok {
				break
			}
			if id < last || int64(id) != now {
				t.Fatalf("at %d: task of %d, after that of %d", now, id, last)
			}
			last = id
		}
	}
	if _, ok := a.next(); ok {
		t.Fatal("tasks are left over")
	}
}

func TestStampSurvives(t *testing.T) {
	for range 1000 {
		want := stamp{run: rand.Uint32(), feed: rand.Uint32N(MaxFeeds), seq: rand.Uint32(), due: rand.Int64N(1 << 60), lag: rand.Int64N(maxLag + 1), again: rand.N(2) == 1}
		b := want.append(nil)
		got, ok := parseStamp(append(b, "and more"...))
		if len(b) != StampSize || !ok || got != want {
			t.Fatalf("%+v became %q and %+v, %v", want, b, got, ok)
		}
	}
	if s, _ := parseStamp(stamp{lag: 1 << 50}.append(nil)); s.lag != maxLag {
		t.Errorf("a lag out of range became %d, want %d", s.lag, int64(maxLag))
	}
}

func FuzzParseStamp(f *testing.F) {
	f.Add(stamp{run: 1, feed: 2, seq: 3, due: 4, lag: 5}.append(nil))
	f.Add([]byte("m"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseStamp(b); ok && string(s.append(nil)) != string(b[:StampSize]) {
			t.Fatalf("%q reads as %+v", b, s)
		}
	})
}

// FuzzData hands what a server may send to a client that is ready.
func FuzzData(f *testing.F) {
	cfg := testConfig(2, 2, 1, 2)
	s := newTestSwarm(f, cfg)
	s.next = 5000
	for _, text := range []string{"ok 1 p", "err 1 503 retry_ms=9", "gap echo:load-0 p", "bye 4000 100 x", "msg", "msg echo:load-0 p\nm", "res 4194304\nx", "hello s\n{}", "revoke a 403 x"} {
		f.Add(wsio.AppendFrame(nil, ws.OpText, []byte(text)))
	}
	f.Add(s.delivery(3))
	f.Add(wsio.AppendFrame(nil, ws.OpClose, []byte{0x0f, 0xa0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &s.clients[0]
		c.conn, c.state = loop.Conn{Seat: 10, Gen: 1}, clientReady
		if used := s.Data(c.conn, b); used < 0 || used > len(b) {
			t.Fatalf("%d of %d bytes consumed", used, len(b))
		}
	})
}

func BenchmarkDelivery(b *testing.B) {
	s := newTestSwarm(b, testConfig(15000, 150, 1, 150))
	s.next = 1 << 30
	frames := make([][]byte, 150)
	for k := range frames {
		frames[k] = s.delivery(int64(k))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%15000 == 0 { // the same frames again, as deliveries in order
			s.ledger = ledger.New(15000)
		}
		s.Data(s.clients[i%15000].conn, frames[i%150])
		i++
	}
}
