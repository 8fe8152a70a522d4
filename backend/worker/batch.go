package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// failure is an event whose handler failed and which is to be handled again.
type failure struct {
	event *Event
	err   error
}

// panicError is what a handler panicked with, and where.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// handleBatch handles entries of one read in their order, and leaves their outcomes in s.outcomes. It fails only when ctx
// is done; then the batch leaves none.
func (s *shard) handleBatch(ctx context.Context, entries []redis.Delivery, claimed bool) error {
	events := s.w.decode(entries)
	seen, err := s.seen(ctx, events)
	if err != nil {
		return err
	}
	outcomes := s.outcomes
	var failures []failure
	for i, e := range events {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e == nil {
			outcomes = append(outcomes, redis.Outcome{Ref: entries[i].Ref})
			continue
		}
		if e.seen != "" && seen[e.seen] {
			s.w.metrics.duplicates.Inc()
			outcomes = append(outcomes, redis.Outcome{Ref: e.entry})
			continue
		}
		if err := s.w.dispatch(ctx, e); err != nil {
			failures = append(failures, failure{e, err})
			continue
		}
		if e.seen != "" {
			seen[e.seen] = true
		}
		outcomes = append(outcomes, e.outcome())
	}
	s.outcomes = outcomes
	s.w.metrics.batch.Update(float64(len(outcomes)))
	s.w.report(ctx, failures, claimed)
	return nil
}

// decode returns nil in the place of an entry that is none: it is acknowledged, since it would never become one.
func (w *Worker) decode(entries []redis.Delivery) []*Event {
	now := time.Now()
	events := make([]*Event, len(entries))
	for i, d := range entries {
		e, err := newEvent(d, w.client.Keys())
		if err != nil {
			w.metrics.undecodable.Inc()
			w.cfg.Logger.Warn("not an entry of this contract, acknowledged", "partition", d.Partition, "entry", d.ID, "error", err)
			continue
		}
		w.metrics.entries[e.Kind].Inc()
		if !e.At.IsZero() {
			w.metrics.lag.Update(now.Sub(e.At).Seconds())
		}
		events[i] = e
	}
	return events
}

// seen looks up in one round trip which of the events have been processed before.
func (s *shard) seen(ctx context.Context, events []*Event) (map[string]bool, error) {
	var keys []string
	for _, e := range events {
		if e != nil && e.seen != "" {
			keys = append(keys, e.seen)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	var found []bool
	err := s.call(ctx, func(ctx context.Context) (err error) {
		found, err = s.w.group.Seen(ctx, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(keys))
	for i, key := range keys {
		seen[key] = found[i]
	}
	return seen, nil
}

// dispatch has an event handled. An error means that it is to be handled again; then nothing is to be committed.
func (w *Worker) dispatch(ctx context.Context, e *Event) error {
	namespace := e.Namespace()
	r, ok := w.routes[namespace]
	if !ok {
		r, ok = w.routes[Any]
	}
	if !ok {
		w.metrics.noHandler.Inc()
		if w.warned.allow("namespace "+namespace, time.Now()) {
			w.cfg.Logger.Warn("no handler for this namespace", "namespace", namespace, "kind", e.Kind, "channel", e.Channel)
		}
		e.fail(codeNoHandler, "no backend for this namespace")
		return nil
	}
	start := time.Now()
	err := callHandler(ctx, r.handle, e)
	r.seconds.UpdateDuration(start)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*panicError](err); ok {
		w.metrics.panics.Inc()
	} else {
		w.metrics.handlerErrors.Inc()
	}
	if e.Kind != stream.KindReq {
		return err
	}
	w.logFailure("handler failed, the client gets err 500", e, err)
	e.fail(codeFailed, "backend failed")
	return nil
}

func callHandler(ctx context.Context, h Handler, e *Event) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return h(ctx, e)
}

// report logs failures with the number of their attempt, which only Redis knows.
func (w *Worker) report(ctx context.Context, failures []failure, claimed bool) {
	if len(failures) == 0 {
		return
	}
	refs := make([]redis.Ref, len(failures))
	attempts := make([]int64, len(failures))
	for i, f := range failures {
		refs[i], attempts[i] = f.event.entry, 1
	}
	if claimed {
		if counted, err := w.group.Attempts(ctx, refs); err == nil { // the log is worth no second try
			attempts = counted
		}
	}
	for i, f := range failures {
		w.logFailure("handler failed, the entry will be handled again", f.event, f.err, "attempt", attempts[i], "after", w.cfg.ClaimAfter)
	}
}

func (w *Worker) logFailure(text string, e *Event, err error, more ...any) {
	args := []any{
		"kind", e.Kind, "channel", e.Channel, "user", e.User, "partition", e.entry.Partition, "entry", e.entry.ID, "error", err,
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		args = append(args, "stack", string(p.stack))
	}
	w.cfg.Logger.Error(text, append(args, more...)...)
}
