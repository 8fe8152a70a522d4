package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/e2e/faults/internal/plan"
	"github.com/millracehq/millrace/e2e/faults/internal/stack"
	"github.com/millracehq/millrace/e2e/faults/internal/traffic"
)

const (
	warmUp        = 2 * time.Second  // of load, before the first fault
	settleTimeout = 90 * time.Second // for everything to arrive when all is well again
	grace         = 3 * time.Second  // behind the end of a fault, until its consequences are over
	progressEvery = 5 * time.Second
)

// runner is one mode's run.
type runner struct {
	// Immutable after run has begun.
	o      options
	mode   plan.Mode
	dir    string
	stderr io.Writer
	start  time.Time
	stack  *stack.Stack
	load   *traffic.Traffic

	redis sync.Mutex // held by a fault of Redis where there is a replica: one at a time

	// Guarded by mu.
	mu      sync.Mutex
	log     io.Writer // events.log
	windows []window
	done    map[plan.Kind]int
	skipped int
}

// window is a fault as it happened, since the start.
type window struct {
	from, to time.Duration
	text     string
}

// run breaks the system until the plan or ctx is done, and gives its verdict.
func (r *runner) run(ctx context.Context) (*result, error) {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	events, err := os.Create(filepath.Join(r.dir, "events.log"))
	if err != nil {
		return nil, err
	}
	defer events.Close()
	r.log, r.start, r.done = events, time.Now(), map[plan.Kind]int{}

	r.stack, err = stack.Start(ctx, stack.Config{Mode: r.mode, Dir: r.dir, Bin: r.o.bin, Fsync: r.o.fsync, Note: func(text string) { r.say("%s", text) }})
	if err != nil {
		return nil, err
	}
	defer r.stack.Close()
	po, faults := r.o.planOf(r.mode)
	r.start = time.Now()
	r.load = traffic.New(traffic.Config{
		Gateways: r.stack.Gateways(), Master: r.stack.Master,
		Echo: r.o.echo, Direct: r.o.direct, Rate: r.o.rate, Subscribers: r.o.subscribers, Requesters: 4,
		Start: r.start, Length: po.Length + 10*time.Minute, // more than all timeouts together
	})
	defer r.load.Stop()
	if err := r.load.Run(ctx); err != nil {
		return nil, err
	}
	r.say("%s: %d faults in %v, seed %d", r.mode, len(faults), po.Length, r.o.seed)
	r.breakAll(ctx, po.Length, faults)
	return r.judge(ctx, faults)
}

// breakAll carries the plan out. When ctx is done it mends what is broken and returns.
func (r *runner) breakAll(ctx context.Context, length time.Duration, faults []plan.Fault) {
	planned, end := context.WithTimeout(ctx, warmUp+length)
	defer end()
	var acting, watching sync.WaitGroup
	watching.Go(func() { r.progress(planned, len(faults)) })
	begin := time.Now().Add(warmUp)
	for _, f := range faults {
		if !sleep(ctx, time.Until(begin.Add(f.At))) {
			break
		}
		acting.Go(func() { r.act(ctx, f) })
	}
	<-planned.Done()
	acting.Wait()
	watching.Wait()
}

// judge waits until the system has settled, and checks.
func (r *runner) judge(ctx context.Context, faults []plan.Fault) (*result, error) {
	if ctx.Err() != nil {
		r.say("interrupted: the verdict is about what was")
	}
	ctx = context.WithoutCancel(ctx) // it is bounded, and there is something to say even now
	loaded := time.Since(r.start)
	unsettled := ""
	if err := r.stack.Calm(ctx, settleTimeout); err != nil {
		unsettled = err.Error()
	} else if err := r.load.Settle(ctx, settleTimeout); err != nil {
		unsettled = err.Error()
	}
	r.say("settled after %v", (time.Since(r.start) - loaded).Round(time.Millisecond))
	r.load.Stop()
	history, err := r.load.History(ctx)
	if err != nil {
		return nil, err
	}
	verdict := check.Check(history)
	r.explain(verdict.Findings)
	r.explain(verdict.UnneededAt)
	r.mu.Lock()
	defer r.mu.Unlock()
	res := &result{
		Mode: r.mode, Faults: r.done, Planned: len(faults), Skipped: r.skipped, Verdict: verdict,
		Seconds: loaded.Seconds(), Unsettled: unsettled,
	}
	res.Restarts, res.Deaths = r.stack.Counts()
	windows := make([]traffic.Window, len(r.windows))
	for i, w := range r.windows {
		windows[i] = traffic.Window{From: w.from, To: w.to + grace}
	}
	silence, outside := r.load.Silence(warmUp, loaded, windows)
	res.Silence, res.SilenceOutside = silence.Seconds(), outside.Seconds()
	res.SlowestAck = slowestAck(history)
	res.count(&r.load.Counts)
	return res, nil
}

func slowestAck(h *check.History) float64 {
	slowest := int32(0)
	for i := range h.Channels {
		for _, p := range h.Channels[i].Published {
			if p.Acked != check.None {
				slowest = max(slowest, p.Acked-p.Sent)
			}
		}
	}
	return float64(slowest) / 1000
}

// progress says every few seconds how it goes.
func (r *runner) progress(ctx context.Context, faults int) {
	for sleep(ctx, progressEvery) {
		now := time.Since(r.start)
		silence, _ := r.load.Silence(max(0, now-progressEvery), now, nil)
		r.mu.Lock()
		done := 0
		for _, n := range r.done {
			done += n
		}
		r.mu.Unlock()
		c := &r.load.Counts
		fmt.Fprintf(r.stderr, "%9.2fs  %s: %d of %d faults · published %d, acknowledged %d, delivered %d · gaps %d · silent for %v at most\n",
			now.Seconds(), r.mode, done, faults, c.Published.Load(), c.Acknowledged.Load(), c.Delivered.Load(), c.Gaps.Load(), silence)
	}
}

// say logs what happens, with its time.
func (r *runner) say(format string, args ...any) {
	line := fmt.Sprintf("%9.2fs  %s\n", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.stderr, line)
	_, _ = io.WriteString(r.log, line)
}

// sleep reports false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
