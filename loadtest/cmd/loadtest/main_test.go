package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// binary is the program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "loadtest")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// scenario is small and quick: 20 connections, 1,000 deliveries a second. Its thresholds are those that a good server passes.
const scenario = `
url: ${URL}
connections: 20
connect_rate: 2000
connect_timeout: 1s
channels: {count: 2}
publish: {rate: 100, payload: 64, ids: ${IDS:-false}}
requests: {rate: ${REQ:-0}}
reconnect: ${RECONNECT:-false}
settle: 50ms
warmup: 200ms
duration: ${DURATION:-1500ms}
drain: ${DRAIN:-500ms}
thresholds:
  msg_latency: ["p(99)<${P99:-20000}"]
  delivery_ratio: ["rate===1"]
  msgs_lost: ["count==0"]
  msgs_duplicate: ["count==0"]
  msgs_reordered: ["count==0"]
  msgs_announced: ["count==0"]
  msgs_damaged: ["count==0"]
  msgs_misrouted: ["count==0"]
  errs: ["count==0"]
  ws_closed: ["count==0"]
  pubs_unacked: ["count==0"]
`

// outcome is what the program said.
type outcome struct {
	exit   int
	stdout string
	stderr string
	report loadtest.Report
	ledger struct {
		Published, Acknowledged int64
		Missing                 []struct{ Lost, Announced int64 }
	}
}

func runScenario(t *testing.T, url, yaml string, env ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	file, report, accounts := filepath.Join(dir, "s.yaml"), filepath.Join(dir, "r.json"), filepath.Join(dir, "l.json")
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"run", file, "--json", report, "--ledger", accounts, "-q", "-e", "URL=" + url}
	for _, e := range env {
		if agents, ok := strings.CutPrefix(e, "AGENTS="); ok {
			args = append(args, "--agents", agents)
			continue
		}
		args = append(args, "-e", e)
	}
	o := execute(t, args...)
	decodeFile(t, report, &o.report)
	decodeFile(t, accounts, &o.ledger)
	return o
}

func execute(t *testing.T, args ...string) (o outcome) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	o.stdout, o.stderr = stdout.String(), stderr.String()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		o.exit = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return o
}

