package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/stream"
)

// Relay is the gateway's traffic with the streams. All methods but Run may be called from anywhere.
type Relay struct {
	// Immutable after New.
	cfg     Config
	streams Streams
	loops   []Loop
	nodeKey string
	lanes   []*lane
	laneOf  []*lane       // by partition
	begun   chan struct{} // closed by begin: the node's stream is read
	begin   func()
	started chan struct{} // closed by start
	start   func()

	swept []func(*hub.Batch) // by loop: sweptBy

	ring      ring
	historian historian
	packer    packer
	writing   writeWire
	reading   readWire
	orders    orders

	// Owned by the home loop.
	spare []*hub.Batch

	// Atomic.
	parts     []part
	unswept   []atomic.Int64         // by loop: bytes of publications that it has still to send
	down      atomic.Pointer[string] // why nothing can be written
	sick      atomic.Pointer[string] // why the canary is not well
	nodeAt    atomic.Pointer[stream.ID]
	heard     atomic.Int64 // unix ns at which the last canary came back
	backlog   atomic.Int64
	partsDown atomic.Int64
	counts    counts
}

// part is what is known of a partition.
type part struct {
	key, in string // of its `out` and `in` streams. Immutable.

	// Owned by the lane.
	loops   uint64 // bits of the loops that use it
	channel string // of the last publication
	epoch   stream.Epoch
	run     uint64

	// Atomic.
	unused atomic.Uint64             // bits of loops that have said Unuse
	stored atomic.Pointer[stream.ID] // newest entry that this gateway has written
	down   atomic.Pointer[string]    // why nothing can be written to it, where others can be
	laned  atomic.Bool               // the lane reads it; else the watcher does
	left   atomic.Pointer[stream.ID] // where the lane first stopped to read it, that the watcher has not seen yet
}

type counts struct {
	appended, failed, batches, entries, bad, reads, outages, trimmed, trimmedOut, lost, older atomic.Uint64
}

// Stats are numbers since the start, and what waits now.
type Stats struct {
	Appended   uint64 // commands stored
	Failed     uint64 // commands that were not, or of which that is not known
	Batches    uint64 // round trips of the writer
	Entries    uint64 // entries read
	Bad        uint64 // entries that could not be read
	Reads      uint64 // round trips of the lanes
	Outages    uint64 // times that Redis was lost
	Trimmed    uint64 // entries taken from `in` streams, all groups having acknowledged them
	TrimmedOut uint64 // entries taken from `out` streams
	Lost       uint64 // streams that were lost or went back in time while they were read
	Older      uint64 // reads of what resume windows did not hold
	Packed     uint64 // publications that were compressed: each once, whoever gets it
	PackedFrom uint64 // bytes of payload of those, before
	PackedTo   uint64 // and after
	Ring       int    // commands that wait
	RingBytes  int
	Unswept    int           // bytes of publications that loops have still to send
	Backlog    int64         // entries in the `in` streams
	Canary     time.Duration // since the last canary came back
}

// New makes a relay; Run does its work.
func New(cfg Config, streams Streams, loops []Loop) *Relay {
	def(&cfg.RingBytes, 16<<20)
	def(&cfg.RingEntries, 1<<16)
	def(&cfg.MaxLen, 10_000)
	def(&cfg.History, 5*time.Minute)
	def(&cfg.WindowBytes, 64<<20)
	def(&cfg.Backlog, 1_000_000)
	def(&cfg.Timeout, 5*time.Second)
	for _, o := range []*Observer{&cfg.Stages.Append, &cfg.Stages.Lag, &cfg.Stages.Delivery} {
		def[Observer](o, nobody{})
	}
	r := &Relay{
		cfg: cfg, streams: streams, loops: loops, nodeKey: cfg.Keys.Node(cfg.Node), begun: make(chan struct{}), started: make(chan struct{}),
		parts: make([]part, cfg.Partitions), unswept: make([]atomic.Int64, len(loops)), laneOf: make([]*lane, cfg.Partitions),
	}
	r.begin = sync.OnceFunc(func() { close(r.begun) })
	r.start = sync.OnceFunc(func() { close(r.started) })
	for i := range loops {
		r.swept = append(r.swept, r.sweptBy(i))
	}
	r.ring.init(cfg)
	r.writing.init(r)
	r.historian.wake = make(chan struct{}, 1)
	r.packer.cfg = cfg.Compression
	all := newLane(r, "the streams", true)
	r.lanes = []*lane{all}
	r.reading.init(r, all)
	for p := range r.parts {
		r.parts[p].key, r.parts[p].in = cfg.Keys.Out(p), cfg.Keys.In(p)
		r.laneOf[p] = all
		if streams.Cluster() {
			r.laneOf[p] = newLane(r, fmt.Sprintf("partition %d", p), false)
			r.lanes = append(r.lanes, r.laneOf[p])
		}
	}
	return r
}

