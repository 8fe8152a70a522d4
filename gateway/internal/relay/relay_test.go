package relay

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// fakeStreams keeps entries in memory and fails when it is told to.
type fakeStreams struct {
	mu      sync.Mutex
	cond    *sync.Cond
	entries map[string][]stream.Entry
	seq     uint64
	down    bool
	adds    int
	epoch   stream.Epoch
	cluster bool // immutable
	backlog atomic.Int64
}

func newFakeStreams() *fakeStreams {
	f := &fakeStreams{entries: map[string][]stream.Entry{}, epoch: 5}
	f.cond = sync.NewCond(&f.mu)
	return f
}

var errDown = fmt.Errorf("%w: test", stream.ErrDown)

func (f *fakeStreams) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	f.cond.Broadcast()
}

func (f *fakeStreams) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errDown
	}
	return nil
}

func (f *fakeStreams) Socket(context.Context) (int, error)          { return -1, stream.ErrNoSocket }
func (f *fakeStreams) Refusal(err error) error                      { return err }
func (f *fakeStreams) Connect(context.Context, time.Duration) error { return f.check() }
func (f *fakeStreams) Ping(context.Context) error                   { return f.check() }
func (f *fakeStreams) KeepNode(context.Context, string, stream.ID, time.Duration) error {
	return f.check()
}

func (f *fakeStreams) TrimIn(context.Context, string, time.Duration) (int64, error) {
	return 0, f.check()
}

func (f *fakeStreams) TrimOut(context.Context, string, time.Duration, int64, time.Duration) (int64, error) {
	return 0, f.check()
}

func (f *fakeStreams) Backlog(context.Context) (int64, error)             { return f.backlog.Load(), f.check() }
func (f *fakeStreams) Prove(context.Context, string, time.Duration) error { return f.check() }
func (f *fakeStreams) Cluster() bool                                      { return f.cluster }

func (f *fakeStreams) Survey(_ context.Context, witnesses []stream.Witness) ([]stream.Standing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errDown
	}
	out := make([]stream.Standing, len(witnesses))
	for i, w := range witnesses {
		out[i] = stream.Standing{Epoch: f.epoch, Run: 1, Whole: true}
		if all := f.entries[stream.Keys{}.Out(w.Partition)]; len(all) > 0 {
			out[i].Last = all[len(all)-1].ID
		}
	}
	return out, nil
}

func (f *fakeStreams) Ranges(_ context.Context, ranges []stream.Range) ([][]stream.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errDown
	}
	out := make([][]stream.Entry, len(ranges))
	for i, r := range ranges {
		all := slices.Clone(f.entries[r.Key])
		if r.Newest {
			slices.Reverse(all)
		}
		for _, e := range all {
			before, after := e.ID.Before(r.From) || r.Open && !r.Newest && e.ID == r.From, r.To.Before(e.ID) || r.Open && r.Newest && e.ID == r.To
			if !before && !after && len(out[i]) < r.Count {
				out[i] = append(out[i], stream.Entry{ID: e.ID, Fields: slices.Clone(e.Fields)})
			}
		}
	}
	return out, nil
}
func (f *fakeStreams) Delete(context.Context, ...string) error { return f.check() }

func (f *fakeStreams) Append(_ context.Context, adds []stream.Add) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adds = max(f.adds, len(adds))
	errs := make([]error, len(adds))
	for i, a := range adds {
		if f.down {
			errs[i] = errDown
			continue
		}
		f.seq++
		e := stream.Entry{ID: stream.ID{MS: uint64(time.Now().UnixMilli()), Seq: f.seq}}
		adds[i].ID = e.ID
		for _, v := range a.Values {
			e.Fields = append(e.Fields, fmt.Sprint(v))
		}
		f.entries[a.Key] = append(f.entries[a.Key], e)
	}
	f.cond.Broadcast()
	return errs
}

func (f *fakeStreams) Read(_ context.Context, cursors []stream.Cursor, count int, block time.Duration) ([]stream.Entries, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer time.AfterFunc(block, f.cond.Broadcast).Stop()
	for end := time.Now().Add(block); ; f.cond.Wait() {
		if f.down {
			return nil, errDown
		}
		var out []stream.Entries
		for _, c := range cursors {
			var news []stream.Entry
			for _, e := range f.entries[c.Key] {
				if c.ID.Before(e.ID) && len(news) < count {
					news = append(news, stream.Entry{ID: e.ID, Fields: slices.Clone(e.Fields)})
				}
			}
			if news != nil {
				out = append(out, stream.Entries{Key: c.Key, Entries: news})
			}
		}
		if out != nil || !time.Now().Before(end) {
			return out, nil
		}
	}
}