func decodeFile(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// busy says that the run would have passed had the machine not been too busy with other tests for a verdict.
func (o outcome) busy(wanted int) bool {
	return wanted == loadtest.ExitOK && o.exit == loadtest.ExitInvalid
}

func (o outcome) count(metric string) float64 { return o.report.Metrics[metric].Values["count"] }

func newFaulty(t *testing.T, f faulty.Faults) *faulty.Server {
	t.Helper()
	s, err := faulty.Start("", f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// failed lists the metrics whose thresholds did not hold.
func (o outcome) failed() map[string]bool {
	m := map[string]bool{}
	for _, t := range o.report.Thresholds {
		if !t.OK {
			m[t.Metric] = true
		}
	}
	return m
}

// TestFaultsAreCaught runs the program against servers that each do one thing wrong: the metric that is made for it, and only
// that and what follows from it, must fail.
func TestFaultsAreCaught(t *testing.T) {
	for _, tc := range []struct {
		name     string
		faults   faulty.Faults
		env      []string
		failed   []string // metrics
		evidence bool     // the evidence fails too
	}{
		{name: "good", faults: faulty.Faults{}},
		{name: "pings", faults: faulty.Faults{Ping: true}},
		{name: "drops", faults: faulty.Faults{Drop: 100}, failed: []string{"msgs_lost", "delivery_ratio"}},
		{name: "duplicates", faults: faulty.Faults{Duplicate: 100}, failed: []string{"msgs_duplicate"}},
		{name: "reorders", faults: faulty.Faults{Reorder: 100}, failed: []string{"msgs_reordered"}},
		{name: "announces", faults: faulty.Faults{Gap: 100}, failed: []string{"msgs_announced", "delivery_ratio"}},
		{name: "misroutes", faults: faulty.Faults{Misroute: 100}, failed: []string{"msgs_misrouted", "msgs_lost", "delivery_ratio"}, evidence: true},
		{name: "damages", faults: faulty.Faults{Damage: 100}, failed: []string{"msgs_damaged", "msgs_lost", "delivery_ratio"}, evidence: true},
		{name: "does not acknowledge", faults: faulty.Faults{NoAck: 10}, failed: []string{"pubs_unacked"}},
		{name: "is busy", faults: faulty.Faults{Busy: 10}, failed: []string{"errs"}},
		{name: "is busy, ids", faults: faulty.Faults{Busy: 10}, env: []string{"IDS=true"}, failed: []string{"errs"}},
		{name: "is busy at the subscriptions", faults: faulty.Faults{BusySub: 3}, failed: []string{"errs"}},
		{name: "closes", faults: faulty.Faults{CloseAfter: 50, CloseCode: 4001}, failed: []string{"ws_closed", "msg_latency"}, evidence: true},
		{name: "stalls", faults: faulty.Faults{StallEvery: time.Second, StallFor: 300 * time.Millisecond}, env: []string{"P99=200"}, failed: []string{"msg_latency"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// Acknowledgements are late on a slow machine; who loses something is waited for in vain.
			o := runScenario(t, newFaulty(t, tc.faults).URL, scenario, append([]string{"DRAIN=4s"}, tc.env...)...)
			want := 0
			if len(tc.failed) > 0 {
				want = loadtest.ExitFailed
			}
			failed := o.failed()
			for _, m := range tc.failed {
				if !failed[m] {
					t.Errorf("the threshold on %s holds; it should not", m)
				}
				delete(failed, m)
			}
			for m := range failed {
				t.Errorf("the threshold on %s does not hold; it should", m)
			}
			for _, c := range o.report.Evidence {
				if !c.OK && !tc.evidence {
					t.Errorf("evidence is missing: %s", c.Text)
				}
			}
			if o.exit != want && !o.busy(want) {
				t.Errorf("exit %d, want %d", o.exit, want)
			}
			if t.Failed() {
				t.Logf("%s%s", o.stdout, o.stderr)
			}
		})
	}
}

func wantExit(t *testing.T, o outcome, exit int, stderr string) {
	t.Helper()
	if o.exit != exit && !o.busy(exit) || !strings.Contains(o.stderr, stderr) {
		t.Errorf("exit %d, want %d, saying %q:\n%s%s", o.exit, exit, stderr, o.stdout, o.stderr)
	}
}

func wantOut(t *testing.T, o outcome, text string) {
	t.Helper()
	if !strings.Contains(o.stdout, text) {
		t.Errorf("the summary does not say %q:\n%s", text, o.stdout)
	}
}

// TestNobodyPassesWithoutAServer is k6's trap: thresholds hold when nothing was measured.
func TestNobodyPassesWithoutAServer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults faulty.Faults
		dead   bool
		why    string
	}{
		{name: "dead", dead: true, why: "0 of 20 connections opened and subscribed (reason refused: 20)"},
		{name: "refuses", faults: faulty.Faults{Refuse: 401}, why: "0 of 20 connections opened and subscribed (reason status 401: 20)"},
		{name: "refuses subscriptions", faults: faulty.Faults{RefuseSub: 403}, why: "0 of 20 connections opened and subscribed (code 403: 20)"},
		{name: "says nothing", faults: faulty.Faults{Silent: true}, why: "0 of 20 connections opened and subscribed (reason timeout: 20)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newFaulty(t, tc.faults)
			if tc.dead {
				s.Close()
			}
			o := runScenario(t, s.URL, scenario)
			wantExit(t, o, loadtest.ExitFailed, "")
			wantOut(t, o, tc.why)
			wantOut(t, o, "✗ 'p(99)<20000' no samples")
		})
	}
}

// TestStallIsChargedInFull: 300 ms of every second is nearly a third of all publications, which wait 150 ms on average. A closed
// loop would send one in that time, and p(90) would not show it.
func TestStallIsChargedInFull(t *testing.T) {
	t.Parallel()
	s := newFaulty(t, faulty.Faults{StallEvery: time.Second, StallFor: 300 * time.Millisecond})
	o := runScenario(t, s.URL, strings.Replace(scenario, "thresholds:", "summaryTrendStats: [p(90), max]\nthresholds:", 1), "DURATION=3s")
	latency := o.report.Metrics["msg_latency"].Values
	if n := o.count("msgs_received"); n != 3000 {
		t.Errorf("%v deliveries, want all 3000", n)
	}
	if p := latency["p(90)"]; p < 180 {
		t.Errorf("p(90) = %v ms, want at least 180: a tenth of all publications is due in the first 100 ms of a stall", p)
	}
	if p := latency["max"]; p < 270 {
		t.Errorf("max = %v ms, want about 300", p)
	}
}

