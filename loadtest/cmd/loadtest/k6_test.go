package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// k6Run is one run with most flags that k6 has too, which many rows of the table look at.
type k6Run struct {
	outcome
	dir    string
	file   string
	url    string
	dead   string
	many   outcome          // of the scenario of that name, without a terminal
	lines  []map[string]any // of --out json
	export struct {
		Metrics map[string]map[string]any
	}
}

// many has each executor once, one behind the other in part.
const many = `
url: ${URL}
connections: 4
settle: 0s
drain: 5s
ping: 100ms
checks: {upgraded: connect.status==101, never: ack.duration<0}
thresholds:
  iterations{scenario:shared}: [count==12]
  iteration_duration{kind:rated}: [max<20000]
  msg_latency{scenario:each}: [max<20000]
scenarios:
  shared: {executor: shared-iterations, vus: 3, iterations: 12}
  each: {executor: per-vu-iterations, vus: 3, iterations: 5, startTime: 300ms}
  constant: {executor: constant-vus, vus: 2, duration: 500ms, minIterationDuration: 100ms, exec: request}
  ramping: {executor: ramping-vus, startVUs: 1, stages: [{duration: 300ms, target: 3}, {duration: 300ms, target: 0}], exec: session}
  rate: {executor: constant-arrival-rate, rate: 50, duration: 1s, preAllocatedVUs: 40, tags: {kind: rated}}
  climbing: {executor: ramping-arrival-rate, timeUnit: 2s, stages: [{duration: 1s, target: 100}], preAllocatedVUs: 40, tags: {kind: rated}}
  held: {executor: constant-vus, vus: 1, duration: 100ms, gracefulStop: 100ms, exec: session, hold: 60s}
`

func newK6Run(t *testing.T) *k6Run {
	r := &k6Run{dir: t.TempDir(), url: newFaulty(t, faulty.Faults{}).URL}
	gone := newFaulty(t, faulty.Faults{})
	r.dead = gone.URL
	gone.Close()
	r.file = r.write(t, "s.yaml", strings.NewReplacer("thresholds:", "thresholds:\n  msg_latency{phase:warmup}: [max<20000]\n  msg_latency{window:1s}: [max<20000]\n  pubs_sent: [count<1]").Replace(scenario))
	out, export, report := filepath.Join(r.dir, "o.json"), filepath.Join(r.dir, "e.json"), filepath.Join(r.dir, "r.json")
	sides := filepath.Join(r.dir, "many.json")
	r.many = execute(t, "run", "-e", "URL="+r.url, "--json", sides, r.write(t, "many.yaml", many))
	decodeFile(t, sides, &r.many.report)
	r.outcome = execute(t, "run", "-u", "10", "-d", "2s", "-e", "URL="+r.url, "--tag", "build=7", "--local-ips", "127.0.0.2,127.0.0.3", "-v", "--no-color",
		"--summary-trend-stats", "avg,p(99.9),count", "--summary-export", export, "--out", "json="+out, "--json", report, r.file)
	decodeFile(t, report, &r.report)
	decodeFile(t, export, &r.export)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err, r.stderr)
	}
	for line := range strings.Lines(string(text)) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		r.lines = append(r.lines, v)
	}
	return r
}

func (r *k6Run) write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// again runs the scenario in another way.
func (r *k6Run) again(t *testing.T, args ...string) outcome {
	t.Helper()
	return execute(t, append([]string{"run", "-e", "URL=" + r.url, "-d", "1s", "-q"}, args...)...)
}

func want(t *testing.T, ok bool, o outcome) {
	t.Helper()
	if !ok {
		t.Errorf("not as the table says; exit %d\n%s%s", o.exit, o.stdout, o.stderr)
	}
}

// points are the values of a metric in --out json, with the tags of the last one.
func (r *k6Run) points(metric string) (values []float64, tags map[string]any) {
	for _, line := range r.lines {
		if data, ok := line["data"].(map[string]any); ok && line["type"] == "Point" && line["metric"] == metric {
			values, tags = append(values, data["value"].(float64)), data["tags"].(map[string]any)
		}
	}
	return values, tags
}

