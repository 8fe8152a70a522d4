package worker

import (
	"context"
	"errors"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

// claim begins a walk through what is pending.
func (w *Worker) claim(own redis.Own) *redis.Claim {
	return &redis.Claim{Idle: w.cfg.ClaimAfter, Own: own}
}

// lookForStrangers begins to claim where entries are pending for others than this worker: consumers that use no leases.
func (s *shard) lookForStrangers(ctx context.Context) error {
	var parts []*part
	var leases []*redis.Lease
	for _, p := range s.parts {
		if p.readable() {
			parts = append(parts, p)
			leases = append(leases, p.Lease)
		}
	}
	s.nextClaim = time.Now().Add(s.w.cfg.ClaimAfter / 2)
	if len(leases) == 0 {
		return nil
	}
	return s.try(ctx, func(ctx context.Context) error {
		strangers, err := s.w.group.Strangers(ctx, leases)
		for i := range strangers {
			if strangers[i] {
				parts[i].claim = s.w.claim(redis.OwnLeave)
			}
		}
		return err
	})
}

// takeOver takes over what the claims under way find, entry by entry, each committed before the next: when this process dies
// over one of them, that one only has had another attempt. After a batch of them it lets other partitions have a turn.
func (s *shard) takeOver(reading, work context.Context) error {
	left := s.w.cfg.Batch
	for _, p := range s.parts {
		for p.claimable() && left > 0 && reading.Err() == nil {
			if err := s.commit(work); err != nil {
				return err
			}
			it, err := s.claimNext(reading, p)
			if err != nil {
				return err
			}
			if it == nil {
				continue
			}
			left--
			if err := s.handle(work, []item{*it}); err != nil {
				return err
			}
		}
	}
	return nil
}

// claimNext takes over one entry. It returns none when that is in hand already, or at the end of the claim.
func (s *shard) claimNext(ctx context.Context, p *part) (*item, error) {
	var d *redis.Delivery
	err := s.try(ctx, func(ctx context.Context) (err error) {
		d, err = s.w.group.Next(ctx, p.Lease, p.claim)
		if errors.Is(err, redis.ErrLeaseLost) {
			p.lost("it ended, or another worker has it")
			err = nil
		}
		return err
	})
	switch {
	case err != nil:
		p.claim = s.w.claim(redis.OwnAgain) // an entry may have been taken over without an answer
		return nil, err
	case p.gone.Load():
		return nil, nil
	case d == nil:
		p.claim = nil
		return nil, nil
	}
	s.mu.Lock()
	_, held := p.hand[d.ID]
	if !held {
		p.hand[d.ID] = time.Now()
	}
	s.mu.Unlock()
	if held {
		return nil, nil
	}
	s.w.metrics.claims.Inc()
	return &item{p: p, d: *d}, nil
}
