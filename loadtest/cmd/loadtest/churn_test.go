package main

import (
	"cmp"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
	"github.com/millracehq/millrace/loadtest/internal/polling"
)

var churn = patient + `  gaps: ["count==0"]
  churn_failed: ["count==0"]
subscriptions: 2
churn: {leave_rate: 30, away: 100ms, renew_rate: 50}
`

// patient is a scenario that no stall of the machine can fail: its waits end by what comes.
var patient = strings.Replace(scenario, "connect_timeout: 1s", "connect_timeout: ${PATIENCE:-60s}", 1)

// TestChurn has clients come and go: a good server loses nothing, and what others do wrong shows.
func TestChurn(t *testing.T) {
	for _, tc := range []struct {
		name     string
		faults   faulty.Faults
		drain    string // what is lost is waited for
		patience string
		failed   []string
	}{
		{name: "good"},
		{name: "does not close", faults: faulty.Faults{KeepOpen: true}, patience: "1s", failed: []string{"churn_failed"}},
		{name: "delivers what was unsubscribed", faults: faulty.Faults{LateUnsub: true}, failed: []string{"msgs_misrouted"}},
		{name: "loses", faults: faulty.Faults{Resume: faulty.ResumeLoses}, drain: "500ms", failed: []string{"msgs_lost", "delivery_ratio"}},
		{name: "gaps", faults: faulty.Faults{Resume: faulty.ResumeGap}, drain: "500ms", failed: []string{"gaps"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := runScenario(t, newFaulty(t, tc.faults).URL, churn, "RECONNECT=true", "IDS=true", "DURATION=1s", "DRAIN="+cmp.Or(tc.drain, "60s"), "PATIENCE="+cmp.Or(tc.patience, "60s"))
			failed := o.failed()
			for _, m := range tc.failed {
				if !failed[m] {
					t.Errorf("the threshold on %s holds; it should not", m)
				}
			}
			if len(tc.failed) == 0 {
				if len(failed) > 0 || o.exit != 0 && !o.busy(0) {
					t.Errorf("exit %d, failed %v", o.exit, failed)
				}
				left, back, renewed := o.count("churn_left"), o.count("churn_back"), o.count("churn_renewed")
				if left == 0 || back != left || renewed == 0 {
					t.Errorf("%v left, %v came back, %v subscriptions were renewed; want some, and all of them back", left, back, renewed)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", o.stdout, o.stderr)
			}
		})
	}
}

// TestManyRoomsAndBursts runs the shipped scenarios, small, and counts.
func TestManyRoomsAndBursts(t *testing.T) {
	for name, env := range map[string][]string{
		"many-rooms": {"CONNECTIONS=100", "CHANNELS=60", "RATE=300", "PUBLISHERS=10"},
		"bursts":     {"CONNECTIONS=50", "CHANNELS=10", "RATE=200", "BURST=40"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, ok := loadtest.ShippedScenario(name)
			if !ok {
				t.Fatal("it is not shipped")
			}
			o := runScenario(t, newFaulty(t, faulty.Faults{}).URL, strings.NewReplacer("warmup: 5s", "warmup: 200ms", "settle: 2s", "settle: 50ms\nconnect_timeout: 60s").Replace(string(text)),
				append(env, "DURATION=1s", "P99=20000", "DRAIN=60s")...)
			wantExit(t, o, 0, "")
			want := map[string]float64{"many-rooms": 300, "bursts": 200}[name]
			if n := o.count("pubs_acked"); n != want {
				t.Errorf("%v publications, want %v", n, want)
			}
			// Sums over channels with as many publications each: all subscriptions, whoever has them.
			wantMsgs := map[string]float64{"many-rooms": 300 / 60 * 200, "bursts": 200 / 10 * 50}[name]
			if n := o.count("msgs_received"); n != wantMsgs {
				t.Errorf("%v deliveries, want %v", n, wantMsgs)
			}
		})
	}
}

// TestOnCut runs a command at the cut, which is of nobody here; one that fails fails the run.
func TestOnCut(t *testing.T) {
	t.Parallel()
	s := newFaulty(t, faulty.Faults{})
	dir := t.TempDir()
	file, made := filepath.Join(dir, "s.yaml"), filepath.Join(dir, "made")
	if err := os.WriteFile(file, []byte(patient+"cut: {at: 100ms, share: 0.01}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"run", file, "-q", "-e", "URL=" + s.URL, "-e", "RECONNECT=true", "-e", "IDS=true", "-e", "DURATION=500ms", "-e", "DRAIN=60s", "--no-thresholds"}
	o := execute(t, append(args, "--on-cut", "exit 3")...)
	wantExit(t, o, loadtest.ExitFailed, "")
	wantOut(t, o, "✗ what was to happen at the cut failed: exit 3: exit status 3")
	wantExit(t, execute(t, append(args, "--on-cut", "echo done > "+made)...), loadtest.ExitOK, "")
	if _, err := os.Stat(made); err != nil {
		t.Error(err)
	}
}

// TestPolling has those that do not publish poll a board: they get everything, late; and what the server does wrong shows.
func TestPolling(t *testing.T) {
	text, _ := loadtest.ShippedScenario("polling-baseline")
	yaml := strings.NewReplacer("settle: 2s", "settle: 50ms\nconnect_timeout: 60s").Replace(string(text))
	for _, every := range []string{"200ms", "0s"} { // 0: they subscribe
		t.Run(every, func(t *testing.T) {
			t.Parallel()
			board := new(polling.Board)
			s := newFaulty(t, faulty.Faults{Published: board.Add})
			poll := httptest.NewServer(board)
			t.Cleanup(poll.Close)
			o := runScenario(t, s.URL, yaml, "POLL="+poll.URL+"/poll", "EVERY="+every, "WARMUP=300ms", "MAX=30000", "DURATION=1s", "CONNECTIONS=60", "CHANNELS=5", "PUBLISHERS=10", "RATE=50")
			wantExit(t, o, loadtest.ExitOK, "")
			pushed := every == "0s"
			if n := o.count("msgs_received"); n != 50/5*60 && pushed || n != 50/5*50 && !pushed {
				t.Errorf("%v deliveries", n)
			}
			stale := o.report.Metrics["msg_latency"].Values["avg"]
			if polls := o.count("poll_latency"); pushed != (polls == 0) || !pushed && stale < 50 {
				t.Errorf("%v polls, publications %v ms old", polls, stale)
			}
		})
	}
}

// TestPollServerThatIsNone: nobody passes when what answers is no poll server.
func TestPollServerThatIsNone(t *testing.T) {
	t.Parallel()
	text, _ := loadtest.ShippedScenario("polling-baseline")
	s := newFaulty(t, faulty.Faults{})
	poll := httptest.NewServer(nil) // 404
	defer poll.Close()
	yaml := strings.NewReplacer("settle: 2s", "settle: 50ms\nconnect_timeout: 60s", "drain: 12s", "drain: 1s").Replace(string(text))
	o := runScenario(t, s.URL, yaml, "POLL="+poll.URL+"/poll", "EVERY=200ms", "WARMUP=300ms", "DURATION=1s", "CONNECTIONS=20", "CHANNELS=2", "PUBLISHERS=2")
	wantExit(t, o, loadtest.ExitFailed, "")
	if n := o.report.Metrics["polls_failed"].Counts["404"]; n == 0 || !o.failed()["polls_failed"] {
		t.Errorf("polls that failed: %v", o.report.Metrics["polls_failed"].Counts)
	}
}
