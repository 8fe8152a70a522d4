package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// size is how large the load is.
type size struct {
	Connections int     `json:"connections"`
	Channels    int     `json:"channels"`
	Rate        float64 `json:"publications_per_second"`
	Duration    string  `json:"duration"`
	P99         float64 `json:"p99_target_ms"`
}

// bench measures one part.
type bench struct {
	options options
	dir     string
	size    size
	started func(*process) // is told of the harness once it runs; nil: nobody
}

// traffic is what a run with publications came to.
type traffic struct {
	Path       string             `json:"path"`
	Deliveries int64              `json:"deliveries"`
	Latency    map[string]float64 `json:"msg_latency_ms"`
	Last       map[string]float64 `json:"msg_last_subscriber_ms"`
	Expected   int64              `json:"expected"`
	Lost       int64              `json:"lost"`
	Duplicate  int64              `json:"duplicate"`
	Reordered  int64              `json:"reordered"`
	CPU        map[string]float64 `json:"cpu_us_per_delivery"` // by process
	Generator  loadtest.Generator `json:"generator"`
	Exit       int                `json:"loadtest_exit_code"`
	Failures   []string           `json:"failures,omitempty"` // what the harness found
	Rest       footing            `json:"at_rest"`            // all are connected, nothing is published
	Load       footing            `json:"under_load"`
	conditions
}

func (b bench) traffic(ctx context.Context, path string) (*traffic, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, "")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	m := newMeter(s)
	var rest, load footing
	profile := profiler{dir: b.options.profileDir(path)}
	r, err := b.harness(ctx, "proof-"+path+".yaml", s.url, b.size.Connections, b.size.Duration, func(phase string) (err error) {
		m.phase(phase)
		switch phase {
		case "warmup":
			rest, err = s.footing(ctx)
		case "steady":
			load, err = s.footing(ctx)
			profile.begin(ctx, s.admin)
		}
		return err
	})
	if err := cmp.Or(profile.end(), err); err != nil {
		return nil, err
	}
	t := &traffic{
		Path: path, Deliveries: r.count("msgs_received"), Expected: r.count("msgs_expected"), Lost: r.count("msgs_lost"), Duplicate: r.count("msgs_duplicate"),
		Reordered: r.count("msgs_reordered"), Latency: r.values("msg_latency"), Last: r.values("msg_last_subscriber"),
		CPU: make(map[string]float64), Generator: r.report.Generator, Exit: r.exit, Failures: r.failures(),
		Rest: rest, Load: load,
	}
	used, c := m.result(&r.report)
	t.conditions = c
	if t.Deliveries > 0 {
		for name, d := range used {
			t.CPU[name] = d.Seconds() * 1e6 / float64(t.Deliveries)
		}
	}
	return t, nil
}

// idle is what connections at rest cost the gateway.
type idle struct {
	Connections     int     `json:"connections"`
	BytesPerConn    float64 `json:"rss_bytes_per_connection"` // growth from few to all, after collections
	GoroutinesFew   int     `json:"goroutines_at_100"`
	Goroutines      int     `json:"goroutines"`
	ResidentFewKB   int64   `json:"rss_anon_at_100_kb"`
	ResidentKB      int64   `json:"rss_anon_kb"`
	HarnessResident int     `json:"harness_resident_bytes"`

	Exit     int      `json:"loadtest_exit_code"`
	Failures []string `json:"failures,omitempty"` // what the harness found
}

// few is how many connections the idle measurement begins with: what they make the gateway set up once is not the cost of one more.
const few = 100

func (b bench) idle(ctx context.Context) (*idle, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, "")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	var memory [2]int64
	var goroutines [2]float64
	var last *result
	for i, n := range []int{few, b.size.Connections} {
		last, err = b.harness(ctx, "idle.yaml", s.url, n, "5s", func(phase string) (err error) {
			if phase == "steady" {
				if memory[i], err = s.memory(ctx); err == nil {
					goroutines[i], err = s.metric(ctx, "go_goroutines")
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return &idle{
		Connections: b.size.Connections, BytesPerConn: float64(memory[1]-memory[0]) / float64(b.size.Connections-few),
		GoroutinesFew: int(goroutines[0]), Goroutines: int(goroutines[1]), ResidentFewKB: memory[0] >> 10, ResidentKB: memory[1] >> 10,
		HarnessResident: last.report.Generator.Resident, Exit: last.exit, Failures: last.failures(),
	}, nil
}

// result is what one run of the harness came to.
type result struct {
	exit   int
	report loadtest.Report
}

func (r *result) count(metric string) int64 { return int64(r.values(metric)["count"]) }

func (r *result) values(metric string) map[string]float64 { return r.report.Metrics[metric].Values }

// failures lists what the harness found, a line each.
func (r *result) failures() (list []string) {
	for _, t := range r.report.Thresholds {
		if !t.OK {
			list = append(list, fmt.Sprintf("%s %s: %s=%.4g %s", t.Metric, t.Threshold, t.Method, t.Value, t.Why))
		}
	}
	for _, c := range r.report.Evidence {
		if !c.OK {
			list = append(list, c.Text)
		}
	}
	if g := r.report.Generator; g.Verdict == loadtest.VerdictInvalid {
		list = append(list, "the harness was the limit: "+strings.Join(g.Reasons, "; "))
	}
	return list
}

// harness runs a scenario and calls onPhase with the name of each phase as it begins, and of each event in it. env are more of the
// scenario's variables, K=V. A run that failed is a result, not an error.
func (b bench) harness(ctx context.Context, scenario, url string, connections int, duration string, onPhase func(string) error, env ...string) (*result, error) {
	marks, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer marks.Close()
	file := filepath.Join(b.dir, "report.json")
	cmd := exec.CommandContext(ctx, filepath.Join(b.options.bin, "loadtest"), "run", filepath.Join("loadtest", "scenarios", scenario),
		"--url", url, "--json", file, "--phase-file", "/dev/fd/3",
		"-e", "CONNECTIONS="+strconv.Itoa(connections), "-e", "CHANNELS="+strconv.Itoa(b.size.Channels), "-e", "DURATION="+duration,
		"-e", fmt.Sprint("RATE=", b.size.Rate), "-e", fmt.Sprint("P99=", b.size.P99))
	for _, e := range env {
		cmd.Args = append(cmd.Args, "-e", e)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stdout, cmd.Stderr = b.options.verbose, b.options.verbose
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("%w (make build makes it)", err)
	}
	if b.started != nil {
		b.started(&process{name: "loadtest", cmd: cmd})
	}
	followed := make(chan error, 1)
	go func() { followed <- follow(marks, onPhase) }()
	waitErr := cmd.Wait()
	if err := errors.Join(<-followed, ctx.Err()); err != nil {
		return nil, err
	}
	r := &result{exit: cmd.ProcessState.ExitCode()}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r.report)
	}
	if err != nil {
		return nil, fmt.Errorf("the harness ended with %d and no report: %w", r.exit, errors.Join(waitErr, err))
	}
	return r, os.Remove(file)
}

// follow reads the marks of phases and events.
func follow(marks *os.File, onPhase func(string) error) error {
	lines := bufio.NewScanner(marks)
	for lines.Scan() {
		var mark struct{ Phase, Event string }
		if err := json.Unmarshal(lines.Bytes(), &mark); err != nil {
			return fmt.Errorf("phase file: %w", err)
		}
		if err := onPhase(cmp.Or(mark.Event, mark.Phase)); err != nil {
			return err
		}
	}
	return lines.Err()
}
