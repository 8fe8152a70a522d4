package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

var (
	errStarting = errors.New("not connected to redis yet")
	errStopped  = errors.New("stopped")
)

// link is what the callers know together about the way to Redis. An outage is logged at its start and at its end, once.
type link struct {
	// Immutable after New.
	addr    string
	log     *slog.Logger
	outages *metrics.Counter

	// Guarded by mu.
	mu      sync.Mutex
	state   error // nil while connected and reading
	failing int   // callers whose last call failed
	since   time.Time
}

// set is for the start and the end, when nobody calls.
func (l *link) set(state error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

// failed is told by a caller whose last call had not failed before.
func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing++; l.failing > 1 {
		return
	}
	l.state = fmt.Errorf("redis at %s: %w", l.addr, err)
	l.since = time.Now()
	l.outages.Inc()
	l.log.Error("no service from redis, trying again", "redis", l.addr, "error", err)
}

// restored is told by a caller whose last call had failed.
func (l *link) restored() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing--; l.failing > 0 {
		return
	}
	l.state = nil
	l.log.Info("redis is back", "redis", l.addr, "after", time.Since(l.since).Round(time.Millisecond))
}

func (l *link) ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// caller makes the calls of one goroutine.
type caller struct {
	w       *Worker
	failing bool // the last call failed
	backoff backoff
}

// try makes one call. When that fails it waits for a while, and makes again what Redis may have lost.
func (c *caller) try(ctx context.Context, f func(context.Context) error) error {
	err := f(ctx)
	if errors.Is(err, redis.ErrNoGroup) {
		if c.w.warned.allow("no group", time.Now()) {
			c.w.cfg.Logger.Warn("redis has lost streams or their consumer group, creating them again", "group", c.w.cfg.Group)
		}
		again := c.w.connectAgain(ctx)
		if again == nil {
			return err
		}
		err = again
	}
	if err == nil {
		c.backoff = backoff{}
		if c.failing {
			c.failing = false
			c.w.link.restored()
		}
		return nil
	}
	if ctx.Err() != nil || errors.Is(err, redis.ErrMismatch) {
		return err
	}
	if !c.failing {
		c.failing = true
		c.w.link.failed(err)
	}
	if err := c.backoff.wait(ctx); err != nil {
		return err
	}
	if again := c.w.connectAgain(ctx); errors.Is(again, redis.ErrMismatch) {
		return again
	}
	return err
}

// call makes one call until it succeeds or ctx is done: one that may be made again.
func (c *caller) call(ctx context.Context, f func(context.Context) error) error {
	for {
		err := c.try(ctx, f)
		if err == nil || ctx.Err() != nil || errors.Is(err, redis.ErrMismatch) {
			return err
		}
	}
}

// connectAgain makes what Redis may have lost: meta hash, groups and scripts.
func (w *Worker) connectAgain(ctx context.Context) error {
	if err := w.client.Connect(ctx, 0); err != nil {
		return err
	}
	return w.group.Create(ctx)
}
