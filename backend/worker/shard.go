package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

// shard is one goroutine and the partitions that it alone reads, in this process and, by their leases, in the group.
type shard struct {
	// Owned by run.
	caller
	parts     []*part
	nextClaim time.Time // when to look for what consumers without leases have left

	// Immutable after New.
	reader *redis.Reader
	woken  chan struct{}

	// Guarded by mu.
	mu      sync.Mutex
	granted []*holding
	hands   []*part // parts, for renew
}

// grant is called by the keeper.
func (s *shard) grant(h *holding) {
	s.mu.Lock()
	s.granted = append(s.granted, h)
	s.mu.Unlock()
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// run reads until reading is done, and handles under work what it has read. It returns an error only when the
// installation has become another one.
func (s *shard) run(reading, work context.Context) error {
	defer s.reader.Close()
	for reading.Err() == nil && work.Err() == nil {
		err := s.adopt(work)
		if err == nil && len(s.parts) == 0 {
			s.idle(reading)
		} else if err == nil {
			err = s.turn(reading, work)
		}
		if errors.Is(err, redis.ErrMismatch) {
			return err
		}
	}
	err := s.commit(work)
	if err == nil {
		err = s.release(work, s.parts)
	}
	inHand := 0
	for _, p := range s.parts {
		p.forget()
		inHand += len(p.hand)
	}
	if err != nil && inHand > 0 {
		s.w.cfg.Logger.Warn("entries stay pending for another backend", "entries", inHand, "error", err)
	}
	return nil
}

// turn reads and handles once. What is left to be committed is committed together with the next read.
func (s *shard) turn(reading, work context.Context) error {
	got, err := s.read(reading)
	if err == nil {
		err = s.handle(work, got)
	}
	if err == nil {
		err = s.retry(work)
	}
	if err == nil && !time.Now().Before(s.nextClaim) {
		err = s.lookForStrangers(reading)
	}
	if err == nil {
		err = s.takeOver(reading, work)
	}
	return err
}

// idle waits for a partition. Whether Redis answers is the keeper's business meanwhile.
func (s *shard) idle(ctx context.Context) {
	if s.failing {
		s.failing = false
		s.w.link.restored()
	}
	select {
	case <-s.woken:
	case <-ctx.Done():
	}
}

// adopt begins with partitions that were granted, and ends with those that are lost or due to another worker.
func (s *shard) adopt(work context.Context) error {
	var leaving []*part
	for _, p := range s.parts {
		if p.leaving.Load() && !p.over() {
			leaving = append(leaving, p)
		}
	}
	if len(leaving) > 0 {
		if err := s.commit(work); err != nil {
			return err
		}
		if err := s.release(work, leaving); err != nil {
			return err
		}
	}
	gone := func(p *part) bool {
		if p.over() {
			p.forget()
			return true
		}
		return false
	}
	s.parts = slices.DeleteFunc(s.parts, gone)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.granted {
		s.parts = append(s.parts, newPart(h))
	}
	s.granted = nil
	s.hands = append(s.hands[:0], s.parts...)
	return nil
}

// release gives leases back when all in hand is committed, but what waits for a retry: the next owner goes on with that.
// It tries once; a worker that ends need not wait for Redis, and leases end by themselves.
func (s *shard) release(ctx context.Context, parts []*part) error {
	var leases []*redis.Lease
	for _, p := range parts {
		if !p.gone.Load() {
			leases = append(leases, p.Lease)
		}
	}
	if len(leases) == 0 {
		return nil
	}
	err := s.try(ctx, func(ctx context.Context) error { return s.w.group.Release(ctx, leases) })
	if err == nil {
		for _, p := range parts {
			p.gone.Store(true)
		}
	}
	return err
}

// read commits what was handled and reads new entries, in one round trip: waiting for answers is most of what an entry
// costs while there are few of them. After an error new entries may be pending of which nothing is known here: they are
// looked for before anything else is read.
func (s *shard) read(ctx context.Context) (items []item, err error) {
	parts, batches := s.batches()
	var reading []*part
	r := redis.Reading{Count: s.w.cfg.Batch, Block: s.patience()}
	for _, p := range s.parts {
		if p.readable() {
			reading = append(reading, p)
			r.Leases = append(r.Leases, p.Lease)
		}
	}
	if len(r.Leases) == 0 && len(batches) == 0 {
		s.rest(ctx, r.Block)
		return nil, nil
	}
	var taken redis.Taken
	err = s.try(ctx, func(ctx context.Context) (err error) {
		var done []int
		if taken, done, err = s.reader.CommitRead(ctx, batches, s.w.cfg.DedupeWindow, r); err == nil {
			s.committed(parts, done)
		}
		return err
	})
	if err != nil {
		for _, p := range reading {
			p.claim = s.w.claim(redis.OwnAgain)
		}
		return nil, err
	}
	byPartition := make(map[int]*part, len(reading))
	for _, p := range reading {
		p.full = false
		byPartition[p.Partition] = p
	}
	for _, l := range taken.Lost {
		byPartition[l.Partition].lost("it ended, or another worker has it")
	}
	items = make([]item, len(taken.Deliveries))
	run := 0
	for i, d := range taken.Deliveries {
		items[i] = item{p: byPartition[d.Partition], d: d}
		if run++; i == 0 || items[i-1].p != items[i].p {
			run = 1
		}
		items[i].p.full = run >= s.w.cfg.Batch
	}
	s.hold(items)
	return items, nil
}

// rest is the wait of a read when nothing may be read.
func (s *shard) rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.woken:
	case <-ctx.Done():
	}
}

