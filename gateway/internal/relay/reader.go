package relay

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

const (
	readCount = 256
	readBlock = time.Second
	readAhead = 32 << 20 // bytes that a loop may have to send before nothing more is read
	backoffTo = 2 * time.Second
)

// reading is the reader's own: which partitions it reads, from where, and for which loops.
type reading struct {
	// Owned by the reader.
	parts   []part
	cursors []stream.Cursor // first the node's, then those of the partitions in use
	inUse   []int           // partition of cursors[i+1]
	byKey   map[string]int  // index in cursors
	pending []atomic.Int64  // by loop: bytes of publications that it has still to send

	// Atomic.
	node   atomic.Pointer[stream.ID]
	unused []atomic.Uint64 // by partition: bits of loops that have said Unuse
}

type part struct {
	key   string
	loops uint64 // bits of the loops that use it
}

func (rd *reading) init(r *Relay) {
	rd.parts = make([]part, r.cfg.Partitions)
	rd.unused = make([]atomic.Uint64, r.cfg.Partitions)
	for p := range rd.parts {
		rd.parts[p].key = r.cfg.Keys.Out(p)
	}
	rd.pending = make([]atomic.Int64, len(r.loops))
	rd.cursors = []stream.Cursor{{Key: r.nodeKey}}
	rd.byKey = map[string]int{r.nodeKey: 0}
}

func (rd *reading) unuse(loop, partition int) { rd.unused[partition].Or(1 << loop) }

func (rd *reading) nodeCursor() stream.ID {
	if id := rd.node.Load(); id != nil {
		return *id
	}
	return stream.ID{}
}

// runReader reads until ctx is done. When Redis is gone it comes back to the same cursors.
func (r *Relay) runReader(ctx context.Context) {
	backoff := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := r.prepareRead(ctx)
		if err == nil {
			r.up(&r.readerDown, "read the streams")
			err = r.readOnce(ctx)
		}
		if err == nil {
			backoff = 50 * time.Millisecond
			continue
		}
		if ctx.Err() != nil {
			return
		}
		r.down(&r.readerDown, "read the streams", err)
		r.refuseWants(err)
		pause(ctx, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, backoffTo)
	}
}

// prepareRead takes the partitions that loops have asked for, and lets go of those that no loop uses.
func (r *Relay) prepareRead(ctx context.Context) error {
	rd := &r.read
	if r.readerDown.Load() != nil {
		// Redis may be another one than before, or empty: it must fit before anything is said to be live.
		if err := r.streams.Connect(ctx, 0); err != nil {
			return err
		}
		if err := r.openNode(ctx); err != nil {
			return err
		}
	}
	rd.letGo()
	wants := r.takeWants()
	var keys []string
	var fresh []int
	for _, w := range wants {
		p := &rd.parts[w.partition]
		if _, reading := rd.byKey[p.key]; !reading && p.loops == 0 {
			keys = append(keys, p.key)
			fresh = append(fresh, w.partition)
		}
		p.loops |= 1 << w.loop
		rd.unused[w.partition].And(^(uint64(1) << w.loop))
	}
	if len(keys) > 0 {
		tails, err := r.streams.Tails(ctx, keys)
		if err != nil {
			for _, p := range fresh {
				rd.parts[p].loops = 0
			}
			r.answerWants(wants, err)
			return err
		}
		for i, p := range fresh {
			rd.byKey[keys[i]] = len(rd.cursors)
			rd.cursors = append(rd.cursors, stream.Cursor{Key: keys[i], ID: tails[i]})
			rd.inUse = append(rd.inUse, p)
		}
	}
	r.answerWants(wants, nil)
	return nil
}

// letGo forgets the partitions that the loops have done with.
func (rd *reading) letGo() {
	kept := 0
	for i, p := range rd.inUse {
		part := &rd.parts[p]
		part.loops &^= rd.unused[p].Swap(0)
		if part.loops == 0 {
			delete(rd.byKey, part.key)
			continue
		}
		rd.inUse[kept] = p
		rd.cursors[kept+1] = rd.cursors[i+1]
		kept++
		rd.byKey[part.key] = kept
	}
	rd.inUse, rd.cursors = rd.inUse[:kept], rd.cursors[:kept+1]
}

func (r *Relay) takeWants() []want {
	r.wants.mu.Lock()
	defer r.wants.mu.Unlock()
	list := r.wants.list
	r.wants.list = nil
	return list
}

func (r *Relay) refuseWants(err error) { r.answerWants(r.takeWants(), err) }

func (r *Relay) answerWants(wants []want, err error) {
	for _, w := range wants {
		var id stream.ID
		if err == nil {
			id = r.read.cursors[r.read.byKey[r.read.parts[w.partition].key]].ID
		}
		l := &r.loops[w.loop]
		l.Post(func() { l.Live(w.partition, id, err) })
	}
}

// readOnce is one XREAD, spread to the loops in one post each.
func (r *Relay) readOnce(ctx context.Context) error {
	rd := &r.read
	streams, err := r.streams.Read(ctx, rd.cursors, readCount, readBlock)
	if err != nil {
		return err
	}
	r.counts.reads.Add(1)
	out := make([]delivery, len(r.loops))
	for _, s := range streams {
		i, ok := rd.byKey[s.Key]
		if !ok || len(s.Entries) == 0 {
			continue
		}
		last := s.Entries[len(s.Entries)-1].ID
		rd.cursors[i].ID = last
		r.counts.entries.Add(uint64(len(s.Entries)))
		if i == 0 {
			rd.node.Store(&last)
			r.takeAnswers(s.Entries, out)
			continue
		}
		r.takePublications(rd.inUse[i-1], s.Entries, out)
	}
	for i := range out {
		r.hand(&r.loops[i], &out[i], &rd.pending[i])
	}
	r.waitForLoops(ctx)
	return nil
}

// waitForLoops holds the reader while a loop has much to send: what it cannot take now waits in Redis.
func (r *Relay) waitForLoops(ctx context.Context) {
	for i := range r.read.pending {
		for r.read.pending[i].Load() > readAhead && ctx.Err() == nil {
			pause(ctx, time.Millisecond)
		}
	}
}
