package relay

import (
	"context"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

const (
	keepEvery    = time.Second
	trimOutEvery = 10 * time.Second
	nodeTTL      = time.Minute
)

// runKeeper does until ctx is done what must be done now and then.
func (r *Relay) runKeeper(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if r.down.Load() == nil && r.lanes[0].down.Load() == nil {
			r.keep(ctx)
		}
	}
}

// keep sends out the canary, keeps the node's stream from expiring, trims, and counts the backlog. What fails here is
// sick, but not down: that is for writer and lanes to find out.
func (r *Relay) keep(ctx context.Context) {
	err := r.wake(ctx)
	if err == nil {
		var read stream.ID
		if at := r.nodeAt.Load(); at != nil {
			read = *at
		}
		err = r.streams.KeepNode(ctx, r.nodeKey, read, nodeTTL)
	}
	if err == nil && r.streams.Cluster() { // elsewhere the canary has been everywhere
		err = r.streams.Prove(ctx, r.cfg.Node, nodeTTL)
	}
	n, trimErr := r.streams.TrimIn(ctx, r.cfg.Node, keepEvery-keepEvery/10)
	r.counts.trimmed.Add(uint64(n))
	n, _ = r.streams.TrimOut(ctx, r.cfg.Node, r.cfg.History, r.cfg.MaxLen, trimOutEvery-keepEvery/2)
	r.counts.trimmedOut.Add(uint64(n))
	if entries, backlogErr := r.streams.Backlog(ctx); backlogErr == nil {
		r.backlog.Store(entries)
	} else if err == nil {
		err = backlogErr
	}
	if err == nil {
		err = trimErr
	}
	if err == nil || ctx.Err() != nil {
		r.inTouch(&r.sick, "canary")
		return
	}
	r.lostTouch(&r.sick, "canary", err)
}
