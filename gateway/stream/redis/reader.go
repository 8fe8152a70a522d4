package redis

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// Reader reads and commits some partitions of a group. It is for one goroutine.
//
//	one server:  commits, XREADGROUP of all partitions (waits), a look at a lease    one pipeline
//	Cluster:     commits ─▶ the first of many watches ─▶ take      a watch is a goroutine that XREADs one partition (waits)
//
// A consumer that slept through the end of a lease must not be given entries by a command that Redis has had since before.
// So reads go through a gate: a stream without entries, named in each XREADGROUP, that a new owner of any of the partitions deletes.
// In a Cluster, where a command has keys of one partition, a script compares the lease and takes.
//
// A watch ends with the news of its partition or after [watchFor]; those that have no news yet are left to go on, for the next
// wait. So there is at most one for each partition, and [Reader.Close] waits for them.
type Reader struct {
	// Immutable after [Group.Reader].
	g        *Group
	sighted  chan sighting // has room for all
	watchFor time.Duration

	// Owned by the caller.
	gate     string       // key of the stream that reads go through; "" before the first, and after an error
	watched  map[int]bool // partitions that a watch is for, until its sighting is received
	tookAll  time.Time    // when all leases were last looked at
	watchers sync.WaitGroup
}

// sighting is what a watch has come to.
type sighting struct {
	partition int
	id        stream.ID // of the first new entry; zero when there was none in time
	err       error
}

const (
	watchFor     = 500 * time.Millisecond
	takeAllEvery = time.Second
)

// Reader makes a reader.
func (g *Group) Reader() *Reader {
	return &Reader{
		g: g, sighted: make(chan sighting, len(g.in)), watchFor: min(watchFor, g.c.timeout/2), watched: make(map[int]bool),
	}
}

// Close returns when no watch is left, after [watchFor] at most where Redis answers. Nothing may be read after it.
func (r *Reader) Close() { r.watchers.Wait() }

// Read returns new entries. While it waits it is not interrupted by ctx.
func (r *Reader) Read(ctx context.Context, what Reading) (Taken, error) {
	taken, _, err := r.CommitRead(ctx, nil, 0, what)
	return taken, err
}

// CommitRead is [Group.Commit] and [Reader.Read], in one round trip where Redis is one server. After an error both are to
// be done again: what was read is pending, and [Group.Next] returns it.
func (r *Reader) CommitRead(ctx context.Context, batches []Batch, window time.Duration, what Reading) (taken Taken, done []int, err error) {
	switch {
	case r.g.multiSlot:
		return r.commitReadMulti(ctx, batches, window, what)
	case len(what.Leases) > 0 && r.covers(what.Leases):
		taken, done, err = r.commitReadOne(ctx, batches, window, what)
	default: // leases are compared as the commits leave them
		if done, err = r.g.Commit(ctx, batches, window); err == nil && len(what.Leases) > 0 {
			taken, err = r.enter(ctx, what)
		}
	}
	if err != nil {
		r.gate = "" // a command without an answer is not to pass any more
		return Taken{}, nil, err
	}
	return taken, done, nil
}

