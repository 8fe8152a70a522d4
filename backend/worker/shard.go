package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// shard is one goroutine and the partitions that it alone reads, in this process.
type shard struct {
	// Immutable after newShards.
	w          *Worker
	partitions []int

	// Owned by run.
	cursor    []stream.ID // of claims, by place in partitions; zero at the end
	nextClaim time.Time
	failing   bool            // the last call of Redis failed
	outcomes  []redis.Outcome // handled, to be committed together with the next read

	// Guarded by mu, for renew.
	mu    sync.Mutex
	held  []redis.Delivery // read and not handled
	since time.Time
}

// run reads until reading is done, and handles under work what it has read. It returns an error only when the
// installation has become another one.
func (s *shard) run(reading, work context.Context) error {
	for reading.Err() == nil && work.Err() == nil {
		got, err := s.read(reading)
		if err == nil {
			err = s.handle(work, got, false)
		}
		if err == nil && !time.Now().Before(s.nextClaim) {
			err = s.claim(reading, work)
		}
		if errors.Is(err, redis.ErrMismatch) {
			return err
		}
	}
	if err := s.commit(work); err != nil {
		s.w.cfg.Logger.Warn("entries stay pending for another backend", "entries", len(s.outcomes), "error", err)
	}
	return nil
}

// read commits what was handled and reads new entries, in one round trip: waiting for answers is most of what an entry
// costs while there are few of them.
func (s *shard) read(ctx context.Context) (got []redis.Delivery, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		r := redis.Reading{Partitions: s.partitions, Count: s.w.cfg.Batch, Block: min(readBlock, time.Until(s.nextClaim))}
		if len(s.outcomes) == 0 {
			got, err = s.w.group.Read(ctx, r)
			return err
		}
		var done int
		if got, done, err = s.w.group.CommitRead(ctx, s.outcomes, s.w.cfg.DedupeWindow, r); err == nil {
			s.committed(done)
		}
		return err
	})
	return got, err
}

// commit commits what was handled when there is nothing to read along with it.
func (s *shard) commit(ctx context.Context) error {
	if len(s.outcomes) == 0 {
		return nil
	}
	return s.call(ctx, func(ctx context.Context) error {
		done, err := s.w.group.Commit(ctx, s.outcomes, s.w.cfg.DedupeWindow)
		if err == nil {
			s.committed(done)
		}
		return err
	})
}

func (s *shard) committed(done int) {
	s.w.metrics.settled.Add(len(s.outcomes) - done)
	clear(s.outcomes) // let go of the bodies
	s.outcomes = s.outcomes[:0]
}

// claim takes over a batch of each partition. While there is more it is due again after the next read.
func (s *shard) claim(reading, work context.Context) error {
	if err := s.commit(work); err != nil {
		return err
	}
	var got []redis.Delivery
	err := s.call(reading, func(ctx context.Context) (err error) {
		got, err = s.w.group.Claim(ctx, s.partitions, s.cursor, s.w.cfg.ClaimAfter, s.w.cfg.Batch)
		return err
	})
	if err != nil {
		return err
	}
	more := slices.ContainsFunc(s.cursor, func(c stream.ID) bool { return c != stream.ID{} })
	if !more {
		s.nextClaim = time.Now().Add(s.w.cfg.ClaimAfter / 2)
	}
	s.w.metrics.claims.Add(len(got))
	return s.handle(work, got, true)
}

// handle takes entries through their handlers, a batch at a time. The outcomes of the last one are left to be committed.
func (s *shard) handle(work context.Context, got []redis.Delivery, claimed bool) error {
	s.hold(got)
	defer s.hold(nil)
	for len(got) > 0 {
		if err := s.commit(work); err != nil {
			return err
		}
		n := min(len(got), s.w.cfg.Batch)
		if err := s.handleBatch(work, got[:n], claimed); err != nil {
			s.w.cfg.Logger.Warn("entries stay pending for another backend", "entries", len(got), "error", err)
			return err
		}
		got = got[n:]
		s.hold(got)
	}
	return nil
}

// call makes one call of Redis until it succeeds or ctx is done. Each call may be made again after a failure: what a
// read gave to a lost connection is claimed later, and a commit is once.
func (s *shard) call(ctx context.Context, f func(context.Context) error) error {
	var b backoff
	for {
		err := f(ctx)
		if errors.Is(err, redis.ErrNoGroup) {
			if s.w.warned.allow("no group", time.Now()) {
				s.w.cfg.Logger.Warn("redis has lost streams or their consumer group, creating them again", "group", s.w.cfg.Group)
			}
			if err = s.w.connectAgain(ctx); err == nil {
				continue
			}
		}
		if err == nil {
			if s.failing {
				s.failing = false
				s.w.link.restored()
			}
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, redis.ErrMismatch) {
			return err
		}
		if !s.failing {
			s.failing = true
			s.w.link.failed(err)
		}
		if err := b.wait(ctx); err != nil {
			return err
		}
		if err := s.w.connectAgain(ctx); errors.Is(err, redis.ErrMismatch) {
			return err
		}
	}
}

// connectAgain makes what Redis may have lost: meta hash, groups and script.
func (w *Worker) connectAgain(ctx context.Context) error {
	if err := w.client.Connect(ctx, 0); err != nil {
		return err
	}
	return w.group.Create(ctx)
}

func (s *shard) hold(entries []redis.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		s.since = time.Now()
	}
	s.held = entries
}

// appendHeld appends the entries in hand, if they were read before that time.
func (s *shard) appendHeld(refs []redis.Ref, before time.Time) []redis.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 || s.since.After(before) {
		return refs
	}
	for i := range s.held {
		refs = append(refs, s.held[i].Ref)
	}
	return refs
}
