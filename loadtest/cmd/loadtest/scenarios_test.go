package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// population is who listens to what the scenarios publish, with thresholds that a good server passes.
const population = `
url: ${URL}
connections: 20
connect_timeout: 5s
channels: {count: 2}
publish: {payload: 64}
settle: 50ms
drain: 5s
thresholds:
  delivery_ratio: ["rate===1"]
  msgs_lost: ["count==0"]
  msgs_duplicate: ["count==0"]
  msgs_reordered: ["count==0"]
  ws_closed: ["count==0"]
`

func (o outcome) part(metric, scenario string) int64 {
	return o.report.Metrics[metric].Counts[scenario]
}

// TestExecutors runs each executor with each kind of iteration: what k6 promises of it must hold.
func TestExecutors(t *testing.T) {
	for _, tc := range []struct {
		name, scenario string
		iterations     [2]float64 // least and most
		extra          string
	}{
		{"shared", "{executor: shared-iterations, vus: 3, iterations: 50}", [2]float64{50, 50}, ""},
		{"each", "{executor: per-vu-iterations, vus: 3, iterations: 20, exec: request}", [2]float64{60, 60}, ""},
		{"constant", "{executor: constant-vus, vus: 4, duration: 1s, minIterationDuration: 100ms}", [2]float64{4, 44}, ""},
		{"ramping", "{executor: ramping-vus, startVUs: 0, stages: [{duration: 500ms, target: 4}, {duration: 500ms, target: 0}], minIterationDuration: 50ms}", [2]float64{1, 80}, ""},
		{"rate", "{executor: constant-arrival-rate, rate: 100, duration: 1s, preAllocatedVUs: 50}", [2]float64{100, 100}, ""},
		{"request rate", "{executor: constant-arrival-rate, rate: 6000, timeUnit: 1m, duration: 1s, preAllocatedVUs: 50, exec: request}", [2]float64{100, 100}, ""},
		{"ramping rate", "{executor: ramping-arrival-rate, startRate: 0, stages: [{duration: 1s, target: 100}, {duration: 500ms, target: 100}], preAllocatedVUs: 50}", [2]float64{100, 100}, ""},
		{"sessions", "{executor: shared-iterations, vus: 5, iterations: 20, exec: session, hold: 100ms}", [2]float64{20, 20}, ""},
		{"sessions come and go", "{executor: ramping-vus, startVUs: 0, stages: [{duration: 500ms, target: 6}, {duration: 500ms, target: 0}], exec: session}", [2]float64{1, 6}, ""},
		{"sessions by the clock", "{executor: constant-arrival-rate, rate: 30, duration: 1s, preAllocatedVUs: 1, maxVUs: 30, exec: session, hold: 300ms}", [2]float64{30, 30}, ""},
		{"sessions that receive", "{executor: constant-vus, vus: 5, duration: 1s, exec: session, hold: 200ms}", [2]float64{5, 30}, "publish: {payload: 64, rate: 200}\nwarmup: 100ms\nduration: 1s\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := population
			if strings.Contains(tc.scenario, "exec:") { // nothing is published
				file, _, _ = strings.Cut(population, "publish:")
				file += tc.extra + "thresholds: {ws_closed: [count==0]}\n"
			}
			o := runScenario(t, newFaulty(t, faulty.Faults{}).URL, file+"scenarios: {it: "+tc.scenario+"}\n")
			wantExit(t, o, loadtest.ExitOK, "")
			dropped := o.count("dropped_iterations") // of a machine too busy to answer in time
			if n := o.count("iterations") + dropped; n < tc.iterations[0] || n > tc.iterations[1] {
				t.Errorf("%v iterations, want %v to %v", n, tc.iterations[0], tc.iterations[1])
			}
			if n, trend := o.count("iterations"), o.report.Metrics["iteration_duration"].Values["count"]; n != trend {
				t.Errorf("%v iterations, %v durations", n, trend)
			}
			for _, l := range o.report.Loads {
				if l.Failed != 0 || l.Interrupted != 0 {
					t.Errorf("%+v, want none that failed", l)
				}
			}
			if strings.HasPrefix(tc.name, "sessions") && o.count("ws_sessions") != 20+o.count("iterations") {
				t.Errorf("%v sessions, want those of 20 connections and %v iterations", o.count("ws_sessions"), o.count("iterations"))
			}
			if t.Failed() {
				t.Logf("%s%s", o.stdout, o.stderr)
			}
		})
	}
}