// patience is how long a read may wait.
func (s *shard) patience() time.Duration {
	now := time.Now()
	d := min(readBlock, s.nextClaim.Sub(now))
	for _, p := range s.parts {
		if p.claimable() || p.readable() && p.full {
			return 0
		}
		if due := p.due(); !due.IsZero() {
			d = min(d, due.Sub(now))
		}
	}
	return max(d, 0)
}

// batches are what is to be committed, and of which parts.
func (s *shard) batches() (parts []*part, batches []redis.Batch) {
	for _, p := range s.parts {
		if len(p.outcomes) > 0 && !p.gone.Load() {
			parts = append(parts, p)
			batches = append(batches, redis.Batch{Lease: p.Lease, Outcomes: p.outcomes})
		}
	}
	return parts, batches
}

// commit commits what was handled when there is nothing to read along with it.
func (s *shard) commit(ctx context.Context) error {
	parts, batches := s.batches()
	if len(batches) == 0 {
		return nil
	}
	return s.call(ctx, func(ctx context.Context) error {
		done, err := s.w.group.Commit(ctx, batches, s.w.cfg.DedupeWindow)
		if err == nil {
			s.committed(parts, done)
		}
		return err
	})
}

func (s *shard) committed(parts []*part, done []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range parts {
		if done[i] == redis.LeaseLost {
			p.lost("it ended, or another worker has it")
			p.outcomes = nil
			continue
		}
		s.w.metrics.settled.Add(len(p.outcomes) - done[i])
		for j := range p.outcomes {
			delete(p.hand, p.outcomes[j].ID)
		}
		clear(p.outcomes) // let go of the bodies
		p.outcomes = p.outcomes[:0]
	}
}

// hold notes what is in hand now.
func (s *shard) hold(items []item) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range items {
		it.p.hand[it.d.ID] = now
	}
}

// renew starts the idle time anew of entries that were in hand before that time already.
func (s *shard) renew(ctx context.Context, before time.Time) error {
	held := make(map[*part][]redis.Touched)
	s.mu.Lock()
	for _, p := range s.hands {
		for id, since := range p.hand {
			if since.Before(before) && !p.gone.Load() {
				held[p] = append(held[p], redis.Touched{ID: id})
			}
		}
	}
	s.mu.Unlock()
	for p, entries := range held {
		if err := s.w.group.Touch(ctx, p.Lease, entries); err != nil {
			return err
		}
	}
	return nil
}