func (f *fakeStreams) Tails(_ context.Context, keys []string) ([]stream.ID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errDown
	}
	ids := make([]stream.ID, len(keys))
	for i, k := range keys {
		if n := len(f.entries[k]); n > 0 {
			ids[i] = f.entries[k][n-1].ID
		}
	}
	return ids, nil
}

// fakeLoop runs what is posted at once, under a lock, and keeps what its Sink hears.
type fakeLoop struct {
	mu      sync.Mutex
	acks    []Ack
	live    map[int]*hub.Opening
	lost    []*hub.Opening
	past    []*hub.Past
	refused map[int]int
	got     []string
	control []string
	answers []string
	resumed int
}

func newFakeLoop() *fakeLoop {
	return &fakeLoop{live: map[int]*hub.Opening{}, refused: map[int]int{}}
}

func (l *fakeLoop) Post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	return true
}

func (l *fakeLoop) Live(o *hub.Opening, err error) {
	if err != nil {
		l.refused[o.Partition]++
		return
	}
	l.live[o.Partition] = o
}
func (l *fakeLoop) Lost(o *hub.Opening) { l.lost = append(l.lost, o) }
func (l *fakeLoop) Past(p *hub.Past)    { l.past = append(l.past, p) }

func (l *fakeLoop) Control(list []Order) {
	for _, p := range list {
		l.control = append(l.control, string(p.Kind)+" "+p.Channel+" "+p.User)
	}
}

func (l *fakeLoop) Deliver(b *hub.Batch) {
	for _, p := range b.Publications {
		l.got = append(l.got, string(p.Frame[2:]))
	}
	b.Done(b)
}

func (l *fakeLoop) Answer(list []stream.Answer) {
	for i := range list {
		l.answers = append(l.answers, list[i].Conn+" "+list[i].Data)
	}
}
func (l *fakeLoop) Acked(acks []Ack) { l.acks = append(l.acks, acks...) }
func (l *fakeLoop) Resume()          { l.resumed++ }

func (l *fakeLoop) with(f func()) { l.Post(f) }

func newTestRelay(t *testing.T, cfg Config, n int) (*Relay, *fakeStreams, []*fakeLoop) {
	t.Helper()
	return newTestRelayOn(t, newFakeStreams(), cfg, n)
}

func newTestRelayOn(t *testing.T, f *fakeStreams, cfg Config, n int) (*Relay, *fakeStreams, []*fakeLoop) {
	t.Helper()
	var fakes []*fakeLoop
	var loops []Loop
	for range n {
		l := newFakeLoop()
		fakes = append(fakes, l)
		loops = append(loops, Loop{Poster: l, Sink: l})
	}
	cfg.Node, cfg.Partitions, cfg.Logger = "n", 4, slog.New(slog.DiscardHandler)
	cfg.LoopOf = func(session string) int {
		if n, err := strconv.Atoi(session); err == nil {
			return n
		}
		return -1
	}
	r := New(cfg, f, loops)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	<-r.Started()
	return r, f, fakes
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func command(loopN, ref, partition int) *Command {
	return &Command{
		Kind: stream.KindPub, Direct: true, Answer: true, Partition: partition, Loop: loopN, Ref: uint64(ref),
		Conn: loop.Conn{Seat: int32(10 + loopN), Gen: 1}, Channel: fmt.Appendf(nil, "c:%d", partition), Body: fmt.Appendf(nil, "%d.%d", loopN, ref), User: "u",
	}
}

// Several loops append while Redis comes and goes: each command is answered exactly once and in order, what is said to be
// stored is, what is stored is delivered once and in order, and nobody is left waiting.
func TestNothingIsLostWhileRedisComesAndGoes(t *testing.T) {
	const loops, each = 3, 3000
	r, f, fakes := newTestRelay(t, Config{RingBytes: 2000, RingEntries: 100}, loops)
	for i := range loops {
		for p := range 4 {
			r.Use(i, p)
		}
	}
	eventually(t, "all partitions are live", func() bool {
		n := 0
		for _, l := range fakes {
			l.with(func() { n += len(l.live) })
		}
		return n == 4*loops
	})
	var wg sync.WaitGroup
	for i := range loops {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for ref := 1; ref <= each; ref++ {
				for !r.Room() {
					time.Sleep(50 * time.Microsecond) //nolint:forbidigo // what a paused connection does
				}
				r.Append(command(i, ref, rng.IntN(4)))
			}
		})
	}
	for range 5 {
		f.set(true)
		eventually(t, "it is down", func() bool { return !r.Up(0) })
		f.set(false)
		eventually(t, "it is up", func() bool { return r.Up(0) })
	}
	wg.Wait()
	stored := 0
	for i, l := range fakes {
		eventually(t, "all are answered", func() (ok bool) { l.with(func() { ok = len(l.acks) == each }); return ok })
		l.with(func() {
			for k, a := range l.acks {
				if a.Ref != uint64(k+1) || a.Conn.Seat != int32(10+i) {
					t.Fatalf("answer %d of loop %d is for %+v", k+1, i, a)
				}
				if a.Stored {
					stored++
				}
			}
		})
	}
	f.mu.Lock()
	inStreams := 0
	for p := range 4 {
		inStreams += len(f.entries[stream.Keys{}.Out(p)])
	}
	biggest := f.adds
	f.mu.Unlock()
	if stored != inStreams || stored == 0 {
		t.Fatalf("%d answered as stored, %d in the streams", stored, inStreams)
	}
	for _, l := range fakes {
		eventually(t, "all are delivered", func() (ok bool) { l.with(func() { ok = len(l.got) >= stored }); return ok })
		l.with(func() {
			seen := map[string]bool{}
			for _, frame := range l.got {
				if seen[frame] {
					t.Fatalf("%q was delivered twice", frame)
				}
				seen[frame] = true
			}
		})
	}
	if biggest > 110 || biggest > writeBatch {
		t.Errorf("%d commands in one round trip, over the ring's bound", biggest)
	}
	if s := r.Stats(); s.Ring != 0 || s.RingBytes != 0 || s.Appended != uint64(stored) {
		t.Errorf("%+v", s)
	}
}

