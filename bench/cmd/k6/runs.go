package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/bench/internal/contest"
	"github.com/millracehq/millrace/bench/internal/results"
	"github.com/millracehq/millrace/loadtest"
)

const (
	few         = 100 // connections of the run that the memory of one more is counted from
	perChannel  = 100 // subscribers
	connectRate = 500 // a second, which k6 can keep up with
	warmup      = 3   // seconds
)

// perSecond is how many publications a second there are for so many connections: two for each channel, and not more than 200, so 20,000 deliveries.
func perSecond(connections int) int { return min(2*connections/perChannel, 200) }

// bench has what runs need.
type bench struct {
	root, dir, bin string
	seconds        int
	contestant     contest.Contestant
	paths          contest.Paths
}

// tool is one load generator.
type tool struct {
	name  string
	perVU int // connections a VU; 0: it is the harness
}

// outcome is what one run of a tool came to.
type outcome struct {
	Tool        string  `json:"tool"`
	Connections int     `json:"connections"`
	Memory      int64   `json:"memory_bytes"`       // anonymous, all subscribed, nothing published yet
	MemoryEnd   int64   `json:"memory_bytes_after"` // at the end of the measured seconds
	Deliveries  int64   `json:"deliveries"`         // due within them
	CPU         float64 `json:"cpu_us_per_delivery"`
	Cores       float64 `json:"cpu_cores"`
	Received    int64   `json:"received"` // in all
	Expected    int64   `json:"expected"`
	results.Conditions
}

// run has a tool do its work against a gateway of its own.
func (b *bench) run(ctx context.Context, t tool, connections int) (*outcome, error) {
	dir, err := os.MkdirTemp(b.dir, "run")
	if err != nil {
		return nil, err
	}
	stack, err := b.contestant.Start(ctx, b.paths, dir)
	if err != nil {
		return nil, err
	}
	defer stack.Stop()
	work := work{bench: b, dir: dir, url: "ws://" + stack.Remote.String() + "/ws", stack: stack, connections: connections}
	o := &outcome{Tool: t.name, Connections: connections}
	if t.perVU > 0 {
		return o, work.k6(ctx, t, o)
	}
	return o, work.loadtest(ctx, o)
}

// work is one run under way.
type work struct {
	*bench
	dir, url    string
	stack       *contest.Stack
	connections int
	publisher   *contest.Process // nil: the tool itself
}