// TestScenariosSideBySide has two of them, told apart by scenario and by tag, one behind the other.
func TestScenariosSideBySide(t *testing.T) {
	t.Parallel()
	o := runScenario(t, newFaulty(t, faulty.Faults{}).URL, population+`  iterations{scenario:first}: ["count==30"]
  iterations{kind:late}: ["count==12"]
  iterations: ["count==42"]
  msg_latency{scenario:first}: ["max<20000"]
  msg_latency{kind:late}: ["avg<20000"]
  iteration_duration{scenario:first,phase:steady}: ["max<20000"]
  checks: ["rate==1"]
  checks{check:it is answered}: ["rate==1"]
checks:
  it is answered: ack.code==0 && ack.duration<20000
ping: 200ms
scenarios:
  first: {executor: shared-iterations, vus: 3, iterations: 30, checks: {has its size: msg.size==64}}
  second: {executor: per-vu-iterations, vus: 4, iterations: 3, startTime: 700ms, tags: {kind: late}, exec: publish}
`)
	wantExit(t, o, loadtest.ExitOK, "")
	checks := o.report.Metrics["checks"]
	if checks.Counts["it is answered"] != 42 || checks.Counts["has its size"] != 300 || checks.Passes["has its size"] != 300 {
		t.Errorf("checks %v, passed %v, want 42 and 300", checks.Counts, checks.Passes)
	}
	if o.part("iterations", "first") != 30 || o.part("iterations", "second") != 12 {
		t.Errorf("iterations %v, want 30 and 12", o.report.Metrics["iterations"].Counts)
	}
	if o.count("msgs_received") != 420 || o.count("msgs_expected") != 420 {
		t.Errorf("%v of %v deliveries, want 420: 10 subscribers each", o.count("msgs_received"), o.count("msgs_expected"))
	}
	if o.report.Seconds < 0.7 || o.count("ws_ping") == 0 || o.count("ws_msgs_sent") < 42 || o.count("ws_msgs_received") < 420 {
		t.Errorf("%v s, %v pings, %v sent, %v received", o.report.Seconds, o.count("ws_ping"), o.count("ws_msgs_sent"), o.count("ws_msgs_received"))
	}
	if n := o.report.Metrics["ws_session_duration"].Values["count"]; n != 27 {
		t.Errorf("%v sessions had a length, want those of 20 connections and 7 VUs", n)
	}
	if t.Failed() {
		t.Logf("%s%s", o.stdout, o.stderr)
	}
}

// TestFailedCheckIsNoFailedRun, as in k6; it prints both numbers.
func TestFailedCheckIsNoFailedRun(t *testing.T) {
	t.Parallel()
	o := runScenario(t, newFaulty(t, faulty.Faults{}).URL, population+`
checks: {never: ack.duration<0, upgraded: connect.status==101}
scenarios: {it: {executor: shared-iterations, vus: 2, iterations: 10}}
`)
	wantExit(t, o, loadtest.ExitOK, "")
	for _, text := range []string{"    checks_total.......: 32 ", "    checks_failed......: 31.25% 10 out of 32\n", "    ✓ upgraded\n", "    ✗ never\n      ↳   0% — ✓ 0 / ✗ 10\n"} {
		wantOut(t, o, text)
	}
}

