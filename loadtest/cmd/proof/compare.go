package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/millracehq/millrace/loadtest"
)

// comparison is the same work done in two ways, under several loads.
type comparison struct {
	Title string    `json:"title"`
	Ways  [2]string `json:"ways"` // that which is shown to be good, and what it is compared with
	Pairs []*pair   `json:"pairs"`
}

// pair is one load: a side for each way.
type pair struct {
	Load  string   `json:"load"`
	Sides [2]*side `json:"sides"`
}

// side is what one run came to.
type side struct {
	Connections int                `json:"connections"`
	Seconds     float64            `json:"steady_seconds"`
	Deliveries  int64              `json:"deliveries"`
	Latency     map[string]float64 `json:"msg_latency_ms,omitempty"`
	OpenCPU     float64            `json:"open_cpu_ms"`                // of the server, for all connections and subscriptions
	Memory      int64              `json:"memory_bytes"`               // growth of the server's anonymous memory by the connections, after a collection
	CPU         map[string]float64 `json:"cpu_ms_per_second"`          // by process, in the steady phase
	Bytes       float64            `json:"bytes_per_second"`           // both ways, frames and all, without TCP's own
	Polls       float64            `json:"polls_per_second,omitempty"` // answered
	Exit        int                `json:"loadtest_exit_code"`
	Failures    []string           `json:"failures,omitempty"`
	conditions
}

// load is what a run puts on a stack.
type load struct {
	scenario    string
	connections int
	seconds     int
	env         []string
}

// side measures one run on a stack of its own. prepare says which process holds the connections, and more of the scenario's variables.
func (b bench) side(ctx context.Context, l load, prepare func(context.Context, *stack) (server *process, env []string, err error)) (*side, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, "")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	server, env, err := prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	memory := func() (int64, error) {
		if server == s.gateway {
			return s.memory(ctx)
		}
		return s.pollMemory(ctx)
	}
	m, r := newMeter(s), new(side)
	onPhase := func(phase string) (err error) {
		m.phase(phase)
		switch phase {
		case "connect":
			r.OpenCPU = -server.cpu().Seconds() * 1e3
			r.Memory, err = memory()
			r.Memory = -r.Memory
		case "settle":
			r.OpenCPU += server.cpu().Seconds() * 1e3
			var now int64
			now, err = memory()
			r.Memory += now
		}
		return err
	}
	got, err := b.harness(ctx, l.scenario, s.url, l.connections, fmt.Sprint(l.seconds, "s"), onPhase, append(env, l.env...)...)
	if err != nil {
		return nil, err
	}
	r.Seconds = got.report.Seconds
	r.Connections, r.Exit, r.Failures = l.connections, got.exit, got.failures()
	r.Deliveries, r.Latency = got.count("msgs_received"), got.values("msg_latency")
	r.Bytes = got.values("data_sent")["rate"] + got.values("data_received")["rate"]
	r.Polls = got.polls()
	used, c := m.result(&got.report)
	r.conditions = c
	r.CPU = make(map[string]float64, len(used))
	for name, d := range used {
		r.CPU[name] = d.Seconds() * 1e3 / got.report.Seconds
	}
	return r, nil
}

// judgeComparison tells miss of each run that did not hold. The harness being the limit is no miss here: it makes times longer.
func judgeComparison(c *comparison, miss missFunc) {
	for _, p := range c.Pairs {
		for i, s := range p.Sides {
			miss(s.Exit == loadtest.ExitOK || s.Exit == loadtest.ExitInvalid || s.Exit == loadtest.ExitUnsure,
				"%s, %s: the harness ended with %d (%s)%s", p.Load, c.Ways[i], s.Exit, s.conditions, lines(s.Failures))
		}
	}
}

// less is by how much a is below b, as a share: -0.73 is 73 % less.
func less(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a/b - 1
}

// write writes a table for each load, with the difference in the last column.
func (c *comparison) write(w io.Writer, rows []measure) {
	fmt.Fprintf(w, "\n%s\n", c.Title)
	for _, p := range c.Pairs {
		fmt.Fprintf(w, "\n  %-*s %16s %16s %9s\n", label, p.Load, c.Ways[0], c.Ways[1], "")
		for _, m := range rows {
			a, b := m.of(p.Sides[0]), m.of(p.Sides[1])
			if a == 0 && b == 0 {
				continue
			}
			change := ""
			if a > 0 && b > 0 && m.compared {
				change = fmt.Sprintf("%+.1f %%", 100*less(a, b))
			}
			fmt.Fprintf(w, "  %-*s %16s %16s %9s\n", label, m.name, m.text(a), m.text(b), change)
		}
		var said []string
		for i, s := range p.Sides {
			text := fmt.Sprintf("%s: %s", c.Ways[i], s.conditions)
			if s.Verdict != loadtest.VerdictValid && !slices.Contains(said, text) {
				said = append(said, text)
			}
		}
		if len(said) > 0 {
			fmt.Fprintf(w, "    %s\n", strings.Join(said, "\n    "))
		}
	}
}

// measure is one row.
type measure struct {
	name     string
	of       func(*side) float64
	text     func(float64) string
	compared bool
}

// polls is how many were answered a second, from the first to the last phase in which they went on.
func (r *result) polls() float64 {
	phases := r.report.Phases
	if len(phases) < 2 {
		return 0
	}
	span := phases[len(phases)-1].Time.Sub(phases[1].Time) // from settle to done
	return r.values("poll_latency")["count"] / span.Seconds()
}

func count(v float64) string { return fmt.Sprintf("%.0f", v) }
func perSecond(unit string) func(float64) string {
	return func(v float64) string { return fmt.Sprintf("%.1f %s/s", v, unit) }
}

// cpu is a row of processor time in the steady phase, of some processes together.
func cpu(name string, processes ...string) measure {
	return measure{name, func(s *side) (sum float64) {
		for _, p := range processes {
			sum += s.CPU[p]
		}
		return sum
	}, perSecond("ms"), true}
}

func latency(name, percentile string) measure {
	return measure{name, func(s *side) float64 { return s.Latency[percentile] }, milliseconds, true}
}
