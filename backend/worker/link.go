package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var (
	errStarting = errors.New("not connected to redis yet")
	errStopped  = errors.New("stopped")
)

// link is what the shards know together about the way to Redis. An outage is logged at its start and at its end, once.
type link struct {
	// Immutable after New.
	addr    string
	log     *slog.Logger
	outages *metrics.Counter

	// Guarded by mu.
	mu      sync.Mutex
	state   error // nil while connected and reading
	failing int   // shards whose last call failed
	since   time.Time
}

// set is for the start and the end, when no shard runs.
func (l *link) set(state error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

// failed is told by a shard whose last call had not failed before.
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

// restored is told by a shard whose last call had failed.
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
