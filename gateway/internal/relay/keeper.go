package relay

import (
	"context"
	"time"
)

const (
	keepEvery = 10 * time.Second
	nodeTTL   = 60 * time.Second
)

// runKeeper does until ctx is done what must be done now and then. It reports no outage: writer and reader do.
func (r *Relay) runKeeper(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !r.Up() {
			continue
		}
		_ = r.openNode(ctx)
		if n, err := r.streams.TrimIn(ctx, r.cfg.Node, keepEvery-time.Second); err == nil {
			r.counts.trimmed.Add(uint64(n))
		}
	}
}

// openNode makes sure that the node's stream is there: a backend answers only into one that is, so that it leaves nothing
// behind for a node that is gone. It is missing at the start, and after somebody has emptied Redis.
func (r *Relay) openNode(ctx context.Context) error {
	if err := r.wake(ctx); err != nil {
		return err
	}
	return r.streams.KeepNode(ctx, r.nodeKey, r.read.nodeCursor(), nodeTTL)
}
