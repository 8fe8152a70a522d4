package relay

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

const (
	readFew     = 32 // entries of each stream in one read: at first, and while they are large
	readMany    = 256
	readSmall   = 1 << 20 // bytes of one read, below which the next may bring twice as many entries
	readLarge   = 8 << 20 // bytes, beyond which the next brings half as many
	readBlock   = time.Second
	readAhead   = 32 << 20 // bytes that a loop may have to send before nothing more is read
	surveyEvery = time.Second
	backoffTo   = 2 * time.Second
)

// lane reads some partitions, and perhaps the node's stream: one goroutine, run.
type lane struct {
	// Immutable after newLane.
	r    *Relay
	what string // that it reads, for people
	node bool
	poke chan struct{} // one token: wants have come

	// Owned by run.
	cursors  []stream.Cursor // first the node's, if it reads that, then those of the partitions in use
	inUse    []int           // partition of cursors[i], -1 for the node's
	byKey    map[string]int  // index in cursors
	surveyed time.Time
	count    int       // entries of each stream that the next read brings at most
	came     time.Time // when the last read came back
	behind   bool      // it did not bring all there was

	// Guarded by mu.
	mu    sync.Mutex
	wants []want

	// Atomic.
	wanted atomic.Bool            // the writer is to wake it
	down   atomic.Pointer[string] // why it cannot read
}

// want is a partition that a loop asks for.
type want struct{ loop, partition int }

func newLane(r *Relay, what string, node bool) *lane {
	l := &lane{r: r, what: "read " + what, node: node, poke: make(chan struct{}, 1), byKey: map[string]int{}, count: readFew}
	starting := "starting"
	if node {
		l.follow(-1, r.nodeKey, stream.ID{})
		l.down.Store(&starting) // the others have nothing to read yet
	}
	return l
}

// follow adds a stream to what is read.
func (l *lane) follow(partition int, key string, after stream.ID) {
	l.byKey[key] = len(l.cursors)
	l.cursors = append(l.cursors, stream.Cursor{Key: key, ID: after})
	l.inUse = append(l.inUse, partition)
}

// want queues w and reports whether the lane must be woken by an entry in the node's stream.
func (l *lane) want(w want) bool {
	l.mu.Lock()
	l.wants = append(l.wants, w)
	l.mu.Unlock()
	l.wanted.Store(true)
	select {
	case l.poke <- struct{}{}:
	default:
	}
	return l.node
}

// wanting reports whether wants have come.
func (l *lane) wanting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.wants) > 0
}

func (l *lane) takeWants() []want {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.wants
	l.wants = nil
	return list
}

// run reads until ctx is done. When Redis is gone it comes back to the same cursors.
func (l *lane) run(ctx context.Context) {
	backoff := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := l.prepare(ctx)
		if err == nil {
			l.r.inTouch(&l.down, l.what)
			if l.node {
				l.r.begin()
			}
			err = l.read(ctx)
		}
		if err == nil {
			backoff = 50 * time.Millisecond
			continue
		}
		if ctx.Err() != nil {
			return
		}
		l.r.lostTouch(&l.down, l.what, err)
		l.surveyed = time.Time{}
		l.answerWants(l.takeWants(), nil, err)
		pause(ctx, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, backoffTo)
	}
}

// prepare makes sure that what is read is still the same, takes the partitions that loops have asked for, and lets go
// of those that no loop uses.
func (l *lane) prepare(ctx context.Context) error {
	if l.down.Load() != nil {
		// Redis may be another one than before, or empty: it must fit before anything is said to be live.
		if err := l.r.streams.Connect(ctx, 0); err != nil {
			return err
		}
		if l.node {
			if err := l.openNode(ctx); err != nil {
				return err
			}
		}
	}
	l.letGo()
	if now := time.Now(); now.Sub(l.surveyed) >= surveyEvery {
		if err := l.survey(ctx); err != nil {
			return err
		}
		l.surveyed = now
	}
	wants := l.takeWants()
	if len(wants) == 0 {
		return nil
	}
	openings, err := l.open(ctx, wants)
	l.answerWants(wants, openings, err)
	return err
}

