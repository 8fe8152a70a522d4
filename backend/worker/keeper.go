package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

// holding is a partition that this worker has the lease of, between the keeper and the shard that it is given to.
type holding struct {
	*redis.Lease         // immutable
	shard        *shard  // immutable
	worker       *Worker // immutable

	// Atomic.
	until   atomic.Int64 // time of the worker's clock up to which the lease is known to last
	leaving atomic.Bool  // another worker is due it: the shard finishes what is in hand and releases it
	gone    atomic.Bool  // lost or released: the shard lets go of what it has of it
}

// lost notes that the lease is over, if nobody has before.
func (h *holding) lost(why string) {
	if h.gone.Swap(true) {
		return
	}
	h.worker.metrics.leaseLosses.Inc()
	if h.worker.warned.allow("lease", time.Now()) { // they go in dozens
		h.worker.cfg.Logger.Warn("lost leases, what is in hand is left to the next owner", "partition", h.Partition, "token", h.Token, "why", why)
	}
	h.worker.keeper.wake()
}

// over says whether nothing may be done for the partition any more. Redis refuses what a worker writes that overslept the end
// of its lease; here it is kept from starting handlers.
func (h *holding) over() bool {
	if !h.gone.Load() && int64(h.worker.clock()) > h.until.Load() {
		h.lost("not renewed in time")
	}
	return h.gone.Load()
}

// keeper is the goroutine that gets, renews and gives up leases: as many as are this worker's share.
type keeper struct {
	// Immutable after newKeeper.
	caller
	shards []*shard
	every  time.Duration
	woken  chan struct{}

	// Owned by run.
	held       map[int]*holding // by partition
	nextSample time.Time
}

const (
	ticks       = 3 // in the time of a lease: how often it is renewed
	hurry       = 5 // a worker with less than its share looks that much more often
	sampleTicks = 5 // between two measurements of the backlog
)

func newKeeper(w *Worker, shards []*shard) *keeper {
	return &keeper{
		caller: caller{w: w}, shards: shards, every: w.cfg.lease / ticks,
		woken: make(chan struct{}, 1), held: make(map[int]*holding),
	}
}

func (k *keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

// run keeps leases until work is done. From the end of reading on it only renews those that shards still finish.
func (k *keeper) run(reading, work context.Context) error {
	stopping := reading.Done()
	for {
		wait := k.every
		if err := k.try(work, func(ctx context.Context) (err error) { wait, err = k.tick(ctx, reading.Err() != nil); return err }); err != nil {
			if errors.Is(err, redis.ErrMismatch) {
				return err
			}
			wait = 0 // try has waited
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-k.woken:
		case <-stopping:
			stopping = nil
			k.depart(work)
		case <-work.Done():
			t.Stop()
			return nil
		}
		t.Stop()
	}
}

func (k *keeper) depart(ctx context.Context) {
	if err := k.w.group.Depart(ctx); err != nil {
		k.w.cfg.Logger.Debug("still counted among the workers of the group", "error", err)
	}
}

// tick does what is due and says when the next one is.
func (k *keeper) tick(ctx context.Context, stopping bool) (time.Duration, error) {
	if err := k.renew(ctx); err != nil {
		return 0, err
	}
	if stopping {
		return k.every, nil
	}
	workers, err := k.w.group.Heartbeat(ctx, k.w.cfg.lease)
	if err != nil {
		return 0, err
	}
	share := (k.w.cfg.Partitions + workers - 1) / max(workers, 1)
	k.giveUp(share)
	if err := k.acquire(ctx, share); err != nil {
		return 0, err
	}
	k.w.metrics.leases.Store(int64(len(k.held)))
	if now := time.Now(); now.After(k.nextSample) {
		k.nextSample = now.Add(sampleTicks * k.every)
		if err := k.sample(ctx); err != nil {
			return 0, err
		}
	}
	if len(k.held) < k.w.cfg.Partitions/max(workers, 1) {
		return k.every / hurry, nil
	}
	return k.every, nil
}

func (k *keeper) renew(ctx context.Context) error {
	var holdings []*holding
	var leases []*redis.Lease
	for p, h := range k.held {
		if h.gone.Load() {
			delete(k.held, p)
			continue
		}
		holdings = append(holdings, h)
		leases = append(leases, h.Lease)
	}
	if len(leases) == 0 {
		return nil
	}
	until := int64(k.w.clock() + k.w.cfg.lease)
	held, err := k.w.group.Renew(ctx, leases, k.w.cfg.lease)
	if err != nil {
		return err
	}
	for i, h := range holdings {
		if held[i] {
			h.until.Store(until)
			continue
		}
		h.lost("it ended, or another worker has it")
		delete(k.held, h.Partition)
	}
	return nil
}

// giveUp has shards release what is more than share, first of those that have the most.
func (k *keeper) giveUp(share int) {
	load, staying := k.load()
	for ; staying > share; staying-- {
		var from *holding
		for _, h := range k.held {
			if !h.leaving.Load() && (from == nil || load[h.shard] > load[from.shard]) {
				from = h
			}
		}
		from.leaving.Store(true)
		load[from.shard]--
	}
}

// load counts the holdings that stay, by shard and together.
func (k *keeper) load() (load map[*shard]int, staying int) {
	load = make(map[*shard]int, len(k.shards))
	for _, h := range k.held {
		if !h.leaving.Load() {
			load[h.shard]++
			staying++
		}
	}
	return load, staying
}

// acquire takes free leases up to share, and gives them to the shards that have the fewest.
func (k *keeper) acquire(ctx context.Context, share int) error {
	load, staying := k.load()
	var candidates []int
	for p := range k.w.cfg.Partitions {
		if k.held[p] == nil {
			candidates = append(candidates, p)
		}
	}
	rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	for staying < share && len(candidates) > 0 {
		n := min(share-staying, len(candidates))
		until := int64(k.w.clock() + k.w.cfg.lease)
		leases, err := k.w.group.Acquire(ctx, candidates[:n], k.w.cfg.lease)
		if err != nil {
			return err
		}
		candidates = candidates[n:]
		for _, l := range leases {
			to := k.shards[0]
			for _, s := range k.shards {
				if load[s] < load[to] {
					to = s
				}
			}
			h := &holding{Lease: l, shard: to, worker: k.w}
			h.until.Store(until)
			k.held[l.Partition] = h
			load[to]++
			staying++
			if l.Token > 1 {
				k.w.metrics.takeOvers.Inc()
			}
			to.grant(h)
		}
	}
	return nil
}

// release gives up what shards have not, when they have ended.
func (k *keeper) release(ctx context.Context) error {
	var leases []*redis.Lease
	for _, h := range k.held {
		if !h.gone.Load() {
			leases = append(leases, h.Lease)
		}
	}
	k.w.metrics.leases.Store(0)
	return errors.Join(k.w.group.Release(ctx, leases), k.w.group.Depart(ctx))
}

// sample measures what is still to be done on the partitions that are held.
func (k *keeper) sample(ctx context.Context) error {
	var partitions []int
	for p := range k.held {
		partitions = append(partitions, p)
	}
	backlogs, err := k.w.group.Backlogs(ctx, partitions)
	if err != nil {
		return err
	}
	k.w.metrics.backlog.set(backlogs)
	return nil
}
