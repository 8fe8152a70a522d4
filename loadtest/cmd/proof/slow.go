package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// Bounds of the gateway in the proof of slow readers, so small that they are reached within a run, bytes.
const (
	slowOutbox      = 32 << 10
	slowTotalOutbox = 32 << 20
	slowPayload     = 4000
)

// Targets of the proof of slow readers.
const (
	maxRatio  = 1.2 // p(99) of the others with stopped readers, over p(99) without
	maxMemory = 2   // growth of the gateway's memory over the bound of unsent bytes: the collector lets as much again lie about
)

// policies are what a namespace can say of slow readers; the first is what it does when it says nothing.
var policies = []string{"close", "drop-oldest", "latest"}

// slow is what the runs with and without stopped readers came to.
type slow struct {
	Stopped  int        `json:"stopped"`
	Bound    int64      `json:"unsent_bound_bytes"` // of the gateway, with that many
	Without  []*slowRun `json:"without"`
	Policies []*policy  `json:"policies"`
}

// policy is one way to treat slow readers.
type policy struct {
	Name   string     `json:"policy"`
	Error  string     `json:"error,omitempty"` // the gateway does not know it
	Ratios []float64  `json:"p99_ratios"`      // of the others, with over without, by pair
	Ratio  float64    `json:"p99_ratio"`       // median
	Runs   []*slowRun `json:"runs"`
}

// slowRun is one run.
type slowRun struct {
	Latency  map[string]float64 `json:"msg_latency_ms"` // of those who read
	Unsent   int64              `json:"unsent_bytes_max"`
	Resident int64              `json:"rss_anon_bytes_max"` // of the gateway
	Ended    int64              `json:"ended_slow_consumer"`
	Msgs     map[string]int64   `json:"stopped_msgs"`
	First    map[string]int64   `json:"stopped_first"`
	Closed   map[string]int64   `json:"stopped_closed"`
	Gaps     int64              `json:"stopped_gaps"`
	Exit     int                `json:"loadtest_exit_code"`
	Failures []string           `json:"failures,omitempty"`
	conditions
}

// slow measures, in each of some rounds, one run in which everybody reads and one for each policy.
func (b bench) slow(ctx context.Context) (*slow, error) {
	all := &slow{Stopped: b.size.Connections / 15}
	all.Bound = min(slowTotalOutbox, int64(all.Stopped)*(slowOutbox+2*slowPayload)) // a frame more may have begun to go out
	for _, name := range policies {
		all.Policies = append(all.Policies, &policy{Name: name})
	}
	for range b.options.pairs {
		without, err := b.slowRun(ctx, "close", 0)
		if err != nil {
			return nil, err
		}
		all.Without = append(all.Without, without)
		for _, p := range all.Policies {
			if p.Error != "" {
				continue
			}
			r, err := b.slowRun(ctx, p.Name, all.Stopped)
			if err != nil && strings.Contains(err.Error(), `unknown field "slow"`) {
				p.Error = "this gateway has no policies for slow readers"
				continue
			}
			if err != nil {
				return nil, err
			}
			p.Runs = append(p.Runs, r)
			p.Ratios = append(p.Ratios, r.Latency["p(99)"]/without.Latency["p(99)"])
			p.Ratio = median(p.Ratios)
		}
	}
	return all, nil
}

// gatewayConfig is the configuration file for a policy. The default policy is not named, so that it is seen to be the default.
func gatewayConfig(name string) string {
	key := ""
	if name != policies[0] {
		key = ", slow: " + name
	}
	// Who does not read answers no ping: with the default heartbeat some would be closed for that.
	return fmt.Sprintf("heartbeat: 2m\noutbox_bytes: %d\ntotal_outbox_bytes: %d\nnamespaces:\n  direct: {publish: direct%s}\n", slowOutbox, slowTotalOutbox, key)
}