// openNode makes sure that the node's stream is there: a backend answers only into one that is, so that it leaves nothing
// behind for a node that is gone. It is missing at the start, and after somebody has emptied Redis.
func (l *lane) openNode(ctx context.Context) error {
	if err := l.r.wake(ctx); err != nil {
		return err
	}
	at := l.byKey[l.r.nodeKey]
	tails, err := l.r.streams.Tails(ctx, []string{l.r.nodeKey})
	if err != nil {
		return err
	}
	if tails[0].Before(l.cursors[at].ID) { // it went back in time: what is read twice finds nobody waiting
		l.cursors[at].ID = stream.ID{}
	}
	return l.r.streams.KeepNode(ctx, l.r.nodeKey, l.cursors[at].ID, nodeTTL)
}

// letGo forgets the partitions that the loops have done with.
func (l *lane) letGo() {
	kept := 0
	for i, p := range l.inUse {
		if p >= 0 {
			part := &l.r.parts[p]
			if part.loops &^= part.unused.Swap(0); part.loops == 0 {
				delete(l.byKey, part.key)
				last := l.cursors[i].ID
				part.left.CompareAndSwap(nil, &last)
				part.laned.Store(false)
				continue
			}
		}
		l.inUse[kept], l.cursors[kept] = p, l.cursors[i]
		l.byKey[l.cursors[kept].Key] = kept
		kept++
	}
	l.inUse, l.cursors = l.inUse[:kept], l.cursors[:kept]
}

// read reads for up to a second by the wire, where there is one, else once.
func (l *lane) read(ctx context.Context) error {
	if w := &l.r.reading; l.node && !l.behind && time.Since(l.came) < readBlock && w.open(ctx) {
		return w.lend(ctx)
	}
	return l.readOnce(ctx)
}

// readOnce is one XREAD, spread to the loops in one post each.
func (l *lane) readOnce(ctx context.Context) error {
	r := l.r
	if len(l.cursors) == 0 {
		select {
		case <-l.poke:
		case <-ctx.Done():
		}
		return nil
	}
	block := readBlock
	if !l.node { // nothing wakes it but what it reads
		block /= 4
	}
	streams, err := r.streams.Read(ctx, l.cursors, l.count, block)
	if err != nil {
		return err
	}
	r.counts.reads.Add(1)
	if err := l.checkTrimmed(ctx, streams); err != nil {
		return err
	}
	size := 0
	out := make([]delivery, len(r.loops))
	for _, s := range streams {
		for i := range s.Entries {
			size += l.take(s.Key, &s.Entries[i], out, false)
		}
	}
	l.adapt(size)
	for i := range out {
		r.hand(i, &out[i], false)
	}
	// While a loop has much to send nothing more is read: what it cannot take now waits in Redis.
	for r.tooMuch() && ctx.Err() == nil {
		pause(ctx, time.Millisecond)
	}
	return nil
}

// tooMuch reports whether a loop has more to send than may be read ahead.
func (r *Relay) tooMuch() bool {
	for i := range r.unswept {
		if r.unswept[i].Load() > readAhead {
			return true
		}
	}
	return false
}

// take passes an entry on, moves its cursor, and returns how many bytes it has.
func (l *lane) take(key string, e *stream.Entry, out []delivery, here bool) (size int) {
	i, ok := l.byKey[key]
	if !ok || !l.cursors[i].ID.Before(e.ID) { // opened anew meanwhile
		return 0
	}
	l.cursors[i].ID = e.ID
	l.r.counts.entries.Add(1)
	for _, field := range e.Fields {
		size += len(field)
	}
	if l.inUse[i] >= 0 {
		l.r.cfg.Stages.Lag.Update(float64(time.Now().UnixMilli()-int64(e.ID.MS)) / 1e3)
		l.r.take(l.inUse[i], e, out, here)
		return size
	}
	id := e.ID
	l.r.nodeAt.Store(&id)
	l.r.takeAnswer(e, out)
	return size
}

// adapt bounds what the next read may bring, which is all in memory at once: entries may be of some bytes or of many KiB.
func (l *lane) adapt(size int) {
	switch {
	case size > readLarge:
		l.count = max(l.count/2, 1)
	case l.behind && size < readSmall:
		l.count = min(2*l.count, readMany)
	}
}
