package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// Relay is the gateway's traffic with the streams. Append, Room, Use, Ready and Stats may be called from anywhere.
type Relay struct {
	// Immutable after New.
	cfg     Config
	streams Streams
	loops   []Loop
	nodeKey string

	ring    ring
	wants   wants
	read    reading
	started chan struct{} // closed when Redis was reached for the first time
	begin   sync.Once

	// Atomic.
	writerDown atomic.Pointer[string]
	readerDown atomic.Pointer[string]
	counts     counts
}

type counts struct {
	appended, failed, batches, entries, bad, reads, outages, trimmed atomic.Uint64
}

// Stats are numbers since the start, and what waits now.
type Stats struct {
	Appended  uint64 // commands stored
	Failed    uint64 // commands that were not, or of which that is not known
	Batches   uint64 // round trips of the writer
	Entries   uint64 // entries read
	Bad       uint64 // entries that could not be read
	Reads     uint64 // round trips of the reader
	Outages   uint64 // times that Redis was lost
	Trimmed   uint64 // entries taken from `in` streams, all groups having acknowledged them
	Ring      int    // commands that wait
	RingBytes int
	Unswept   int // bytes of publications that loops have still to send
}

// wants are the partitions that loops ask for, until the reader takes them.
type wants struct {
	mu   sync.Mutex
	list []want // Guarded by mu.
	wake atomic.Bool
}

type want struct{ loop, partition int }

// New makes a relay; Run does its work.
func New(cfg Config, streams Streams, loops []Loop) *Relay {
	if cfg.RingBytes == 0 {
		cfg.RingBytes = 16 << 20
	}
	if cfg.RingEntries == 0 {
		cfg.RingEntries = 1 << 16
	}
	if cfg.MaxLen == 0 {
		cfg.MaxLen = 10_000
	}
	r := &Relay{cfg: cfg, streams: streams, loops: loops, nodeKey: cfg.Keys.Node(cfg.Node), started: make(chan struct{})}
	r.ring.init(cfg)
	r.read.init(r)
	starting := "starting"
	r.readerDown.Store(&starting)
	return r
}

// Started is closed once the streams can be read: what is accepted before would be refused.
func (r *Relay) Started() <-chan struct{} { return r.started }

// Run writes and reads until ctx is done; then it writes what was appended, tells the loops, and returns.
func (r *Relay) Run(ctx context.Context) {
	var wg sync.WaitGroup
	stopReader, cancel := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { r.runReader(stopReader) })
	wg.Go(func() { r.runKeeper(stopReader) })
	r.runWriter(ctx)
	cancel()
	_ = r.wake(context.Background())
	wg.Wait()
	deadline, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	_ = r.streams.Delete(deadline, r.nodeKey) // it expires by itself in any case
}

// Ready says why commands are refused, nil when they are not.
func (r *Relay) Ready() error {
	for _, p := range []*atomic.Pointer[string]{&r.writerDown, &r.readerDown} {
		if why := p.Load(); why != nil {
			return errors.New(*why)
		}
	}
	return nil
}

// Up is Ready without a reason: two loads.
func (r *Relay) Up() bool { return r.writerDown.Load() == nil && r.readerDown.Load() == nil }

// Room reports whether Append may be called. When not, Sink.Resume is called once there is.
func (r *Relay) Room() bool { return r.ring.room() }

// Append takes a command; what becomes of it comes by Sink.Acked. It never blocks.
func (r *Relay) Append(c *Command) { r.ring.append(c) }

// Use asks that partition be read for a loop. The answer is Sink.Live; entries come until Unuse.
func (r *Relay) Use(loop, partition int) {
	r.wants.mu.Lock()
	r.wants.list = append(r.wants.list, want{loop, partition})
	r.wants.mu.Unlock()
	r.wants.wake.Store(true)
	r.ring.poke()
}

// Unuse says that a loop has no subscriber of partition any more. Entries that are under way may still come.
func (r *Relay) Unuse(loop, partition int) { r.read.unuse(loop, partition) }

// Stats may be called from any goroutine.
func (r *Relay) Stats() Stats {
	c := &r.counts
	unswept := 0
	for i := range r.read.pending {
		unswept += int(r.read.pending[i].Load())
	}
	return Stats{
		Appended: c.appended.Load(), Failed: c.failed.Load(), Batches: c.batches.Load(), Entries: c.entries.Load(),
		Bad: c.bad.Load(), Reads: c.reads.Load(), Outages: c.outages.Load(), Trimmed: c.trimmed.Load(),
		Ring: int(r.ring.count.Load()), RingBytes: int(r.ring.size.Load()), Unswept: unswept,
	}
}

// down notes that a side has lost Redis, and says so once.
func (r *Relay) down(side *atomic.Pointer[string], what string, err error) {
	why := fmt.Sprintf("%s: %v", what, err)
	if side.Swap(&why) == nil {
		r.counts.outages.Add(1)
		r.cfg.Logger.Warn("lost Redis: publications are refused until it is back", "what", what, "err", err)
	}
}

func (r *Relay) up(side *atomic.Pointer[string], what string) {
	if side.Swap(nil) == nil {
		return
	}
	first := false
	r.begin.Do(func() { close(r.started); first = true })
	if !first {
		r.cfg.Logger.Info("Redis is back", "what", what)
	}
}

// wake makes the reader's XREAD return, by an entry of the gateway's own in the node's stream.
func (r *Relay) wake(ctx context.Context) error {
	return r.streams.Append(ctx, []stream.Add{{Key: r.nodeKey, Values: []any{"kind", kindWake, "conn", "-"}}})[0]
}

// kindWake is not part of the contract: it never leaves the node that writes it.
const kindWake = "wake"

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
