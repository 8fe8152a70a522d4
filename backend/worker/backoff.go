package worker

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstWait = 50 * time.Millisecond
	maxWait   = 2 * time.Second
)

// backoff waits longer from time to time, and never as long as another worker does: they all lost the same Redis.
type backoff struct{ last time.Duration }

// wait waits, or returns the error of ctx.
func (b *backoff) wait(ctx context.Context) error {
	b.last = min(max(2*b.last, firstWait), maxWait)
	t := time.NewTimer(b.last/2 + rand.N(b.last/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
