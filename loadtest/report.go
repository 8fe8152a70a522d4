package loadtest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Exit codes of the program; those up to 110 and 255 are k6's.
const (
	ExitOK          = 0
	ExitFailed      = 99  // a threshold was crossed, or there is no evidence
	ExitConfig      = 104 // the scenario is not valid
	ExitInterrupted = 105 // stopped by a signal
	ExitStart       = 107 // the run could not start
	ExitPanic       = 109 // a fault of this program
	ExitInvalid     = 111 // everything held, but the generator was the limit
	ExitUnsure      = 112 // nothing failed, but a threshold is inconclusive: within its confidence interval
	ExitAgent       = 113 // an agent was lost: no verdict
	ExitNoFile      = 255 // there is no such file
)

// Report is what a run came to. Its JSON is the format of --json.
type Report struct {
	Version     string             `json:"version"` // of the program
	Name        string             `json:"name"`
	Tags        map[string]string  `json:"tags,omitempty"`
	Started     time.Time          `json:"started"`
	Seconds     float64            `json:"steady_seconds"`
	Scenario    *Scenario          `json:"scenario"`
	Environment Environment        `json:"environment"`
	Phases      []PhaseStart       `json:"phases"`
	Thresholds  []ThresholdResult  `json:"thresholds"`
	Evidence    []Check            `json:"evidence"`
	Generator   Generator          `json:"generator"`
	Agents      []Agent            `json:"agents,omitempty"` // that did the work
	Metrics     map[string]Values  `json:"metrics"`
	Warmup      swarm.Counts       `json:"warmup"`
	Loads       []swarm.LoadCounts `json:"scenarios,omitempty"`
	Interrupted bool               `json:"interrupted"`
	Aborted     string             `json:"aborted,omitempty"` // threshold that ended the run
	Passed      bool               `json:"passed"`
	ExitCode    int                `json:"exit_code"`

	set     metric.Set
	stats   []metric.Method
	account swarm.Account
}

// Environment is where the run took place.
type Environment struct {
	OS       string `json:"os"`
	Kernel   string `json:"kernel"`
	Arch     string `json:"arch"`
	CPUs     int    `json:"cpus"`
	CPU      string `json:"cpu_model,omitempty"`
	Go       string `json:"go"`
	MemoryMB int    `json:"memory_mb"`
	Files    uint64 `json:"open_files_limit"`
	Ports    int    `json:"ephemeral_ports"`
}

// PhaseStart is when a phase began.
type PhaseStart struct {
	Phase string    `json:"phase"`
	Time  time.Time `json:"time"`
}

// ThresholdResult is the verdict on one threshold.
type ThresholdResult struct {
	Metric    string         `json:"metric"`
	Threshold string         `json:"threshold"`
	OK        bool           `json:"ok"`
	Outcome   metric.Outcome `json:"outcome"` // pass, fail or inconclusive
	Method    string         `json:"method"`
	Value     float64        `json:"value"`
	Interval  []float64      `json:"interval_95,omitempty"` // low and high end of its confidence interval
	Known     bool           `json:"known"`                 // there was enough evidence for a value
	Why       string         `json:"why,omitempty"`         // it did not pass

	kind metric.Kind
}

// Check is one thing that a run must show whatever its thresholds are.
type Check struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// Values are what one metric came to.
type Values struct {
	Type   metric.Kind        `json:"type"`
	Values map[string]float64 `json:"values"`
	Tag    string             `json:"tag,omitempty"`      // by what the counts are split
	Counts map[string]int64   `json:"counts,omitempty"`   // the parts of a tagged counter
	Passes map[string]int64   `json:"passes,omitempty"`   // of the checks in Counts
	Over   int64              `json:"over_60s,omitempty"` // values of a trend above its range: they count as 60 s
}

