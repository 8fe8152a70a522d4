package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/loadtest"
)

// Targets of the proof; the one for p(99) is in the size.
const (
	maxBytesPerConn = 500
	maxGoroutines   = 40
)

// report is what all parts came to.
type report struct {
	Time    time.Time  `json:"time"`
	Kernel  string     `json:"kernel"`
	Go      string     `json:"go"`
	CPUs    int        `json:"cpus"`
	Quick   bool       `json:"quick"`
	Size    size       `json:"size"`
	Traffic []*traffic `json:"traffic"`
	Idle    *idle      `json:"idle,omitempty"`
	Storms  []*storm   `json:"storms,omitempty"` // of few connections, then of all
	Slow    *slow      `json:"slow,omitempty"`
	Ended   []*storm   `json:"storms_by_server,omitempty"` // the gateway killed, and drained
	Soak    *soak      `json:"soak,omitempty"`

	Multiplex *comparison `json:"multiplex,omitempty"`
	Polling   *comparison `json:"polling,omitempty"`

	Missed []string `json:"missed"` // targets
}

// newReport is empty, with the size of the load that the options name.
func newReport(o options) *report {
	rep := &report{Time: time.Now(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Quick: o.quick, Missed: []string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		rep.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	rep.Size = size{Connections: 15_000, Channels: 150, Rate: 200, Duration: "60s", P99: 50}
	if o.quick {
		rep.Size = size{Connections: 2_000, Channels: 20, Rate: 100, Duration: "10s", P99: 500}
	}
	if o.rate > 0 {
		rep.Size.Rate = o.rate
	}
	return rep
}

// missFunc takes note of a target: ok, or missed for the reason that follows.
type missFunc func(ok bool, format string, args ...any)

// judge lists the targets that were missed.
func (rep *report) judge() {
	miss := func(ok bool, format string, args ...any) {
		if !ok {
			rep.Missed = append(rep.Missed, fmt.Sprintf(format, args...))
		}
	}
	for _, t := range rep.Traffic {
		miss(t.Exit == loadtest.ExitOK, "%s: the harness ended with %d (%s)%s", t.Path, t.Exit, t.conditions, lines(t.Failures))
		miss(t.Latency["p(99)"] < rep.Size.P99, "%s: p(99) %.1f ms, target below %.0f ms", t.Path, t.Latency["p(99)"], rep.Size.P99)
		miss(t.Lost+t.Duplicate+t.Reordered == 0, "%s: %d lost, %d duplicated, %d reordered, target 0", t.Path, t.Lost, t.Duplicate, t.Reordered)
	}
	if i := rep.Idle; i != nil {
		miss(i.Exit == loadtest.ExitOK, "idle: the harness ended with %d%s", i.Exit, lines(i.Failures))
		miss(rep.Quick || i.BytesPerConn <= maxBytesPerConn, "idle: %.0f bytes per connection, target at most %d", i.BytesPerConn, maxBytesPerConn)
		miss(i.Goroutines <= maxGoroutines, "idle: %d goroutines, target at most %d", i.Goroutines, maxGoroutines)
		miss(i.Goroutines <= i.GoroutinesFew, "idle: %d goroutines, and %d at %d connections: target no more", i.Goroutines, i.GoroutinesFew, few)
	}
	if len(rep.Storms) > 0 {
		judgeStorms(rep.Storms, rep.Size.Connections, miss)
	}
	if rep.Slow != nil {
		rep.Slow.judge(rep.Quick, miss)
	}
	judgeEnded(rep.Ended, miss)
	if rep.Multiplex != nil {
		judgeMultiplex(rep.Multiplex, rep.Quick, miss)
	}
	if rep.Polling != nil {
		judgePolling(rep.Polling, rep.Quick, miss)
	}
	if rep.Soak != nil {
		rep.Soak.judge(miss)
	}
}

// lines puts each of a list on a line of its own.
func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "\n    " + strings.Join(list, "\n    ")
}

// write writes the report for people.
func (rep *report) write(w io.Writer) {
	fmt.Fprintf(w, "\nProof at %d connections · %s · %d cores · Linux %s · %s\n",
		rep.Size.Connections, rep.Time.Format(time.DateTime), rep.CPUs, rep.Kernel, rep.Go)
	if len(rep.Traffic) > 0 {
		rep.writeTraffic(w)
	}
	if i := rep.Idle; i != nil {
		fmt.Fprintf(w, "\nIdle, one subscription each\n")
		fmt.Fprintf(w, "  %-46s %.0f bytes (target at most %d)\n", "gateway: memory per connection, collected", i.BytesPerConn, maxBytesPerConn)
		fmt.Fprintf(w, "  %-46s %d and %d (target at most %d, and no more)\n", fmt.Sprintf("gateway: goroutines at %d and at %d", few, i.Connections), i.GoroutinesFew, i.Goroutines, maxGoroutines)
		fmt.Fprintf(w, "  %-46s %d kB and %d kB\n", fmt.Sprintf("gateway: anonymous memory at %d and at %d", few, i.Connections), i.ResidentFewKB, i.ResidentKB)
		fmt.Fprintf(w, "  %-46s %d kB\n", "harness: resident memory", i.HarnessResident>>10)
	}
	if len(rep.Storms) > 0 {
		writeStorms(w, rep.Storms)
	}
	if rep.Slow != nil {
		writeSlow(w, rep.Slow)
	}
	if len(rep.Ended) > 0 {
		writeEnded(w, rep.Ended)
	}
	if rep.Multiplex != nil {
		rep.Multiplex.write(w, multiplexRows())
	}
	if rep.Polling != nil {
		rep.Polling.write(w, pollingRows())
	}
	if rep.Soak != nil {
		rep.Soak.write(w)
	}
	if len(rep.Missed) == 0 {
		fmt.Fprintf(w, "\nAll targets are met.\n")
		return
	}
	fmt.Fprintf(w, "\nMissed:\n")
	for _, m := range rep.Missed {
		fmt.Fprintf(w, "  %s\n", m)
	}
}

func (rep *report) writeTraffic(w io.Writer) {
	fmt.Fprintf(w, "\n%d channels of %d, %.0f publications/s, %.0f deliveries/s, %s\n",
		rep.Size.Channels, rep.Size.Connections/rep.Size.Channels, rep.Size.Rate, rep.Size.Rate*float64(rep.Size.Connections/rep.Size.Channels), rep.Size.Duration)
	row := table(w, rep.Traffic)
	row("", func(t *traffic) string { return t.Path })
	row("deliveries", func(t *traffic) string { return fmt.Sprint(t.Deliveries) })
	for _, p := range []string{"med", "p(99)", "p(99.9)", "max"} {
		row("due to received, "+p, func(t *traffic) string { return milliseconds(t.Latency[p]) })
	}
	row("due to last subscriber, p(99)", func(t *traffic) string { return milliseconds(t.Last["p(99)"]) })
	row("lost, duplicated, reordered", func(t *traffic) string { return fmt.Sprintf("%d, %d, %d", t.Lost, t.Duplicate, t.Reordered) })
	for _, name := range []string{"gateway", "redis", "backend", "loadtest"} {
		row("CPU per delivery, "+name, func(t *traffic) string { return fmt.Sprintf("%.1f us", t.CPU[name]) })
	}
	row("gateway: goroutines, threads at rest", func(t *traffic) string { return t.Rest.String() })
	row("gateway: goroutines, threads under the load", func(t *traffic) string { return t.Load.String() })
	writeConditions(w, rep.Traffic, func(t *traffic) conditions { return t.conditions })
}
