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

// item is an entry on its way through a shard.
type item struct {
	p *part
	d redis.Delivery
	e *Event // nil until decoded, and if it is none

	done bool // handled together with an earlier one
}

// line names what the entry must stay in order with.
func (it *item) line() string {
	if it.e.Channel != "" {
		return it.e.Channel
	}
	return " " + it.e.Conn // no channel has a blank
}

// panicError is what a handler panicked with, and where.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// handle takes entries through their handlers, a batch at a time. The outcomes of the last one are left to be committed.
func (s *shard) handle(work context.Context, items []item) error {
	for len(items) > 0 {
		if err := s.commit(work); err != nil {
			return err
		}
		n := min(len(items), s.w.cfg.Batch)
		if err := s.handleBatch(work, items[:n]); err != nil {
			s.w.cfg.Logger.Warn("entries stay pending for another backend", "entries", len(items), "error", err)
			return err
		}
		items = items[n:]
	}
	return nil
}

// handleBatch handles entries in their order. It fails only when ctx is done; what was not handled then stays pending.
func (s *shard) handleBatch(ctx context.Context, items []item) error {
	faults := s.w.decode(items)
	seen, err := s.seen(ctx, items)
	if err != nil {
		return err
	}
	handled := 0
	for i := range items {
		it := &items[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if it.p.over() || it.done {
			continue
		}
		if it.e == nil {
			s.bury(it, causeUndecodable, faults[i])
			continue
		}
		if it.p.lines[it.line()] != nil {
			it.p.enqueue(*it)
			continue
		}
		if value := seen[it.e.seen]; it.e.seen != "" && value != "" {
			s.w.metrics.duplicates.Inc()
			it.e.repeatAnswer(value)
			it.p.outcomes = append(it.p.outcomes, redis.Outcome{Ref: it.d.Ref, Answers: it.e.answers})
			continue
		}
		if it.d.Attempt > int64(s.w.cfg.MaxAttempts) {
			s.bury(it, causeKilled, errKilled)
			continue
		}
		if group := s.w.gather(items[i:], seen); group != nil {
			if s.w.dispatchBatch(ctx, group) {
				for _, it := range group {
					s.settle(it, seen)
				}
				handled += len(group)
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := s.w.dispatch(ctx, it.e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err() // not the entry's fault
			}
			s.failed(ctx, it, err)
			continue
		}
		s.settle(it, seen)
		handled++
	}
	if handled > 0 {
		s.w.metrics.batch.Update(float64(handled))
	}
	return nil
}

// settle leaves what was asked for to be committed.
func (s *shard) settle(it *item, seen map[string]string) {
	o := it.e.outcome()
	if o.Seen != "" {
		seen[o.Seen] = o.SeenValue
	}
	it.p.outcomes = append(it.p.outcomes, o)
	it.done = true
}

// decode sets the events of the items, and says why one has none.
func (w *Worker) decode(items []item) map[int]error {
	var faults map[int]error
	now := time.Now()
	for i := range items {
		again := items[i].e != nil // the handler may have changed it
		e, err := newEvent(items[i].d, w.client.Keys())
		items[i].e = e
		if err != nil {
			if faults == nil {
				faults = make(map[int]error)
			}
			faults[i] = err
			w.metrics.undecodable.Inc()
			continue
		}
		if again {
			continue
		}
		w.metrics.entries[e.Kind].Inc()
		if !e.At.IsZero() {
			w.metrics.lag.Update(now.Sub(e.At).Seconds())
		}
	}
	return faults
}

// seen looks up in one round trip which of the events have been processed before.
func (s *shard) seen(ctx context.Context, items []item) (map[string]string, error) {
	var keys []string
	for _, it := range items {
		if it.e != nil && it.e.seen != "" {
			keys = append(keys, it.e.seen)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	var values []string
	err := s.call(ctx, func(ctx context.Context) (err error) {
		values, err = s.w.group.Seen(ctx, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	seen := make(map[string]string, len(keys))
	for i, key := range keys {
		seen[key] = values[i]
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
	if e.Kind == stream.KindPub || !e.Asked() {
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

func (w *Worker) logFailure(text string, e *Event, err error, more ...any) {
	args := []any{
		"kind", e.Kind, "channel", e.Channel, "user", e.User, "partition", e.entry.Partition, "entry", e.entry.ID, "error", err,
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		args = append(args, "stack", string(p.stack))
	}
	w.cfg.Logger.Error(text, append(args, more...)...)
}