func (b bench) slowRun(ctx context.Context, name string, stopped int) (*slowRun, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, gatewayConfig(name))
	if err != nil {
		return nil, err
	}
	defer s.stop()
	duration := "55s"
	env := []string{fmt.Sprint("STOPPED=", stopped), fmt.Sprint("PAYLOAD=", slowPayload)}
	if b.options.quick {
		duration = "22s"
		env = append(env, "STOP_AT=2s", "STOP_UNTIL=14s")
	}
	m, run := newMeter(s), new(slowRun)
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watcher sync.WaitGroup
	r, err := b.harness(ctx, "slow.yaml", s.url, b.size.Connections, duration, func(phase string) error {
		m.phase(phase)
		switch phase {
		case "steady":
			watcher.Go(func() { run.watch(watching, s) })
		case "drain":
			stopWatching()
			watcher.Wait()
		case "close":
			return run.ended(ctx, s)
		}
		return nil
	}, env...)
	stopWatching()
	watcher.Wait()
	if err != nil {
		return nil, err
	}
	run.Latency, run.Gaps, run.Exit, run.Failures = r.values("msg_latency"), r.count("stopped_gaps"), r.exit, r.failures()
	for name, to := range map[string]*map[string]int64{"stopped_msgs": &run.Msgs, "stopped_first": &run.First, "stopped_closed": &run.Closed} {
		*to = r.report.Metrics[name].Counts
	}
	_, run.conditions = m.result(&r.report)
	return run, nil
}

// watch keeps the maxima of the gateway's memory and unsent bytes.
func (r *slowRun) watch(ctx context.Context, s *stack) {
	every := time.NewTicker(500 * time.Millisecond)
	defer every.Stop()
	for {
		if n, err := s.metric(ctx, "millrace_outbox_bytes"); err == nil {
			r.Unsent = max(r.Unsent, int64(n))
		}
		if n, err := s.gateway.anonymous(); err == nil {
			r.Resident = max(r.Resident, n)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// ended asks the gateway how many connections it has ended for being slow.
func (r *slowRun) ended(ctx context.Context, s *stack) error {
	n, err := s.metric(ctx, `millrace_connections_ended_total{reason="slow_consumer"}`)
	r.Ended = int64(n)
	return err
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// judge tells miss of each target that was missed.
func (all *slow) judge(quick bool, miss missFunc) {
	var memory []float64
	for _, r := range all.Without {
		memory = append(memory, float64(r.Resident))
		miss(r.Exit == loadtest.ExitOK, "slow: without stopped readers the harness ended with %d (%s)%s", r.Exit, r.conditions, lines(r.Failures))
	}
	for _, p := range all.Policies {
		if p.Error != "" {
			miss(false, "slow, %s: %s", p.Name, p.Error)
			continue
		}
		for _, r := range p.Runs {
			name := "slow, " + p.Name
			miss(r.Exit == loadtest.ExitOK, "%s: the harness ended with %d (%s)%s", name, r.Exit, r.conditions, lines(r.Failures))
			miss(r.Unsent <= all.Bound, "%s: %d unsent bytes, target at most %d", name, r.Unsent, all.Bound)
			growth := r.Resident - int64(median(memory))
			miss(quick || growth <= maxMemory*all.Bound, "%s: the gateway grew by %d bytes, target at most %d", name, growth, maxMemory*all.Bound)
			fault := p.fault(r, int64(all.Stopped))
			miss(fault == "", "%s: %s", name, fault)
		}
		miss(quick || p.Ratio <= maxRatio, "slow, %s: p(99) of the others is %.2f of that without stopped readers, target at most %.1f", p.Name, p.Ratio, maxRatio)
	}
}

// fault says what is wrong with how the stopped readers were treated; empty when nothing is.
func (p *policy) fault(r *slowRun, stopped int64) string {
	closed, first := sum(r.Closed), sum(r.First)
	switch {
	case p.Name == "close" && (r.Ended != stopped || closed != stopped || r.Closed["4001"]+r.Closed["1006"] != stopped):
		// What waited in the kernel for who did not read may have kept the Close frame from getting in: then it sees 1006.
		return fmt.Sprintf("%d were ended by the gateway, and those who read again found %s; target all %d, with 4001 or 1006", r.Ended, parts(r.Closed), stopped)
	case p.Name == "close":
	case closed+r.Ended > 0:
		return fmt.Sprintf("%d were ended (%s), target none", max(closed, r.Ended), parts(r.Closed))
	case first != stopped:
		return fmt.Sprintf("%d had a gap and publications behind it, target all %d", first, stopped)
	case p.Name == "latest" && r.First["older"] > 0:
		return fmt.Sprintf("%d had an older publication than the newest behind the gap", r.First["older"])
	}
	return ""
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// parts writes counts: "1006: 3, 4001: 997".
func parts(counts map[string]int64) string {
	var list []string
	for name, n := range counts {
		list = append(list, fmt.Sprintf("%s: %d", name, n))
	}
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