func (r *run) report() *Report {
	rep := &Report{
		Version: r.options.Version, Name: r.options.Name, Tags: r.scenario.Tags, Started: r.started,
		Scenario: r.scenario, Environment: environment(), Interrupted: r.interrupted, Aborted: r.aborted,
		set: r.all(), account: r.engine.Account(),
	}
	rep.stats, _ = r.scenario.trendStats()
	rep.Seconds = rep.account.Seconds
	rep.Warmup = rep.account.Warmup
	m := r.total
	rep.Generator, rep.Agents = r.engine.Judge(m)
	rep.Generator.weighDropped(rep.account.Loads)
	rep.Loads = rep.account.Loads
	for _, p := range r.marks {
		rep.Phases = append(rep.Phases, PhaseStart{p.Phase.String(), p.At})
	}
	for _, b := range r.bound {
		v := b.Check(rep.Seconds)
		rep.Thresholds = append(rep.Thresholds, ThresholdResult{
			Metric: b.Metric, Threshold: b.Source, OK: v.OK, Outcome: v.Outcome, Method: b.Method.String(), Value: v.Value, Known: v.Known, Why: v.Why,
			kind: b.Entry.Metric.Kind(),
		})
		if t := &rep.Thresholds[len(rep.Thresholds)-1]; v.Interval {
			t.Interval = []float64{v.Low, v.High}
		}
	}
	rep.Evidence = append(evidence(r.scenario, m, rep.account), r.onCut.evidence()...)
	rep.Metrics = make(map[string]Values, len(rep.set))
	for _, e := range rep.set {
		rep.Metrics[e.Name] = values(e.Metric, rep.stats, rep.Seconds)
	}
	rep.conclude()
	return rep
}

func (rep *Report) conclude() {
	rep.Passed = !slices.ContainsFunc(rep.Thresholds, func(t ThresholdResult) bool { return !t.OK }) &&
		!slices.ContainsFunc(rep.Evidence, func(c Check) bool { return !c.OK })
	failed := slices.ContainsFunc(rep.Thresholds, func(t ThresholdResult) bool { return t.Outcome == metric.Failed }) ||
		slices.ContainsFunc(rep.Evidence, func(c Check) bool { return !c.OK })
	switch {
	case rep.Interrupted:
		rep.Passed, rep.ExitCode = false, ExitInterrupted
	case rep.Aborted != "", failed:
		rep.Passed, rep.ExitCode = false, ExitFailed
	case rep.Generator.Verdict == VerdictInvalid:
		rep.Passed, rep.ExitCode = false, ExitInvalid
	case !rep.Passed:
		rep.ExitCode = ExitUnsure
	}
}

// evidence lists what any run must show: what did not happen cannot have gone well.
func evidence(s *Scenario, m *swarm.Metrics, a swarm.Account) []Check {
	connections := func(n int, what string, why ...*metric.Tagged) Check {
		c := Check{n == s.Connections, fmt.Sprintf("%d of %d connections %s", n, s.Connections, what)}
		if !c.OK {
			c.Text += parts(why...)
		}
		return c
	}
	var checks []Check
	if s.Connections > 0 {
		checks = append(checks, connections(a.Ready, "opened and subscribed", m.ConnectFailed, m.Errs))
	}
	if a.Ready > 0 {
		checks = append(checks, connections(a.ReadyEnd, "there at the end of the steady phase", m.Closed))
	}
	checks = append(checks, loadEvidence(s, m, a)...)
	if s.Publish.Rate > 0 || s.writers() > 0 {
		checks = append(checks, Check{m.Acked.Count() > 0, fmt.Sprintf("%d publications acknowledged", m.Acked.Count())})
		if s.Subscriptions > 0 && s.Connections > 0 {
			checks = append(checks, Check{m.Received.Count() > 0, fmt.Sprintf("%d deliveries received", m.Received.Count())})
		}
	}
	if n := m.Misrouted.Count() + m.Damaged.Count(); n > 0 {
		checks = append(checks, Check{false, fmt.Sprintf("%d deliveries misrouted, %d damaged", m.Misrouted.Count(), m.Damaged.Count())})
	}
	return checks
}