// TestRareStallIsCharged: 300 ms of every 5 s hit at least 3 % of all publications, 1.2 % of them for 180 ms and longer. A closed loop would have
// one slow sample a stall, and a p(99) that shows nothing.
func TestRareStallIsCharged(t *testing.T) {
	if testing.Short() {
		t.Skip("10 s")
	}
	t.Parallel()
	s := newFaulty(t, faulty.Faults{StallEvery: 5 * time.Second, StallFor: 300 * time.Millisecond})
	o := runScenario(t, s.URL, scenario, "DURATION=10s")
	latency := o.report.Metrics["msg_latency"].Values
	if n := o.count("msgs_received"); n != 10_000 {
		t.Errorf("%v deliveries, want all 10000", n)
	}
	if latency["p(99)"] < 170 || latency["max"] < 270 {
		t.Errorf("p(99) = %v ms, max = %v ms, want at least 170 and about 300", latency["p(99)"], latency["max"])
	}
}

// TestCutsAreSurvived cuts every connection in the middle: with reconnect and ids nothing may be lost or doubled.
func TestCutsAreSurvived(t *testing.T) {
	t.Parallel()
	s := newFaulty(t, faulty.Faults{CutAt: 100})
	o := runScenario(t, s.URL, scenario, "RECONNECT=true", "IDS=true", "DURATION=2s", "DRAIN=10s")
	if failed := o.failed(); len(failed) != 1 || !failed["ws_closed"] {
		t.Errorf("failed: %v, want the threshold on ws_closed only\n%s%s", failed, o.stdout, o.stderr)
	}
	if n := o.report.Metrics["ws_closed"].Counts["1006"]; n != 20 {
		t.Errorf("%d connections ended with 1006, want 20", n)
	}
	if n := o.report.Metrics["ws_reconnect_duration"].Values["count"]; n != 20 {
		t.Errorf("%v reconnects, want 20", n)
	}
	if o.ledger.Published != 220 || o.ledger.Acknowledged != 220 || len(o.ledger.Missing) != 0 {
		t.Errorf("ledger: %+v, want 220 published, all acknowledged, none missing", o.ledger)
	}
}

func TestLedgerNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := runScenario(t, newFaulty(t, faulty.Faults{Drop: 100}).URL, scenario)
	var lost int64
	for _, m := range o.ledger.Missing {
		lost += m.Lost
	}
	if want := o.count("msgs_lost") + float64(o.report.Warmup.Lost); float64(lost) != want || lost < 10 {
		t.Errorf("the ledger has %d lost, the metrics %v", lost, want)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	o := runScenario(t, newFaulty(t, faulty.Faults{}).URL, scenario, "REQ=100")
	wantExit(t, o, 0, "")
	if n := o.count("reqs_answered"); n != 150 || o.count("reqs_failed") != 0 {
		t.Errorf("%v requests answered and %v failed, want 150 and 0", n, o.count("reqs_failed"))
	}
}

func TestAbortOnFail(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(scenario, "thresholds:", "thresholds:\n  pub_ack: [{threshold: max<0, abortOnFail: true, delayAbortEval: 1s}]", 1)
	began := time.Now()
	o := runScenario(t, newFaulty(t, faulty.Faults{}).URL, yaml, "DURATION=60s")
	wantExit(t, o, loadtest.ExitFailed, "")
	wantOut(t, o, "ended by the threshold pub_ack max<0")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the run took %s", took)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	testInterrupted(t)
}