// TestArrivalsAreChargedInFull: at 100 a second, a stall of 300 ms holds up thirty publications. Enough VUs begin all of them when they are due,
// and their latency counts from then on. Too few leave some out: these are counted, and the figures are no verdict any more.
func TestArrivalsAreChargedInFull(t *testing.T) {
	for _, tc := range []struct {
		vus  int
		full bool
	}{{200, true}, {2, false}} {
		t.Run(fmt.Sprintf("%d VUs", tc.vus), func(t *testing.T) {
			t.Parallel()
			s := newFaulty(t, faulty.Faults{StallEvery: time.Second, StallFor: 300 * time.Millisecond})
			o := runScenario(t, s.URL, population+fmt.Sprintf(`
summaryTrendStats: [p(90), max]
scenarios: {it: {executor: constant-arrival-rate, rate: 100, duration: 3s, preAllocatedVUs: %d}}
`, tc.vus))
			latency, dropped := o.report.Metrics["msg_latency"].Values, o.count("dropped_iterations")
			if latency["max"] < 270 || tc.full && latency["p(90)"] < 180 {
				t.Errorf("p(90) = %v ms, max = %v ms: the stall of 300 ms does not show", latency["p(90)"], latency["max"])
			}
			if o.count("iterations")+dropped != 300 {
				t.Errorf("%v iterations and %v dropped, want 300 together", o.count("iterations"), dropped)
			}
			if tc.full != (dropped == 0) {
				t.Errorf("%v dropped with %d VUs", dropped, tc.vus)
			}
			if !tc.full && (o.exit != loadtest.ExitInvalid || o.report.Generator.Verdict != loadtest.VerdictInvalid || !strings.Contains(o.stdout, "for want of a free VU")) {
				t.Errorf("exit %d, verdict %s, want invalid", o.exit, o.report.Generator.Verdict)
			}
			if t.Failed() {
				t.Logf("%s%s", o.stdout, o.stderr)
			}
		})
	}
}

// TestInterruptedIterations: what does not end within gracefulStop, or gracefulRampDown, is interrupted and does not count.
func TestInterruptedIterations(t *testing.T) {
	for name, scenario := range map[string]string{
		"stop":      "{executor: constant-vus, vus: 3, duration: 200ms, exec: session, hold: 60s, gracefulStop: 100ms}",
		"ramp down": "{executor: ramping-vus, startVUs: 3, stages: [{duration: 200ms, target: 3}, {duration: 0s, target: 0}, {duration: 500ms, target: 0}], exec: session, hold: 60s, gracefulRampDown: 100ms}",
		"no answer": "{executor: shared-iterations, vus: 3, iterations: 3, maxDuration: 200ms, gracefulStop: 100ms}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := faulty.Faults{}
			if name == "no answer" {
				faults.NoAck = 1
			}
			o := runScenario(t, newFaulty(t, faults).URL, strings.Replace(population, "drain: 5s", "drain: 200ms", 1)+"scenarios: {it: "+scenario+"}\n")
			if l := o.report.Loads[0]; l.Interrupted != 3 || l.Complete != 0 || o.count("iterations") != 0 {
				t.Errorf("%+v, %v iterations, want 3 interrupted and none that counts", l, o.count("iterations"))
			}
			wantExit(t, o, loadtest.ExitFailed, "") // the evidence is missing
			wantOut(t, o, "✗ scenario it: 0 iterations did what they were to do, 3 interrupted")
			if t.Failed() {
				t.Logf("%s%s", o.stdout, o.stderr)
			}
		})
	}
}

// TestScenariosAgainstNobody is k6's trap once more: sessions that never come about are no iterations that went well.
func TestScenariosAgainstNobody(t *testing.T) {
	for name, scenario := range map[string]string{
		"sessions":     "{executor: constant-vus, vus: 3, duration: 1s, exec: session, hold: 100ms}",
		"publications": "{executor: constant-arrival-rate, rate: 100, duration: 1s, preAllocatedVUs: 5}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFaulty(t, faulty.Faults{})
			s.Close()
			o := runScenario(t, s.URL, "url: ${URL}\nconnections: 0\nsettle: 0s\nscenarios: {it: "+scenario+"}\n")
			wantExit(t, o, loadtest.ExitFailed, "")
			wantOut(t, o, "✗ scenario it: 0 iterations did what they were to do")
		})
	}
}