// loadEvidence is what scenarios must show: that their VUs could connect, and that iterations did what they were to do.
func loadEvidence(s *Scenario, m *swarm.Metrics, a swarm.Account) (checks []Check) {
	wanted := 0
	for _, l := range s.Scenarios {
		if _, ready := l.users(); l.Exec != ExecSession {
			wanted += ready
		}
	}
	if wanted > 0 {
		c := Check{a.Writers == wanted, fmt.Sprintf("%d of %d VUs that publish or request connected", a.Writers, wanted)}
		if !c.OK {
			c.Text += parts(m.ConnectFailed, m.Errs)
		}
		checks = append(checks, c)
	}
	for _, l := range a.Loads {
		said := []string{fmt.Sprintf("scenario %s: %d iterations did what they were to do", l.Name, l.Complete)}
		for _, other := range []struct {
			n    int64
			what string
		}{{l.Failed, "failed"}, {l.Interrupted, "interrupted"}, {l.Dropped, "dropped"}} {
			if other.n > 0 {
				said = append(said, fmt.Sprintf("%d %s", other.n, other.what))
			}
		}
		checks = append(checks, Check{l.Complete > 0, strings.Join(said, ", ")})
	}
	return checks
}

// parts writes the parts of tagged counters: " (refused 3, status 401 5)".
func parts(counters ...*metric.Tagged) string {
	var list []string
	for _, c := range counters {
		for value, n := range c.Counts() {
			list = append(list, fmt.Sprintf("%s %s: %d", c.Tag, value, n))
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	return " (" + strings.Join(list, ", ") + ")"
}

// reported are the statistics of trends that reports always have, whatever the summary shows.
func reported() []metric.Method {
	list := []metric.Method{{Name: "avg"}, {Name: "min"}, {Name: "med"}, {Name: "max"}, {Name: "count"}}
	for _, p := range []float64{90, 95, 99, 99.9, 99.99} {
		list = append(list, metric.Method{Name: "p", Percentile: p})
	}
	return list
}

func values(m metric.Metric, stats []metric.Method, seconds float64) Values {
	v := Values{Type: m.Kind(), Values: make(map[string]float64)}
	switch m := m.(type) {
	case *metric.Trend:
		for _, stat := range append(reported(), stats...) {
			v.Values[stat.String()] = m.Read(stat, seconds)
		}
		v.Over = m.Over()
	case *metric.Gauge:
		v.Values["value"], v.Values["avg"], v.Values["min"], v.Values["max"] = m.Value(), m.Avg(), m.Min(), m.Max()
	case *metric.Checks:
		return checkValues(m)
	case *metric.Rate:
		v.Values["rate"], v.Values["passes"], v.Values["fails"] = m.Share(), float64(m.Passes()), float64(m.Samples()-m.Passes())
	default: // a counter, tagged or not
		v.Values["count"] = m.Read(metric.Method{Name: "count"}, seconds)
		v.Values["rate"] = m.Read(metric.Method{Name: "rate"}, seconds)
	}
	if t, ok := m.(*metric.Tagged); ok {
		v.Tag, v.Counts = t.Tag, t.Counts()
	}
	return v
}

func checkValues(c *metric.Checks) Values {
	v := values(&c.Rate, nil, 0)
	v.Tag, v.Counts, v.Passes = "check", make(map[string]int64), make(map[string]int64)
	for _, name := range c.Names() {
		v.Counts[name], v.Passes[name] = c.Of(name).Samples(), c.Of(name).Passes()
	}
	return v
}

func environment() Environment {
	e := Environment{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		MemoryMB: procKilobytes("/proc/meminfo", "MemTotal:") / 1024, Ports: ephemeralPorts(), CPU: cpuModel(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		e.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		e.Files = limit.Cur
	}
	return e
}

// cpuModel is what the processor calls itself; empty where it does not.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Conclusion is the verdict in one line.
func (rep *Report) Conclusion() string { return rep.conclusion() }

// WriteJSON writes the whole report.
func (rep *Report) WriteJSON(w io.Writer) error {
	return writeJSON(w, rep)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // thresholds have < and > in them
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// WriteLedger writes the delivery accounts: every acknowledged publication, warm-up included, that somebody did not get.
func (rep *Report) WriteLedger(w io.Writer) error {
	missing := rep.account.Missing
	if missing == nil {
		missing = []swarm.Missing{}
	}
	return writeJSON(w, struct {
		Run       string          `json:"run"`
		Published int64           `json:"published"`
		Acked     int64           `json:"acknowledged"`
		Missing   []swarm.Missing `json:"missing"`
	}{fmt.Sprintf("%x", rep.account.Run), rep.account.Published, rep.account.Published - rep.account.Unacked, missing})
}