// k6 has k6 subscribe, and the harness publish on connections of its own.
func (w *work) k6(ctx context.Context, t tool, o *outcome) error {
	perVU := min(t.perVU, w.connections)
	span := w.connections/connectRate + 15 + warmup + w.seconds + 5 // until everything has come, seconds, with time to begin
	summary := filepath.Join(w.dir, "summary.json")
	k6, err := contest.Launch(w.dir, "k6", nil, filepath.Join(w.bin, "k6"), "run", "--quiet", "--summary-export", summary,
		"-e", "URL="+w.url, "-e", fmt.Sprint("CONNECTIONS=", w.connections), "-e", fmt.Sprint("PER_VU=", perVU), "-e", fmt.Sprint("CHANNELS=", w.channels()),
		"-e", fmt.Sprint("CONNECT_RATE=", connectRate), "-e", fmt.Sprint("HOLD_MS=", 1000*span), "-e", fmt.Sprintf("OFFSET_MS=%.3f", clockOffset()),
		filepath.Join(w.root, "bench", "k6", "fanout.js"))
	if err != nil {
		return err
	}
	defer k6.Stop()
	err = k6.Await(ctx, time.Minute, func() error {
		if n, err := k6.Descriptors(); err != nil || n < w.connections {
			return fmt.Errorf("it has %d of %d connections: %w", n, w.connections, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := sleep(ctx, 3*time.Second); err != nil { // they subscribe
		return err
	}
	if o.Memory, err = k6.Anonymous(); err != nil {
		return err
	}
	publishers := w.channels()
	w.publisher, err = w.harness(publishers, "-e", "SUBSCRIPTIONS=0")
	if err != nil {
		return err
	}
	defer w.publisher.Stop()
	if err := w.measure(ctx, w.publisher, k6, o); err != nil {
		return err
	}
	if exit, err := k6.Wait(ctx); err != nil || exit != 0 {
		return fmt.Errorf("k6 ended with %d: %w", exit, err)
	}
	var got struct {
		Metrics map[string]struct{ Count float64 }
	}
	if err := readJSON(summary, &got); err != nil {
		return err
	}
	o.Received, o.Expected = int64(got.Metrics["msgs_received"].Count), int64((warmup+w.seconds)*perSecond(w.connections)*perChannel)
	if lost := got.Metrics["connections_lost"].Count; lost > 0 || o.Received != o.Expected {
		return fmt.Errorf("k6 lost %.0f connections and received %d of %d deliveries: fewer --connections", lost, o.Received, o.Expected)
	}
	return nil
}

// loadtest has the harness do both, subscribe and publish.
func (w *work) loadtest(ctx context.Context, o *outcome) error {
	harness, err := w.harness(w.connections)
	if err != nil {
		return err
	}
	defer harness.Stop()
	if err := w.phase(ctx, harness, "warmup"); err != nil {
		return err
	}
	if o.Memory, err = harness.Anonymous(); err != nil {
		return err
	}
	if err := w.measure(ctx, harness, harness, o); err != nil {
		return err
	}
	exit, err := harness.Wait(ctx)
	if err != nil || exit != loadtest.ExitOK && exit != loadtest.ExitInvalid {
		text, _ := harness.Output()
		return fmt.Errorf("loadtest ended with %d: %w\n%s", exit, err, text)
	}
	if exit == loadtest.ExitInvalid {
		o.Marks = append(o.Marks, "by its own verdict it was the limit")
	}
	var got struct {
		Metrics map[string]struct{ Values map[string]float64 }
	}
	if err := readJSON(filepath.Join(w.dir, "report.json"), &got); err != nil {
		return err
	}
	o.Received, o.Expected = int64(got.Metrics["msgs_received"].Values["count"]), int64(got.Metrics["msgs_expected"].Values["count"])
	return nil
}

func (w *work) channels() int { return w.connections / perChannel }

// harness starts loadtest with the load of the run.
func (w *work) harness(connections int, args ...string) (*contest.Process, error) {
	return contest.Launch(w.dir, "loadtest", nil, filepath.Join(w.bin, "loadtest"), append([]string{
		"run", "multiplex", "--url", w.url, "--no-thresholds", "--phase-file", w.phases(), "--json", filepath.Join(w.dir, "report.json"),
		"-e", fmt.Sprint("CONNECTIONS=", connections), "-e", fmt.Sprint("CONNECT_RATE=", 2*connectRate), "-e", fmt.Sprint("CHANNELS=", w.channels()), "-e", "SUBSCRIPTIONS=1",
		"-e", fmt.Sprint("RATE=", perSecond(w.connections)), "-e", fmt.Sprint("WARMUP=", warmup, "s"), "-e", fmt.Sprint("DURATION=", w.seconds, "s"),
	}, args...)...)
}

func (w *work) phases() string { return filepath.Join(w.dir, "phases") }

// phase waits until the harness has begun a phase.
func (w *work) phase(ctx context.Context, harness *contest.Process, name string) error {
	return harness.Await(ctx, time.Duration(w.connections/connectRate+w.seconds+60)*time.Second, func() error {
		text, err := os.ReadFile(w.phases())
		if err != nil || !strings.Contains(string(text), `"phase":"`+name+`"`) {
			return fmt.Errorf("it has not come to the phase %s: %w", name, err)
		}
		return nil
	})
}

// measure takes the processor time of the tool while the harness publishes at its rate.
func (w *work) measure(ctx context.Context, publisher, tool *contest.Process, o *outcome) error {
	if err := w.phase(ctx, publisher, "steady"); err != nil {
		return err
	}
	before, began := results.ReadMachineTime(), time.Now()
	cpu, own, err := w.used(tool)
	if err != nil {
		return err
	}
	if err := sleep(ctx, time.Duration(w.seconds-1)*time.Second); err != nil { // a second less: it must be there still
		return err
	}
	cpuEnd, ownEnd, err := w.used(tool)
	if err != nil {
		return err
	}
	span := time.Since(began).Seconds()
	if o.MemoryEnd, err = tool.Anonymous(); err != nil {
		return err
	}
	o.Conditions.Others, o.Conditions.Steal = results.ReadMachineTime().Since(before, ownEnd-own)
	o.Cores = (cpuEnd - cpu).Seconds() / span
	o.Conditions.Judge(0) // the generator is what is measured
	o.Deliveries = int64(span * float64(perSecond(w.connections)*perChannel))
	o.CPU = (cpuEnd - cpu).Seconds() * 1e6 / float64(o.Deliveries)
	return nil
}

// used is the processor time of the tool, and of all programs of the run together.
func (w *work) used(tool *contest.Process) (cpu, own time.Duration, err error) {
	if cpu, err = tool.CPU(); err != nil {
		return 0, 0, err
	}
	servers, err := w.stack.CPU()
	if err != nil {
		return 0, 0, err
	}
	own = cpu
	for _, d := range servers {
		own += d
	}
	if w.publisher != nil {
		p, err := w.publisher.CPU()
		if err != nil {
			return 0, 0, err
		}
		own += p
	}
	return cpu, own, nil
}

// clockOffset is what to add to CLOCK_MONOTONIC to get the time of day, milliseconds.
func clockOffset() float64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // never fails
	return float64(time.Now().UnixNano()-ts.Nano()) / 1e6
}

func readJSON(file string, v any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