// TestForK6Users checks each row of the table in README.md, and that there is none without a check.
func TestForK6Users(t *testing.T) {
	t.Parallel()
	r := newK6Run(t)
	good := r.write(t, "good.yaml", scenario)
	says := func(texts ...string) func(*testing.T) {
		return func(t *testing.T) {
			for _, text := range texts {
				want(t, strings.Contains(r.stdout, text), r.outcome)
			}
		}
	}
	exits := func(exit int, text string, args ...string) func(*testing.T) {
		return func(t *testing.T) {
			o := execute(t, args...)
			want(t, o.exit == exit && strings.Contains(o.stdout+o.stderr, text), o)
		}
	}
	passes := func(args ...string) func(*testing.T) {
		return func(t *testing.T) { o := r.again(t, args...); want(t, o.exit == 0 || o.busy(0), o) }
	}
	iterated := func(scenario string, least, most int64) func(*testing.T) {
		return func(t *testing.T) {
			n := r.many.part("iterations", scenario) + r.many.part("dropped_iterations", scenario)
			want(t, n >= least && n <= most, r.many)
		}
	}
	trends := func(metric string, least float64) bool { return r.many.report.Metrics[metric].Values["count"] >= least }
	rows := map[string]func(*testing.T){
		"`-i N`": func(t *testing.T) {
			o := r.again(t, "-u", "2", "-i", "9", r.write(t, "i.yaml", population))
			want(t, (o.exit == 0 || o.busy(0)) && strings.Contains(o.stdout, "scenario default: 9 iterations"), o)
		},
		"`-s 10s:100`": func(t *testing.T) {
			o := execute(t, "run", "-e", "URL="+r.url, "-s", "200ms:3", "-s", "200ms:0", r.write(t, "s2.yaml", population))
			want(t, (o.exit == 0 || o.busy(0)) && strings.Contains(o.stderr, "* default: Up to 3 looping VUs for 400ms over 2 stages"), o)
		},
		"`-u` and `-d` override `scenarios`": func(t *testing.T) {
			o := execute(t, "run", "-e", "URL="+r.url, "-u", "2", "-d", "200ms", "--no-thresholds", filepath.Join(r.dir, "many.yaml"))
			want(t, strings.Contains(o.stderr, "override the scenarios") && strings.Contains(o.stderr, "* default: 2 looping VUs for 200ms"), o)
		},
		"`scenarios`": func(t *testing.T) {
			want(t, len(r.many.report.Loads) == 7 && strings.Contains(r.many.stderr, "scenarios: (100.00%) 7 scenarios, 92 max VUs"), r.many)
		},
		"`shared-iterations`":     iterated("shared", 12, 12),
		"`per-vu-iterations`":     iterated("each", 15, 15),
		"`constant-vus`":          iterated("constant", 2, 12),
		"`ramping-vus`":           iterated("ramping", 1, 3),
		"`constant-arrival-rate`": iterated("rate", 50, 50),
		"`ramping-arrival-rate`":  iterated("climbing", 25, 25),
		"`startTime`": func(t *testing.T) {
			want(t, strings.Contains(r.many.stderr, "exec: publish, startTime: 300ms, gracefulStop: 30s)"), r.many)
			i := strings.Index(r.many.stderr, "each ")
			want(t, i > 0 && strings.Contains(r.many.stderr, "3 VUs  waiting for 300ms") || r.many.report.Seconds >= 0.3, r.many)
		},
		"`gracefulStop`, `gracefulRampDown`": func(t *testing.T) {
			want(t, r.many.report.Loads[3].Name == "held" && r.many.report.Loads[3].Interrupted == 1, r.many)
		},
		"`tags` of a scenario": func(t *testing.T) {
			want(t, strings.Contains(r.many.stdout, "iteration_duration{kind:rated}\n    ✓ 'max<20000'"), r.many)
		},
		"`check()`": func(t *testing.T) {
			want(t, strings.Contains(r.many.stdout, "    checks_succeeded...: ") && strings.Contains(r.many.stdout, "    ✓ upgraded\n") && strings.Contains(r.many.stdout, "    ✗ never\n      ↳   0% — ✓ 0 / ✗ "), r.many)
		},
		"a failed check does not fail the run": func(t *testing.T) {
			for _, threshold := range r.many.report.Thresholds {
				want(t, threshold.OK, r.many)
			}
			want(t, r.many.report.Metrics["checks"].Passes["never"] == 0 && r.many.report.Metrics["checks"].Counts["never"] > 0, r.many)
		},
		"metrics `iterations` and `iteration_duration`": func(t *testing.T) {
			want(t, r.many.count("iterations") >= 70 && trends("iteration_duration", 70), r.many)
		},
		"metric `dropped_iterations`": func(t *testing.T) {
			o := execute(t, "run", "-q", "-e", "URL="+r.url, r.write(t, "d2.yaml", population+"scenarios: {it: {executor: constant-arrival-rate, rate: 1000, duration: 500ms, preAllocatedVUs: 1, exec: session, hold: 1s}}"))
			want(t, strings.Contains(o.stdout, "dropped_iterations") && strings.Contains(o.stderr, "raise maxVUs"), o)
		},
		"metrics `vus` and `vus_max`": func(t *testing.T) {
			want(t, r.many.report.Metrics["vus_max"].Values["max"] == 92 && r.many.report.Metrics["vus"].Values["max"] > 0, r.many)
		},
		"metrics `ws_sessions` and `ws_session_duration`": func(t *testing.T) {
			want(t, r.many.count("ws_sessions") >= 92 && trends("ws_session_duration", 92), r.many)
		},
		"metrics `ws_msgs_sent` and `ws_msgs_received`": func(t *testing.T) {
			want(t, r.many.count("ws_msgs_sent") >= 100 && r.many.count("ws_msgs_received") >= 400, r.many)
		},
		"metric `ws_ping`": func(t *testing.T) { want(t, trends("ws_ping", 4), r.many) },
		"progress bars": func(t *testing.T) {
			want(t, strings.Contains(r.many.stderr, "\nrunning (") && strings.Contains(r.many.stderr, "complete and 1 interrupted iterations") &&
				strings.Contains(r.many.stderr, "shared   ✓ [ 100% ] 0/3 VUs  "), r.many)
		},
		"`k6 run script.js`": passes(r.write(t, "s.json", `{"url": "${URL}", "connections": 5, "warmup": "0s", "settle": "0s", "publish": {"rate": 20}}`)),
		"`k6 new`":           exits(0, "thresholds:", "new"),
		"`k6 inspect`":       exits(0, `"needs": {`, "inspect", "-e", "URL=ws://127.0.0.1:9/ws", good),
		"`k6 archive`": func(t *testing.T) {
			packed := filepath.Join(r.dir, "a.tar")
			o := execute(t, "archive", "-O", packed, "-e", "URL="+r.url, good)
			want(t, o.exit == 0, o)
			o = execute(t, "run", "-d", "1s", "-q", packed)
			want(t, o.exit == 0 || o.busy(0), o)
		},
		"`k6 version`":                       exits(0, "loadtest ", "version"),
		"`k6 help`":                          exits(0, "Usage:", "help"),
		"a key that is not known is ignored": exits(104, "[2:1]", "run", r.write(t, "key.yaml", "url: ws://127.0.0.1/ws\nvuss: 5\n")),
		"`-u N`":                             func(t *testing.T) { want(t, r.report.Scenario.Connections == 10, r.outcome) },
		"`-d 30s`":                           func(t *testing.T) { want(t, r.report.Scenario.Duration.String() == "2s", r.outcome) },
		"`-e K=V`":                           func(t *testing.T) { want(t, r.report.Scenario.URL == r.url, r.outcome) },
		"`--tag K=V`": func(t *testing.T) {
			_, tags := r.points("msgs_received")
			want(t, r.report.Tags["build"] == "7" && tags["build"] == "7", r.outcome)
		},
		"`-q`": func(t *testing.T) {
			o := r.again(t, good)
			want(t, !strings.Contains(o.stderr, "steady") && strings.Contains(r.stderr, "steady"), o)
		},
		"`--local-ips`": func(t *testing.T) {
			want(t, len(r.report.Scenario.LocalAddresses) == 2 && r.count("msgs_received") > 0, r.outcome)
		},
		"`-v`":         func(t *testing.T) { want(t, strings.Contains(r.stderr, "steady"), r.outcome) },
		"`--no-color`": func(t *testing.T) { want(t, !strings.Contains(r.stdout, "\x1b"), r.outcome) },
		"`--insecure-skip-tls-verify`": func(t *testing.T) {
			url, _ := newTLS(t, newFaulty(t, faulty.Faults{}))
			o := r.again(t, "--insecure-skip-tls-verify", "--url", url, "--no-thresholds", r.file)
			want(t, o.exit == 0 || o.busy(0), o)
		},
		"`--no-thresholds`": passes("--no-thresholds", r.file),
		"`--summary-trend-stats`": func(t *testing.T) {
			line := lineOf(r.stdout, "msg_latency.")
			want(t, strings.Contains(line, "avg=") && strings.Contains(line, "p(99.9)=") && strings.Contains(line, "count=") && !strings.Contains(line, "p(95)"), r.outcome)
		},
		"`--summary-export FILE`": func(t *testing.T) {
			crossed, _ := r.export.Metrics["pubs_sent"]["thresholds"].(map[string]any)
			held, _ := r.export.Metrics["msgs_lost"]["thresholds"].(map[string]any)
			want(t, crossed["count<1"] == true && held["count==0"] == false, r.outcome)
		},
		"`--out json=FILE`": func(t *testing.T) {
			values, _ := r.points("msgs_received")
			sum := 0.0
			for _, v := range values {
				sum += v
			}
			want(t, len(values) >= 2 && sum == r.count("msgs_received") && r.lines[0]["type"] == "Metric", r.outcome)
		},
		"`--out NAME` of no output":        exits(104, "there is no output", "run", "--out", "influxdb=x", "-e", "URL="+r.url, good),
		"threshold `p(99)<50`":             says("'p(99)<20000' p(99)=", "(95% between "),
		"threshold on `metric{tag:value}`": says("msg_latency{phase:warmup}", "msg_latency{window:1s}"),
		"`abortOnFail`, `delayAbortEval`": func(t *testing.T) {
			o := execute(t, "run", "-q", "-e", "URL="+r.url, "-d", "60s", r.write(t, "abort.yaml", scenario+"  pub_ack: [{threshold: max<0, abortOnFail: true, delayAbortEval: 1s}]\n"))
			want(t, o.exit == 99 && strings.Contains(o.stdout, "ended by the threshold pub_ack max<0"), o)
		},
		"a threshold without samples passes":      exits(99, "'p(99)<20000' no samples", "run", "-q", "-e", "URL="+r.dead, good),
		"a bad threshold is 104":                  exits(104, "no comparison", "run", r.write(t, "bad.yaml", "thresholds: {msg_latency: [p(99)]}")),
		"`█ THRESHOLDS`, `█ TOTAL RESULTS`":       says("  █ THRESHOLDS\n", "  █ TOTAL RESULTS\n", "    ✗ 'count<1' count=", "    ✓ 'count==0' count=0", "delivery_ratio.."),
		"`ws_connecting`":                         func(t *testing.T) { want(t, r.report.Metrics["ws_connecting"].Values["count"] == 10, r.outcome) },
		"metrics `data_sent` and `data_received`": func(t *testing.T) { want(t, r.count("data_sent") > 0 && r.count("data_received") > 0, r.outcome) },
		"summary on standard output, progress on standard error": func(t *testing.T) {
			want(t, strings.Contains(r.stderr, "10/10 connections") && !strings.Contains(r.stderr, "TOTAL RESULTS") && !strings.Contains(r.stdout, "10/10 connections"), r.outcome)
		},
		"exit code 0":   passes(good),
		"exit code 99":  func(t *testing.T) { want(t, r.exit == loadtest.ExitFailed, r.outcome) },
		"exit code 104": exits(104, "not a duration", "run", r.write(t, "d.yaml", "duration: 5")),
		"exit code 105": func(t *testing.T) { testInterrupted(t) },
		"exit code 107": exits(107, "is not known", "run", r.write(t, "h.yaml", "url: ws://no-such-host.invalid/ws")),
		"exit code 255": exits(255, "no scenario of this name", "run", filepath.Join(r.dir, "none.yaml")),
	}
	table := k6Rows(t)
	for _, row := range table {
		if rows[row] == nil {
			t.Errorf("nothing checks the row %s", row)
			continue
		}
		t.Run(row, rows[row])
	}
	for row := range rows {
		if !slices.Contains(table, row) {
			t.Errorf("README.md has no row %s", row)
		}
	}
}

// lineOf is the first line that begins with a prefix, blanks aside.
func lineOf(text, prefix string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), prefix) {
			return line
		}
	}
	return ""
}

// k6Rows are the first cells of the table for k6 users.
func k6Rows(t *testing.T) (rows []string) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| in k6 | here |\n|---|---|\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 2 {
			break
		}
		rows = append(rows, strings.TrimPrefix(cells[0], "| "))
	}
	if len(rows) < 40 {
		t.Fatalf("%d rows in the table of README.md", len(rows))
	}
	return rows
}