// TestSessionsAreAccountedFor: what a session misses between its deliveries is lost, and what it has twice is a duplicate.
func TestSessionsAreAccountedFor(t *testing.T) {
	for _, tc := range []struct {
		faults faulty.Faults
		failed string
	}{{faulty.Faults{}, ""}, {faulty.Faults{Drop: 50}, "msgs_lost"}, {faulty.Faults{Duplicate: 50}, "msgs_duplicate"}, {faulty.Faults{Gap: 50}, "msgs_announced"}} {
		t.Run(tc.failed, func(t *testing.T) {
			t.Parallel()
			o := runScenario(t, newFaulty(t, tc.faults).URL, `
url: ${URL}
connections: 0
publish: {payload: 64}
drain: 1s
thresholds: {msgs_lost: [count==0], msgs_duplicate: [count==0], msgs_announced: [count==0], msgs_received: [count>100]}
scenarios:
  listeners: {executor: constant-vus, vus: 10, duration: 1500ms, exec: session, hold: 400ms}
  talkers: {executor: constant-arrival-rate, rate: 100, duration: 1500ms, preAllocatedVUs: 100}
`)
			failed := o.failed()
			if len(failed) > 1 || tc.failed != "" && !failed[tc.failed] || tc.failed == "" && len(failed) > 0 {
				t.Errorf("failed: %v, want %s\n%s%s", failed, tc.failed, o.stdout, o.stderr)
			}
			if expected, missing := o.count("msgs_expected"), o.count("msgs_lost")+o.count("msgs_announced"); expected != o.count("msgs_received")+missing {
				t.Errorf("%v expected, %v received, %v missing", expected, o.count("msgs_received"), missing)
			}
		})
	}
}

func TestShortcuts(t *testing.T) {
	t.Parallel()
	s := newFaulty(t, faulty.Faults{})
	k := &k6Run{dir: t.TempDir()}
	plain := k.write(t, "s.yaml", strings.Replace(population, "publish: {payload: 64}", "publish: {payload: 64, rate: 1000}\nduration: 300ms", 1))
	many := k.write(t, "m.yaml", population+"scenarios: {a: {executor: shared-iterations, vus: 2, iterations: 5, exec: request}, b: {executor: shared-iterations, iterations: 7}}\n")
	run := func(file string, args ...string) (o outcome) {
		report := file + strings.Join(args, "") + ".json"
		report = strings.ReplaceAll(report, ":", "")
		o = execute(t, append([]string{"run", "-q", "-e", "URL=" + s.URL, "--json", report, file}, args...)...)
		decodeFile(t, report, &o.report)
		wantExit(t, o, loadtest.ExitOK, "")
		return o
	}
	if o := run(plain, "-u", "5", "-i", "40"); o.part("iterations", "default") != 40 || o.report.Scenario.Scenarios["default"].VUs != 5 || o.count("pubs_sent") != 40 || o.report.Scenario.Connections != 20 {
		t.Errorf("-u -i: %+v", o.report.Scenario)
	}
	if o := run(plain, "-u", "1", "-s", "200ms:3", "-s", "300ms:0"); o.count("iterations") < 1 || o.report.Seconds < 0.5 || len(o.report.Scenario.Scenarios["default"].Stages) != 2 {
		t.Errorf("-s: %+v", o.report.Scenario)
	}
	if o := run(many, "-u", "2", "-d", "200ms", "--no-thresholds"); o.report.Scenario.Scenarios["default"].Executor != loadtest.ConstantVUs || o.count("reqs_due") < 2 || !strings.Contains(o.stderr, "override the scenarios") {
		t.Errorf("-u -d: %+v", o.report.Scenario)
	}
	if o := run(many); o.part("iterations", "a") != 5 || o.part("iterations", "b") != 7 {
		t.Errorf("without flags: %v", o.report.Metrics["iterations"].Counts)
	}
	for _, args := range [][]string{{"-i", "0"}, {"-s", "10"}, {"-s", "10:5"}, {"-s", "10s:-1"}, {"-i", "5", "-s", "1s:1"}, {"-u", "9", "-i", "5"}} {
		o := execute(t, append([]string{"run", "-e", "URL=" + s.URL, plain}, args...)...)
		wantExit(t, o, loadtest.ExitConfig, "")
	}
}