func testInterrupted(t *testing.T) {
	s := newFaulty(t, faulty.Faults{})
	file := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "run", file, "-e", "URL="+s.URL, "-e", "DURATION=60s", "--phase-file", "/dev/stderr", "-q")
	phases, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	lines := bufio.NewScanner(phases)
	for lines.Scan() {
		var mark struct{ Phase string }
		if err := json.Unmarshal(lines.Bytes(), &mark); err != nil {
			t.Fatalf("phase file: %v: %s", err, lines.Bytes())
		}
		seen = append(seen, mark.Phase)
		if mark.Phase == "steady" {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != loadtest.ExitInterrupted {
		t.Errorf("exit %d, want %d", code, loadtest.ExitInterrupted)
	}
	if want := []string{"connect", "settle", "warmup", "steady", "drain", "close", "done"}; !slices.Equal(seen, want) {
		t.Errorf("phases %v, want %v", seen, want)
	}
	wantOut(t, outcome{stdout: stdout.String()}, "interrupted; no verdict")
}

func TestBadCalls(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, tc := range []struct {
		args []string
		exit int
		says string
	}{
		{[]string{"run", filepath.Join(dir, "none.yaml")}, loadtest.ExitNoFile, "no such file"},
		{[]string{"run"}, loadtest.ExitConfig, "want one scenario file"},
		{[]string{"run", "a", "b"}, loadtest.ExitConfig, "want one scenario file"},
		{[]string{"run", "--vuss", "3", "a"}, loadtest.ExitConfig, "-vuss"},
		{[]string{"run", "--out", "kafka=x", write("out.yaml", "url: ws://127.0.0.1:9/ws")}, loadtest.ExitConfig, "there is no output \"kafka\""},
		{[]string{"walk"}, loadtest.ExitConfig, "there are run, inspect, archive, new, agent and version"},
		{[]string{"run", write("key.yaml", "url: ws://127.0.0.1/ws\nconections: 5\n")}, loadtest.ExitConfig, "[2:1] unknown field \"conections\""},
		{[]string{"run", write("metric.yaml", "thresholds: {msg_latancy: [p(99)<5]}")}, loadtest.ExitConfig, "there is no metric msg_latancy; there are checks, delivery_ratio, msg_latency"},
		{[]string{"run", write("method.yaml", "thresholds: {msgs_lost: [p(99)<5]}")}, loadtest.ExitConfig, "msgs_lost is a counter and has no p; it has count, rate"},
		{[]string{"run", write("duration.yaml", "\nduration: 60\n")}, loadtest.ExitConfig, "[2:11] \"60\" is not a duration"},
		{[]string{"run", write("env.yaml", "\nurl: ${NOBODY_SET_THIS}")}, loadtest.ExitConfig, "line 2: ${NOBODY_SET_THIS} is not set"},
		{[]string{"run", "--connections", "0", write("fine.yaml", "url: ws://127.0.0.1/ws")}, loadtest.ExitConfig, "connections: 0 is not in 1 to"},
		{[]string{"run", write("host.yaml", "url: ws://no-such-host.invalid/ws")}, loadtest.ExitStart, "the host no-such-host.invalid is not known"},
		{[]string{"run", write("ports.yaml", "url: ws://192.0.2.1/ws\nconnections: 200000\nconnect_rate: 1e5")}, loadtest.ExitStart, "raise it (ulimit -Hn"},
	} {
		wantExit(t, execute(t, tc.args...), tc.exit, tc.says)
	}
}

func TestNewInspectRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	wantExit(t, execute(t, "new", file), 0, "")
	wantExit(t, execute(t, "new", file), loadtest.ExitStart, "")
	o := execute(t, "inspect", file, "--connections", "200", "-e", "URL=ws://127.0.0.1:9/ws")
	var got struct {
		URL         string
		Connections int
		Needs       struct {
			Files      int     `json:"open_files"`
			Deliveries float64 `json:"deliveries_per_second"`
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.URL != "ws://127.0.0.1:9/ws" || got.Connections != 200 || got.Needs.Files != 264 || got.Needs.Deliveries != 1000 {
		t.Errorf("inspect says %+v", got)
	}
	wantOut(t, execute(t, "--help"), "loadtest run [flags] SCENARIO")
	wantOut(t, execute(t, "run", "--help"), "--summary-export")
	wantOut(t, execute(t, "--version"), "loadtest ")
}

func TestSummaryExportIsAsK6s(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, export := filepath.Join(dir, "s.yaml"), filepath.Join(dir, "export.json")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newFaulty(t, faulty.Faults{Duplicate: 50})
	wantExit(t, execute(t, "run", "-q", "-e", "URL="+s.URL, "--summary-export", export, file), loadtest.ExitFailed, "")
	var got struct {
		Metrics map[string]map[string]any
	}
	decodeFile(t, export, &got)
	for metric, threshold := range map[string]struct {
		source  string
		crossed bool
	}{"msgs_duplicate": {"count==0", true}, "msgs_lost": {"count==0", false}, "msg_latency": {"p(99)<20000", false}} {
		thresholds, _ := got.Metrics[metric]["thresholds"].(map[string]any)
		if thresholds[threshold.source] != threshold.crossed {
			t.Errorf("%s: %v, want %s: %v", metric, got.Metrics[metric], threshold.source, threshold.crossed)
		}
	}
}