// commitReadOne is for one server, and an open gate. Behind the read it looks at the lease that was committed last: a Redis
// that knows of that commit knows of all before it.
func (r *Reader) commitReadOne(ctx context.Context, batches []Batch, window time.Duration, what Reading) (taken Taken, done []int, err error) {
	g, n := r.g, len(batches)
	calls := make([][]any, n, n+2)
	for i := range batches {
		calls[i] = g.commitArgs(&batches[i], window)
	}
	last := slices.MaxFunc(what.Leases, func(a, b *Lease) int { return cmp.Compare(a.last, b.last) })
	if n > 0 {
		last = batches[n-1].Lease
	}
	got := g.c.send(ctx, append(calls, r.readArgs(what), []any{"GET", g.lease[last.Partition]}))
	again := g.c.sendText(ctx, commit, calls, got[:n])
	answers, err := values(got[:n])
	if err != nil {
		return taken, nil, err
	}
	done = g.committed(batches, answers)
	read, look := got[n], got[n+1]
	if r.closed(read.err) {
		taken, err = r.enter(ctx, what)
		return taken, done, err
	}
	if look.err != nil {
		return taken, nil, look.err
	}
	if taken.Deliveries, err = g.parseDeliveries(read); err != nil || look.value == last.value(last.commits) && !again {
		return taken, done, err
	}
	held, err := g.look(ctx, what.Leases)
	for i, l := range what.Leases {
		if !held[i] {
			taken.Lost = append(taken.Lost, l)
		}
	}
	taken.Deliveries = slices.DeleteFunc(taken.Deliveries, func(d Delivery) bool { // those are pending, for the next owner
		return slices.ContainsFunc(taken.Lost, func(l *Lease) bool { return l.Partition == d.Partition })
	})
	return taken, done, err
}

// commitReadMulti takes from those partitions only that have news, and now and then from all: a lease that is over has
// none, and positions to wait at may be wrong after a failover.
func (r *Reader) commitReadMulti(ctx context.Context, batches []Batch, window time.Duration, what Reading) (Taken, []int, error) {
	done, err := r.g.Commit(ctx, batches, window)
	if err != nil || len(what.Leases) == 0 {
		return Taken{}, done, err
	}
	leases := what.Leases
	if what.Block >= time.Millisecond {
		news, err := r.wait(ctx, leases, what.Block)
		if err != nil {
			return Taken{}, nil, groupError(err)
		}
		var fresh []*Lease
		for _, l := range leases {
			if id, ok := news[l.Partition]; ok {
				l.after = id // another consumer may have taken it
				fresh = append(fresh, l)
			}
		}
		if len(fresh) > 0 && time.Since(r.tookAll) < takeAllEvery {
			leases = fresh
		}
	}
	if len(leases) == len(what.Leases) {
		r.tookAll = time.Now()
	}
	taken, err := r.take(ctx, leases, what.Count)
	if err != nil {
		return Taken{}, nil, err
	}
	return taken, done, nil
}

// wait returns the partitions that have news, and where, as soon as there are any, and none at the end of block.
func (r *Reader) wait(ctx context.Context, leases []*Lease, block time.Duration) (map[int]stream.ID, error) {
	byPartition := make(map[int]*Lease, len(leases))
	for _, l := range leases {
		byPartition[l.Partition] = l
		r.watch(ctx, l)
	}
	end := time.NewTimer(block)
	defer end.Stop()
	news := make(map[int]stream.ID)
	for {
		var s sighting
		if len(news) == 0 {
			select {
			case s = <-r.sighted:
			case <-end.C:
				return nil, nil
			}
		} else {
			select {
			case s = <-r.sighted:
			default:
				return news, nil
			}
		}
		delete(r.watched, s.partition)
		l := byPartition[s.partition]
		switch {
		case l == nil: // not read now
		case s.err != nil:
			return nil, s.err
		case l.after.Before(s.id):
			news[s.partition] = s.id
		default: // nothing, or what was taken meanwhile
			r.watch(ctx, l)
		}
	}
}

// watch begins a watch where there is none.
func (r *Reader) watch(ctx context.Context, l *Lease) {
	if r.watched[l.Partition] {
		return
	}
	r.watched[l.Partition] = true
	cursor := stream.Cursor{Key: r.g.in[l.Partition], ID: l.after}
	ctx = context.WithoutCancel(ctx) // it may go on when the call is over
	r.watchers.Go(func() {
		s := sighting{partition: l.Partition}
		var news []Entries
		if news, s.err = r.g.c.Read(ctx, []stream.Cursor{cursor}, 1, r.watchFor); len(news) > 0 && len(news[0].Entries) > 0 {
			s.id = news[0].Entries[0].ID
		}
		r.sighted <- s
	})
}
