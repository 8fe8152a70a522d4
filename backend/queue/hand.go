package queue

import (
	"context"
	"errors"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

const (
	idleBlock  = 200 * time.Millisecond // how long a read waits for the first entry
	standAside = 200 * time.Millisecond // how often a hand that is not needed looks whether it is
)

// hand is one goroutine that reads and counts. It is a consumer of its own, so that what is pending for it is what it has in hand,
// or has lost the answer to.
type hand struct {
	// Immutable after New.
	w     *Worker
	index int
	queue *redis.Queue

	// Owned by run.
	own       redis.Own // what to do with what is pending for this hand
	nextClaim time.Time
}

func (h *hand) run(reading, work context.Context) {
	h.own = redis.OwnAnew // of another process of this name, which has died over them, perhaps
	b := backoff{}
	for reading.Err() == nil && work.Err() == nil {
		err := h.turn(reading, work)
		if err == nil {
			b = backoff{}
			continue
		}
		if reading.Err() != nil {
			return
		}
		if errors.Is(err, redis.ErrNoGroup) {
			err = errors.Join(err, h.w.create(reading))
		}
		h.w.reached(err)
		if h.own == redis.OwnLeave {
			h.own = redis.OwnAgain // the answer may have been lost
		}
		if b.wait(reading) != nil {
			return
		}
	}
}

// turn recovers what is to be recovered, or reads a batch and does it.
func (h *hand) turn(reading, work context.Context) error {
	active := int(h.w.active.Load())
	if h.index >= active && h.own == redis.OwnLeave {
		_ = sleep(reading, standAside) // run looks whether that is over
		return nil
	}
	if now := time.Now(); h.own != redis.OwnLeave || now.After(h.nextClaim) {
		if err := h.recover(reading, work, active); err != nil {
			return err
		}
		h.own = redis.OwnLeave
		h.nextClaim = now.Add(h.w.cfg.ClaimAfter / 3)
	}
	batch, err := h.gather(reading, active)
	if err != nil {
		return err
	}
	h.w.reached(nil)
	return h.w.do(work, h.queue, batch)
}

// gather reads a batch: when there is something, it waits for what comes within the linger, and reads that. A read brings at most a
// batch, spread over the partitions; so a batch has at most twice as many entries as it should.
func (h *hand) gather(ctx context.Context, active int) ([]redis.Delivery, error) {
	batch := int(h.w.batch.Load())
	mine := h.partitions(active)
	count := (batch + len(mine) - 1) / len(mine)
	reading := context.WithoutCancel(ctx) // what is cut off has been delivered, perhaps
	all, err := h.queue.Take(reading, mine, count, idleBlock)
	if len(all) > 0 && len(all) < batch {
		_ = sleep(ctx, h.w.cfg.Linger) // if it is to end, with what there is
	}
	for err == nil && len(all) > 0 && len(all) < batch {
		var more []redis.Delivery
		if more, err = h.queue.Take(reading, mine, count, 0); len(more) == 0 {
			break
		}
		all = append(all, more...)
	}
	if err != nil && len(all) > 0 {
		return all, nil // the next read meets the error, too; what was lost is found by its claim
	}
	return all, err
}

// partitions are those of this hand while so many are active.
func (h *hand) partitions(active int) (out []int) {
	for p := h.index % active; p < h.w.client.Partitions(); p += active {
		out = append(out, p)
	}
	return out
}

// recover does what is pending for this hand where it should not be, and what others have left alone for too long.
func (h *hand) recover(reading, work context.Context, active int) error {
	partitions := h.partitions(active)
	if h.own != redis.OwnLeave {
		partitions = (&hand{w: h.w}).partitions(1) // wherever it is
	}
	for _, p := range partitions {
		walk := redis.Walk{Partition: p, Idle: h.w.cfg.ClaimAfter, Own: h.own, Suspect: maxDeliveries}
		for more := true; more && reading.Err() == nil; {
			var got []redis.Delivery
			var err error
			if got, more, err = h.queue.Recover(reading, &walk); err != nil {
				return err
			}
			h.w.metrics.claims.Add(len(got))
			if err := h.w.do(work, h.queue, got); err != nil {
				return err
			}
		}
	}
	return nil
}