func def[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Started is closed once the streams can be read, and revokes and kicks are heard: what is accepted before would be refused, or miss one.
func (r *Relay) Started() <-chan struct{} { return r.started }

// Run writes and reads until ctx is done; then it writes what was appended, tells the loops, and returns.
func (r *Relay) Run(ctx context.Context) {
	var wg sync.WaitGroup
	stopReading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	for _, l := range r.lanes {
		wg.Go(func() { l.run(stopReading) })
	}
	wg.Go(func() { r.runKeeper(stopReading) })
	wg.Go(func() { r.runHistorian(stopReading) })
	wg.Go(func() { r.runWatcher(stopReading) })
	r.runWriter(ctx)
	cancel()
	_ = r.wake(context.Background())
	wg.Wait()
	deadline, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	_ = r.streams.Delete(deadline, r.nodeKey) // it expires by itself in any case
}

// canaryLate is for how long no canary may come back before the gateway counts as sick.
const canaryLate = 5 * time.Second

// Ready says why clients should go elsewhere, nil when they should not: something cannot be written or read, or the
// canary, which goes the way of a publication, does not come back.
func (r *Relay) Ready() error {
	select {
	case <-r.started:
	default:
		return errors.New("starting")
	}
	for _, why := range []*string{r.down.Load(), r.sick.Load()} {
		if why != nil {
			return errors.New(*why)
		}
	}
	for _, l := range r.lanes {
		if why := l.down.Load(); why != nil {
			return errors.New(*why)
		}
	}
	for p := range r.parts {
		if why := r.parts[p].down.Load(); why != nil {
			return errors.New(*why)
		}
	}
	if late := r.canary(); late > canaryLate {
		return fmt.Errorf("the canary has not come back from Redis for %v", late.Round(time.Second))
	}
	return nil
}

// Lost reports whether nobody can be served: nothing can be written, the node's stream is not read, or the canary does not
// come back. A part of a Cluster that is down is not that.
func (r *Relay) Lost() bool {
	return r.down.Load() != nil || r.lanes[0].down.Load() != nil || r.canary() > canaryLate
}

func (r *Relay) canary() time.Duration { return time.Since(time.Unix(0, r.heard.Load())) }

// Up reports whether commands to a partition are taken: three loads.
func (r *Relay) Up(partition int) bool {
	return r.down.Load() == nil && r.laneOf[partition].down.Load() == nil && r.parts[partition].down.Load() == nil
}

// Full reports whether the backlog of the `in` streams is over its bound: backends are too few, or gone.
func (r *Relay) Full() bool { return r.backlog.Load() >= r.cfg.Backlog }

// Room reports whether Append may be called. When not, Sink.Resume is called once there is.
func (r *Relay) Room() bool { return r.ring.room() }

// Append takes a command; what becomes of it comes by Sink.Acked. It never blocks.
func (r *Relay) Append(c *Command) { r.ring.append(c) }

// Use asks that partition be read for a loop. The answer is Sink.Live; entries come until Unuse.
func (r *Relay) Use(loop, partition int) {
	if r.laneOf[partition].want(want{loop, partition}) {
		r.ring.poke() // the writer wakes the lane, which may wait for Redis
	}
}

// Unuse says that a loop has no subscriber of partition any more. Entries that are under way may still come.
func (r *Relay) Unuse(loop, partition int) { r.parts[partition].unused.Or(1 << loop) }

// Turn is called at the end of each turn of the home loop: what was appended goes out.
func (r *Relay) Turn(loop int) {
	if loop == home {
		r.writing.flush()
	}
}

// Abandon ends what waits for Redis on a wire, as closing the streams does for all else.
func (r *Relay) Abandon() {
	if r.cfg.Home != nil {
		r.cfg.Home.Post(func() { r.writing.hangUp(); r.reading.hangUp() })
	}
}

// Stats may be called from any goroutine.
func (r *Relay) Stats() Stats {
	c := &r.counts
	unswept := 0
	for i := range r.unswept {
		unswept += int(r.unswept[i].Load())
	}
	return Stats{
		Appended: c.appended.Load(), Failed: c.failed.Load(), Batches: c.batches.Load(), Entries: c.entries.Load(),
		Bad: c.bad.Load(), Reads: c.reads.Load(), Outages: c.outages.Load(), Trimmed: c.trimmed.Load(), TrimmedOut: c.trimmedOut.Load(),
		Lost: c.lost.Load(), Older: c.older.Load(),
		Packed: r.packer.made.Load(), PackedFrom: r.packer.before.Load(), PackedTo: r.packer.after.Load(),
		Ring: int(r.ring.count.Load()), RingBytes: int(r.ring.size.Load()), Unswept: unswept,
		Backlog: r.backlog.Load(), Canary: r.canary(),
	}
}

// lostTouch notes that a side has lost Redis, and says so once.
func (r *Relay) lostTouch(side *atomic.Pointer[string], what string, err error) {
	why := fmt.Sprintf("%s: %v", what, err)
	if side.Swap(&why) == nil {
		r.counts.outages.Add(1)
		r.cfg.Logger.Warn("lost Redis: publications are refused until it is back", "what", what, "err", err)
	}
}

func (r *Relay) inTouch(side *atomic.Pointer[string], what string) {
	if side.Load() == nil || side.Swap(nil) == nil {
		return
	}
	r.cfg.Logger.Info("Redis is back", "what", what)
}

// wake makes the lane that reads the node's stream look up, by an entry of the gateway's own.
func (r *Relay) wake(ctx context.Context) error {
	return r.streams.Append(ctx, []stream.Add{{Key: r.nodeKey, Values: []any{"kind", kindWake, "conn", "-"}}})[0]
}

var wakeFields = []string{"kind", kindWake, "conn", "-"}

// kindWake is not part of the contract: it never leaves the node that writes it. It is also the canary.
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
