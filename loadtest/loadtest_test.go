package loadtest

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/faulty"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

func noEnv(string) (string, bool) { return "", false }

func wantParseError(t *testing.T, text, want string) {
	t.Helper()
	s, err := Parse([]byte(text), noEnv)
	if err == nil {
		err = s.Validate()
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: error %v, want one with %q", text, err, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "empty",
		"url: [":                              "[1:",
		"\n\nconections: 5":                   "[3:1] unknown field",
		"publish: {rate: 5, speed: 4}":        "[1:20] unknown field",
		"connections: many":                   "[1:14]",
		"duration: 5":                         "[1:11] \"5\" is not a duration",
		"url: x\nurl: y":                      "[2:1]",
		"url: ${HOST}":                        "line 1: ${HOST} is not set",
		"url: ${A B}":                         "not the name of a variable",
		"thresholds: {msg_latency: [{a: 1}]}": "unknown field",
	} {
		wantParseError(t, text, want)
	}
}

// TestValidateTellsAllAtOnce has a fault in every part of a scenario.
func TestValidateTellsAllAtOnce(t *testing.T) {
	s, err := Parse([]byte(`
url: wss:/example.com/ws
token: "a b"
connections: 0
connect_rate: 0
handshakes: 0
connect_timeout: 0s
local_addresses: [here]
channels: {count: 3, name: "a b", zipf: -1}
subscriptions: 4
publish: {rate: -1, burst: -1, path: sideways, payload: 10, publishers: 5}
requests: {rate: -1}
settle: -1s
warmup: -1s
drain: -1s
duration: 0s
cut: {by: server, share: 1.5, at: -1s, spread: -1s}
churn: {leave_rate: -1, renew_rate: -1, away: -1s}
poll: {url: "https://example.com", every: 1s}
stop_reading: {connections: 5, at: 3s, until: 2s, receive_buffer: -1}
summaryTrendStats: [p(999), rate]
thresholds: {nothing: ["count<1"], msg_latency: ["p(99)"], msgs_lost: [{threshold: count==0, abortOnFail: true}]}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Validate()
	if err == nil {
		t.Fatal("it is valid")
	}
	for _, want := range []string{
		"url:", "token:", "connections:", "connect_rate:", "handshakes:", "connect_timeout:", "local_addresses:", "channels.name:", "is no channel",
		"subscriptions: 4", "publish.rate:", "publish.path:", "publish.payload:", "publish.publishers:", "requests.rate:", "settle:", "warmup:",
		"cut.share:", "cut.at:", "cut.spread:", "reconnect must be true", "cut.by: the server ends all", "churn.leave_rate:", "churn.renew_rate:", "churn.away:", "churn: who leaves comes back", "none may leave",
		"channels.zipf:", "publish.burst:", "poll.url:", "poll: subscriptions: 4", "poll: requests, stop_reading", "stop_reading.connections: 5, but only", "stop_reading: from 3s until 2s", "receive_buffer: -1",
		"drain:", "duration:", "p(999)", "rate", "no metric nothing", "no comparison", "abortOnFail cannot end it",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the fault of %q is not told:\n%v", want, err)
		}
	}
}

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": ""}[name]
		return v, ok
	}
	got, err := expand([]byte("a: ${A} ${B:-two} ${EMPTY:-three} [${EMPTY}] $${A} $A\n  # ${NOT_LOOKED_AT}"), lookup)
	if want := "a: 1 two three [] ${A} $A\n  # ${NOT_LOOKED_AT}"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestShippedScenariosAreValid(t *testing.T) {
	files, err := filepath.Glob("scenarios/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "cmd/loadtest/template.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(text, noEnv)
		if err == nil {
			err = s.Validate()
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestReadmeListsAllMetrics keeps the table in README.md true.
func TestReadmeListsAllMetrics(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range swarm.NewMetrics().Set() {
		row := ""
		for line := range strings.Lines(string(text)) {
			if row == "" && strings.HasPrefix(line, "| `"+e.Name) || strings.Contains(line, "`, `"+e.Name+"` |") {
				row = line
			}
		}
		if !strings.Contains(row, "| "+e.Help+" |") || !strings.Contains(row, "| "+string(e.Metric.Kind())+" |") || strings.Contains(row, "†") != e.Late {
			t.Errorf("README.md says of %s: %q, want kind %s, late %v, %q", e.Name, row, e.Metric.Kind(), e.Late, e.Help)
		}
	}
}

func TestSources(t *testing.T) {
	loopback, far := netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("192.0.2.1:8080")
	for _, tc := range []struct {
		name        string
		connections int
		remote      netip.AddrPort
		locals      []string
		want        int // addresses; -1: an error
	}{
		{"few, loopback", 10_000, loopback, nil, 0},
		{"many, loopback", 15_000, loopback, nil, 2},
		{"very many, loopback", 300_000, loopback, nil, 22},
		{"few, far", 25_000, far, nil, 0},
		{"many, far", 30_000, far, nil, -1},
		{"many, far, listed", 30_000, far, []string{"192.0.2.7", "192.0.2.8"}, 2},
		{"too many for those listed", 60_000, far, []string{"192.0.2.7", "192.0.2.8"}, -1},
	} {
		s := NewScenario()
		s.Connections, s.LocalAddresses = tc.connections, tc.locals
		got, err := s.sources(tc.remote, 28_232)
		if tc.want < 0 {
			if err == nil || !strings.Contains(err.Error(), "ip_local_port_range") {
				t.Errorf("%s: %v, %v, want advice", tc.name, got, err)
			}
			continue
		}
		if err != nil || len(got) != tc.want {
			t.Errorf("%s: %v, %v, want %d addresses", tc.name, got, err, tc.want)
		}
		for i, a := range got {
			if !a.IsValid() || i > 0 && a == got[i-1] {
				t.Errorf("%s: addresses %v", tc.name, got)
			}
		}
	}
}

func TestGeneratorVerdict(t *testing.T) {
	at := time.Unix(1, 0)
	for _, tc := range []struct {
		cpu, delay, lag time.Duration // in 10 s; the lag of each publication
		want            string
	}{
		{time.Second, time.Second, time.Millisecond, VerdictValid},
		{9 * time.Second, 0, 0, VerdictSuspect},
		{10 * time.Second, 0, 0, VerdictInvalid},
		{0, 3 * time.Second, 0, VerdictSuspect},
		{0, 0, 20 * time.Millisecond, VerdictSuspect},
		{0, 0, 60 * time.Millisecond, VerdictInvalid},
		{9 * time.Second, 7 * time.Second, 60 * time.Millisecond, VerdictInvalid},
	} {
		m := swarm.NewMetrics()
		m.SendLag.Record(int64(tc.lag))
		g := judge(m, usage{at: at}, usage{at: at.Add(10 * time.Second), cpu: tc.cpu, delay: tc.delay})
		if g.Verdict != tc.want || (g.Verdict == VerdictValid) != (len(g.Reasons) == 0) {
			t.Errorf("%+v: %+v", tc, g)
		}
	}
	if g := judge(swarm.NewMetrics(), usage{}, usage{}); g.Verdict != "" {
		t.Errorf("without a steady phase the verdict is %s, want none", g.Verdict)
	}
}

func TestFormats(t *testing.T) {
	for ms, want := range map[float64]string{0: "0s", 0.0005: "500ns", 0.87462: "874.62µs", 1: "1ms", 12.345: "12.35ms", 1500: "1.5s", 125_000: "2m5s"} {
		if got := formatMS(ms); got != want {
			t.Errorf("%v ms is %q, want %q", ms, got, want)
		}
	}
	for n, want := range map[float64]string{12: "12 B", 41_900: "41.9 kB", 1.5e9: "1.5 GB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%v bytes are %q, want %q", n, got, want)
		}
	}
	for share, want := range map[float64]string{0: "[>" + strings.Repeat("-", 37) + "]", 0.5: "[" + strings.Repeat("=", 19) + ">" + strings.Repeat("-", 18) + "]", 1: "[" + strings.Repeat("=", 38) + "]"} {
		if got := bar(share); got != want {
			t.Errorf("%v is %s, want %s", share, got, want)
		}
	}
}

func testScenario(url string) *Scenario {
	s := NewScenario()
	s.URL, s.Connections, s.Reconnect = url, 20, true
	s.Channels.Count, s.Subscriptions = 4, 2
	s.Publish.Rate, s.Publish.IDs, s.Requests.Rate = 100, true, 20
	s.Settle, s.Warmup, s.Duration = Duration(10*time.Millisecond), Duration(100*time.Millisecond), Duration(time.Second)
	s.Thresholds = map[string][]Assertion{"msgs_lost": {{Threshold: "count==0"}}, "msgs_duplicate": {{Threshold: "count==0"}}, "ws_closed{code:1006}": {{Threshold: "count==20"}}}
	return s
}

// TestRun goes through a whole run in this process, with a cut in the middle.
func TestRun(t *testing.T) {
	server, err := faulty.Start("", faulty.Faults{CutAt: 60})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var progress, phases, out bytes.Buffer
	s := testScenario(server.URL)
	s.LocalAddresses = []string{"127.0.0.2", "127.0.0.3"}
	report, err := Run(t.Context(), s, Options{Name: "test", Progress: &progress, Terminal: true, Phases: &phases})
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []func() error{
		func() error { return report.WriteSummary(&out, true) },
		func() error { return report.WriteJSON(&out) },
		func() error { return report.WriteExport(&out) },
		func() error { return report.WriteLedger(&out) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range report.Thresholds {
		if !r.OK {
			t.Errorf("%s %s: %v %s", r.Metric, r.Threshold, r.Value, r.Why)
		}
	}
	for _, want := range []string{"delivery_ratio..........: 100.0000%", "  { code:1006 }", "20 of 20 connections opened and subscribed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the summary does not say %q", want)
		}
	}
	if !strings.Contains(progress.String(), "steady") || strings.Count(phases.String(), "\n") != 7 {
		t.Errorf("progress %q\nphases %q", &progress, &phases)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestRunRefuses(t *testing.T) {
	s := NewScenario()
	s.Connections = 0
	if _, err := Run(t.Context(), s, Options{}); !errors.Is(err, ErrConfig) {
		t.Errorf("%v, want ErrConfig", err)
	}
	s = NewScenario()
	s.URL = "ws://no-such-host.invalid/"
	if _, err := Run(t.Context(), s, Options{}); !errors.Is(err, ErrStart) {
		t.Errorf("%v, want ErrStart", err)
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	server, err := faulty.Start("", faulty.Faults{Silent: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	report, err := Run(ctx, testScenario(server.URL), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Interrupted || report.ExitCode != ExitInterrupted {
		t.Errorf("interrupted %v, exit %d", report.Interrupted, report.ExitCode)
	}
}
