package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// Reader reads and commits some partitions of a group. It is for one goroutine.
//
//	one server:  commits, XREAD of all partitions (waits), take    one pipeline
//	Cluster:     commits ─▶ the first of many watches ─▶ take      a watch is a goroutine that XREADs one partition (waits)
//
// A watch ends with the news of its partition or after [watchFor]; those that have no news yet are left to go on, for the next
// wait. So there is at most one for each partition, and [Reader.Close] waits for them.
type Reader struct {
	// Immutable after [Group.Reader].
	g        *Group
	sighted  chan sighting // has room for all
	watchFor time.Duration

	// Owned by the caller.
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

// Read returns new entries. It waits with a plain XREAD, which gives nothing to anybody, and then takes what is there under
// leases that are checked in the same step: a consumer that slept through the end of its leases cannot be given entries
// any more by a command that Redis has had since before. While it waits it is not interrupted by ctx.
func (r *Reader) Read(ctx context.Context, what Reading) (Taken, error) {
	taken, _, err := r.CommitRead(ctx, nil, 0, what)
	return taken, err
}

// CommitRead is [Group.Commit] and [Reader.Read], in one round trip where Redis is one server. After an error both are to
// be done again: what was read is pending, and [Group.Next] returns it.
func (r *Reader) CommitRead(ctx context.Context, batches []Batch, window time.Duration, what Reading) (Taken, []int, error) {
	if r.g.multiSlot {
		return r.commitReadMulti(ctx, batches, window, what)
	}
	g := r.g
	commits := make([][]any, len(batches))
	for i := range batches {
		commits[i] = g.commitArgs(&batches[i], window)
	}
	calls := slices.Clip(commits)
	waiting, reading := false, len(what.Leases) > 0
	if reading {
		if waiting = what.Block >= time.Millisecond; waiting { // BLOCK 0 is for ever
			calls = append(calls, g.waitArgs(what))
		}
		calls = append(calls, g.takeArgs(what.Leases, batches, what.Count))
	}
	got := g.c.send(ctx, calls)
	again := g.c.sendText(ctx, commit, commits, got[:len(batches)])
	answers, err := values(got[:len(batches)])
	if err != nil {
		return Taken{}, nil, err
	}
	done := committed(batches, answers)
	if !reading {
		return Taken{}, done, nil
	}
	var news []Entries
	if waiting {
		wait := got[len(batches)]
		if wait.err == nil && wait.value != nil {
			news, wait.err = parseStreams(wait.value)
		}
		if wait.err != nil {
			return Taken{}, nil, groupError(wait.err)
		}
	}
	take := calls[len(calls)-1:]
	g.c.sendText(ctx, takeNew, take, got[len(got)-1:])
	taken, err := g.parseTaken(what.Leases, got[len(got)-1])
	if err == nil && again && len(taken.Lost) > 0 { // they seemed lost to a read that came before the commit
		var more Taken
		more, err = r.take(ctx, taken.Lost, what.Count)
		taken.Deliveries, taken.Lost = append(taken.Deliveries, more.Deliveries...), more.Lost
	}
	if err != nil {
		return Taken{}, nil, err
	}
	g.moveOn(what.Leases, news, taken.Deliveries)
	return taken, done, nil
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
	r.g.moveOn(leases, nil, taken.Deliveries)
	return taken, done, nil
}

// take reads without waiting.
func (r *Reader) take(ctx context.Context, leases []*Lease, count int) (Taken, error) {
	groups := [][]*Lease{leases}
	if r.g.multiSlot {
		groups = nil
		for i := range leases {
			groups = append(groups, leases[i:i+1])
		}
	}
	calls := make([][]any, len(groups))
	for i, group := range groups {
		calls[i] = r.g.takeArgs(group, nil, count)
	}
	got := r.g.c.send(ctx, calls)
	r.g.c.sendText(ctx, takeNew, calls, got)
	var all Taken
	for i, group := range groups {
		taken, err := r.g.parseTaken(group, got[i])
		if err != nil {
			return Taken{}, err
		}
		all.Deliveries, all.Lost = append(all.Deliveries, taken.Deliveries...), append(all.Lost, taken.Lost...)
	}
	return all, nil
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
