package worker

import (
	"context"
	"slices"
	"time"
)

// gather is the first of the items and those behind it that can be handled together with it, in their order; nil if there is none, or
// no batch handler. An entry that was delivered before is handled alone: it may be what the process died of.
func (w *Worker) gather(items []item, seen map[string]string) []*item {
	first := &items[0]
	r, ok := w.routes[first.e.Namespace()]
	if !ok {
		r = w.routes[Any]
	}
	if r.batch == nil || first.e.Channel == "" || first.d.Attempt > 1 {
		return nil
	}
	var group []*item
	var marks []string
	for i := range items {
		it := &items[i]
		if it.p != first.p || it.e == nil || it.e.Channel != first.e.Channel || it.done {
			continue
		}
		// What comes behind a repeated entry, or one that is to be handled alone, stays behind it.
		repeated := it.e.seen != "" && (seen[it.e.seen] != "" || slices.Contains(marks, it.e.seen))
		if len(group) == r.most || repeated || it.d.Attempt > 1 {
			break
		}
		if it.e.seen != "" {
			marks = append(marks, it.e.seen)
		}
		group = append(group, it)
	}
	if len(group) < 2 {
		return nil
	}
	return group
}

// dispatchBatch has a group handled. If it fails nothing of it is left.
func (w *Worker) dispatchBatch(ctx context.Context, group []*item) bool {
	events := make([]*Event, len(group))
	for i, it := range group {
		events[i] = it.e
	}
	r, ok := w.routes[events[0].Namespace()]
	if !ok {
		r = w.routes[Any]
	}
	start := time.Now()
	err := callHandler(ctx, func(ctx context.Context, _ *Event) error { return r.batch(ctx, events) }, nil)
	if err == nil {
		r.seconds.UpdateDuration(start)
		w.metrics.groups.Update(float64(len(group)))
		return true
	}
	if ctx.Err() == nil {
		w.metrics.batchErrors.Inc()
		w.logFailure("a batch failed, its entries are handled one by one", events[0], err, "entries", len(group))
	}
	for _, e := range events {
		e.clear()
	}
	return false
}
