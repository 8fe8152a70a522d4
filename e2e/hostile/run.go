package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// run does all attacks and prints the table. It reports whether everything held.
func (a *arena) run(ctx context.Context, o options, out io.Writer) (held bool) {
	held = true
	fmt.Fprintf(out, "%-38s %7s %7s %7s  %-21s %s\n", "attack", "echoes", "p99 ms", "max ms", "left: fd, goroutine, MB", "what became of it")
	for _, t := range []*target{a.plain, a.tls} { // so that what is made once is there before it counts
		if _, _, err := t.watchOver(ctx, func(ctx context.Context) (string, error) { return churn(ctx, t, size{time: time.Second}) }); err != nil {
			fmt.Fprintf(out, "FAILED  warming up %s: %v\n", t.name, err)
			return false
		}
	}
	for _, at := range attacks {
		if o.only != "" && !strings.Contains(at.name, o.only) || ctx.Err() != nil {
			continue
		}
		t := a.plain
		if at.tls {
			t = a.tls
		}
		if err := t.suffer(ctx, at, o, out); err != nil {
			fmt.Fprintf(out, "    FAILED  %v\n", err)
			held = false
		}
	}
	if o.size.crowd > 0 && strings.Contains("crowd", o.only) { //nolint:gocritic // as with attacks, only is a part of the name
		if err := a.crowd(ctx, o, out); err != nil {
			fmt.Fprintf(out, "    FAILED  %v\n", err)
			held = false
		}
	}
	return held && ctx.Err() == nil
}

// suffer is one attack, its row, and what is wrong with it.
func (t *target) suffer(ctx context.Context, at attack, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, attackMost)
	defer cancel()
	before, err := t.rested(ctx, usage{})
	if err != nil {
		return err
	}
	note, p, err := t.watchOver(ctx, func(ctx context.Context) (string, error) { return at.do(ctx, t, o.size) })
	after, uerr := t.rested(ctx, before)
	longest := p.quantile(1)
	fmt.Fprintf(out, "%-38s %7d %7.1f %7.1f  %+3d %+4d %+14.1f  %s\n", at.name, len(p.times), ms(p.quantile(0.99)), ms(longest),
		after.Descriptors-before.Descriptors, after.Goroutines-before.Goroutines, float64(after.Heap-before.Heap)/(1<<20), note)
	switch {
	case err != nil:
		return err
	case p.err != nil:
		return p.err
	case len(p.times) == 0:
		return fmt.Errorf("the healthy client had no echo")
	case longest > o.limit:
		return fmt.Errorf("an echo of the healthy client took %v, the limit is %v", longest, o.limit)
	}
	return uerr
}

// rested waits until the target holds no more than before, within a margin; with a zero before, until no connection is left.
func (t *target) rested(ctx context.Context, before usage) (now usage, err error) {
	ok := eventually(ctx, settled, func() bool {
		if t.metric("millrace_connections") > 0 || t.metric("millrace_tls_handshakes") > 0 {
			return false
		}
		now, err = t.usage()
		return err != nil || before == usage{} || now.Descriptors <= before.Descriptors+moreDescriptors &&
			now.Goroutines <= before.Goroutines+moreGoroutines && now.Heap <= before.Heap+moreHeap
	})
	if err == nil && !ok {
		err = fmt.Errorf("left behind after %v: %+v, before %+v, %v connections", settled, now, before, t.metric("millrace_connections"))
	}
	return now, err
}

// attackMost is how long an attack may take with all that belongs to it, before something is stuck.
const attackMost = 2 * time.Minute

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