func TestUseWhileRedisIsGone(t *testing.T) {
	r, f, fakes := newTestRelay(t, Config{}, 1)
	l := fakes[0]
	f.set(true)
	eventually(t, "it is down", func() bool { return !r.Up(0) })
	r.Use(0, 2)
	eventually(t, "refused", func() (ok bool) { l.with(func() { ok = l.refused[2] == 1 }); return ok })
	f.set(false)
	eventually(t, "it is up", func() bool { return r.Up(0) })
	r.Use(0, 2)
	eventually(t, "live", func() (ok bool) { l.with(func() { _, ok = l.live[2] }); return ok })
}

// What nobody uses is not read; who uses it again gets what comes from then on.
func TestUnuse(t *testing.T) {
	r, f, fakes := newTestRelay(t, Config{}, 2)
	add := func(word string) {
		p := stream.Publication{Channel: "c", Data: word}
		f.Append(t.Context(), []stream.Add{{Key: stream.Keys{}.Out(1), Values: p.Values()}})
	}
	live := func(l *fakeLoop) {
		eventually(t, "live", func() (ok bool) { l.with(func() { _, ok = l.live[1] }); return ok })
	}
	r.Use(0, 1)
	live(fakes[0])
	add("one")
	r.Use(1, 1)
	live(fakes[1])
	add("two")
	eventually(t, "delivered", func() (ok bool) {
		fakes[1].with(func() { ok = len(fakes[1].got) == 1 })
		return ok
	})
	r.Unuse(0, 1)
	_ = r.wake(t.Context())
	eventually(t, "loop 0 gets nothing more", func() bool {
		before, after, n := 0, 0, 0
		fakes[0].with(func() { before = len(fakes[0].got) })
		fakes[1].with(func() { n = len(fakes[1].got) })
		add("x")
		eventually(t, "loop 1 goes on", func() (ok bool) { fakes[1].with(func() { ok = len(fakes[1].got) > n }); return ok })
		fakes[0].with(func() { after = len(fakes[0].got) })
		return before == after
	})
}

// TestAnswersGoToTheirLoop, and to no other: each answer would wake them all.
func TestAnswersGoToTheirLoop(t *testing.T) {
	r, f, fakes := newTestRelay(t, Config{}, 3)
	answer := func(conn, data string) {
		if err := f.Append(t.Context(), []stream.Add{{Key: r.nodeKey, Values: []any{"kind", "res", "conn", conn, "ref", "1", "data", data}}})[0]; err != nil {
			t.Fatal(err)
		}
	}
	answer("1", "a")
	answer("2", "b")
	answer("another process", "c")
	answer("9", "d")
	answer("1", "e")
	eventually(t, "the last answer", func() (ok bool) {
		fakes[1].with(func() { ok = len(fakes[1].answers) == 2 })
		return ok
	})
	for i, want := range []string{"[]", "[1 a 1 e]", "[2 b]"} {
		fakes[i].with(func() {
			if got := fmt.Sprint(fakes[i].answers); got != want {
				t.Errorf("loop %d got %v, want %v", i, got, want)
			}
		})
	}
}

func TestPublicationFrameIsOneAllocation(t *testing.T) {
	p := stream.Publication{Channel: "echo:some-channel", Data: "a body of some bytes"}
	if n := testing.AllocsPerRun(1000, func() { _ = frame(&p, stream.Position{ID: stream.ID{MS: 1_700_000_000_000}, Epoch: stream.MaxEpoch}) }); n > 1 {
		t.Fatalf("%v allocations", n)
	}
}
