package main

import (
	"context"
	"fmt"
	"io"
	"syscall"

	"github.com/millracehq/millrace/loadtest"
)

// ended is a storm that the gateway makes itself: it is killed or drained under load, and started again on the same port.
func (b bench) ended(ctx context.Context, how string) (*storm, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, "")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	signal, duration := syscall.SIGKILL, "40s"
	if how == "drain" {
		signal, duration = syscall.SIGTERM, "75s" // it takes up to 20 s to send everybody away
	}
	restarted := make(chan error, 1)
	restarting := false
	machine := readMachine()
	r, err := b.harness(ctx, "storm.yaml", s.url, b.size.Connections+b.size.Channels, duration, func(phase string) error {
		if phase == "cut" {
			restarting = true
			go func() { restarted <- s.restartGateway(ctx, signal) }()
		}
		return nil
	}, "BY=server", "CUT_AT=5s")
	if restarting {
		if e := <-restarted; err == nil && e != nil {
			err = fmt.Errorf("the gateway did not come back: %w", e)
		}
	}
	if err != nil {
		return nil, err
	}
	st := newStorm(r)
	st.How = how
	st.conditions = readMachine().since(machine).conditions(0, r.report.Generator)
	return st, nil
}

// judgeEnded tells miss of each target that was missed: everybody is cut once, comes back, and has everything.
func judgeEnded(list []*storm, miss missFunc) {
	for _, s := range list {
		miss(s.Exit == loadtest.ExitOK || s.Exit == loadtest.ExitInvalid, "%s: the harness ended with %d%s", s.How, s.Exit, lines(s.Failures))
		miss(s.Lost+s.Duplicate+s.Reordered == 0, "%s: %d lost, %d duplicated, %d reordered, target 0", s.How, s.Lost, s.Duplicate, s.Reordered)
		miss(s.Gaps+s.Announced == 0, "%s: %d gaps, over %d deliveries, target 0", s.How, s.Gaps, s.Announced)
		n := float64(s.Connections)
		miss(s.Connections > 0 && s.Back["count"] >= n && s.CaughtUp["count"] >= n, "%s: %.0f were cut, %.0f are back and %.0f have caught up, target all",
			s.How, n, s.Back["count"], s.CaughtUp["count"])
	}
}

func writeEnded(w io.Writer, list []*storm) {
	fmt.Fprintf(w, "\nStorms made by the gateway: killed, or drained, under load and started again\n")
	row := table(w, list)
	row("", func(s *storm) string { return s.How })
	row("connections that it ended", func(s *storm) string { return fmt.Sprint(s.Connections) })
	row("  by code", func(s *storm) string { return parts(s.Codes) })
	row("connections back and subscribed", func(s *storm) string { return fmt.Sprintf("%.0f", s.Back["count"]) })
	for name, p := range percentiles() {
		row("  "+name+" after, each from its own end", func(s *storm) string { return milliseconds(s.Back[p]) })
	}
	row("connections that caught up", func(s *storm) string { return fmt.Sprintf("%.0f", s.CaughtUp["count"]) })
	for name, p := range percentiles() {
		row("  "+name+" after the signal", func(s *storm) string { return milliseconds(s.CaughtUp[p]) })
	}
	row("connects that failed", func(s *storm) string { return fmt.Sprint(sum(s.Failed)) })
	row("deliveries expected", func(s *storm) string { return fmt.Sprint(s.Expected) })
	row("lost, duplicated, reordered", func(s *storm) string { return fmt.Sprintf("%d, %d, %d", s.Lost, s.Duplicate, s.Reordered) })
	row("gaps, deliveries announced as missing", func(s *storm) string { return fmt.Sprintf("%d, %d", s.Gaps, s.Announced) })
	row("CPU that the hypervisor took meanwhile", func(s *storm) string { return percent(s.Steal) })
	row("verdict on the run", func(s *storm) string { return s.Verdict })
}
