package main

import (
	"context"
	"fmt"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/e2e/faults/internal/link"
	"github.com/millracehq/millrace/e2e/faults/internal/plan"
	"github.com/millracehq/millrace/gateway/stream"
)

// healthTimeout is how long a fault of Redis waits for the replica to have recovered from the one before.
const healthTimeout = 45 * time.Second

// failoverTime is about what sentinels take for one.
const failoverTime = 2 * time.Second

// act carries one fault out, and mends it.
func (r *runner) act(ctx context.Context, f plan.Fault) {
	if f.Redis() && r.mode == plan.Sentinel {
		r.redis.Lock()
		defer r.redis.Unlock()
		health, cancel := context.WithTimeout(ctx, healthTimeout)
		err := r.stack.Healthy(health)
		cancel()
		if err != nil {
			r.skip(f, err)
			return
		}
	}
	from := time.Since(r.start)
	r.say("#%d %s", f.Number, f)
	at := r.open(f, from)
	err := r.inflict(ctx, f)
	r.mu.Lock()
	r.windows[at].to = time.Since(r.start)
	if err == nil {
		r.done[f.Kind]++
	}
	r.mu.Unlock()
	if err != nil {
		r.skip(f, err)
	}
}

func (r *runner) skip(f plan.Fault, err error) {
	r.say("#%d %s left out: %v", f.Number, f, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped++
}

// open begins the window of a fault, which has no end yet.
func (r *runner) open(f plan.Fault, from time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows = append(r.windows, window{from: from, to: from + f.For, text: fmt.Sprintf("%.2fs #%d %s", from.Seconds(), f.Number, f)})
	return len(r.windows) - 1
}

// inflict breaks, waits and mends; at once when ctx is done.
func (r *runner) inflict(ctx context.Context, f plan.Fault) error {
	switch f.Kind {
	case plan.Failover:
		err := r.stack.Failover(ctx)
		sleep(ctx, failoverTime) // it is told, not done: what it does to the traffic is still to come
		return err
	case plan.Kill, plan.Pause, plan.Drain:
		p, err := r.stack.Process(ctx, f.Target)
		if err != nil {
			return err
		}
		begin, end := p.Kill, p.Start
		switch f.Kind {
		case plan.Pause:
			begin, end = p.Pause, p.Continue
		case plan.Drain:
			begin = p.Drain
		default:
		}
		begin()
		sleep(ctx, f.For)
		end()
		return nil
	default:
	}
	l, err := r.stack.Link(ctx, f.Target)
	if err != nil {
		return err
	}
	switch f.Kind {
	case plan.Cut:
		l.Cut()
		return nil
	case plan.Refuse:
		l.Refuse()
	case plan.Stall:
		l.Stall(map[plan.Direction][]link.Direction{plan.Both: {link.Up, link.Down}, plan.Up: {link.Up}, plan.Down: {link.Down}}[f.Direction]...)
	case plan.Slow:
		l.Slow(f.Rate, f.Latency)
	case plan.Bite:
		l.Bite(f.Bytes)
	default:
		panic("BUG: no such fault: " + f.String())
	}
	sleep(ctx, f.For)
	l.Heal()
	return nil
}

// explain adds to each finding the faults that were on between its first time and its last.
func (r *runner) explain(findings []check.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range findings {
		f := &findings[i]
		from, to := r.span(f)
		for _, w := range r.windows {
			if w.from <= to && w.to+grace >= from {
				f.Faults = append(f.Faults, w.text)
			}
		}
		f.Faults = f.Faults[max(0, len(f.Faults)-12):] // the nearest: a long span has seen them all
	}
}

// span is from the first time that is known of a finding to the last.
func (r *runner) span(f *check.Finding) (from, to time.Duration) {
	times := []int32{f.Sent, f.Acked, f.At}
	if id, err := stream.ParseID(f.ID); err == nil {
		times = append(times, int32(int64(id.MS)-r.start.UnixMilli()))
	}
	first, last := check.None, check.None
	for _, t := range times {
		if t == check.None {
			continue
		}
		if first == check.None || t < first {
			first = t
		}
		last = max(last, t)
	}
	return time.Duration(first) * time.Millisecond, time.Duration(last) * time.Millisecond
}
