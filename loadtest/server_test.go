package loadtest

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/faulty"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// watched is a small scenario that watches this process.
func watched(t *testing.T) *Scenario {
	t.Helper()
	server, err := faulty.Start("", faulty.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := NewScenario()
	s.URL, s.Connections, s.Publish.Rate = server.URL, 5, 50
	s.Settle, s.Warmup, s.Duration = 0, 0, Duration(1200*time.Millisecond)
	s.Target = Target{PIDs: []string{"me=" + strconv.Itoa(os.Getpid()), "again=" + strconv.Itoa(os.Getpid())}}
	return s
}

// counted counts what a run's snapshots have of the server.
type counted struct{ samples, names int }

func (s *counted) Start(Info) error { return nil }

func (s *counted) Second(snap metric.Snapshot) error {
	for _, x := range snap.Samples {
		if strings.HasPrefix(x.Name, "server_") {
			s.names++
			s.samples += int(x.N)
		}
	}
	return nil
}

func (s *counted) Stop(*Report) error { return nil }

// TestServerMetrics: thresholds find the server's metrics, by target and by window too, and what nobody watches does not pass.
func TestServerMetrics(t *testing.T) {
	s := watched(t)
	s.Thresholds = map[string][]Assertion{
		"server_rss":            {{Threshold: "max<1"}},
		"server_rss{target:me}": {{Threshold: "avg<1"}},
		"server_rss{window:1s}": {{Threshold: "max<1"}},
		"server_redis_cpu":      {{Threshold: "max<1000"}},
		"server_unread":         {{Threshold: "count==0"}},
		"server_connections":    {{Threshold: "min>=0"}},
		"server_handler":        {{Threshold: "p(99)<1000"}},
	}
	var seen counted
	rep, err := Run(t.Context(), s, Options{Outputs: []Output{&seen}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Thresholds {
		want := metric.Failed
		if r.Metric == "server_unread" {
			want = metric.Passed
		}
		if r.Outcome != want {
			t.Errorf("%s %s: %s, %s", r.Metric, r.Threshold, r.Outcome, r.Why)
		}
		if unwatched := r.Metric == "server_redis_cpu" || r.Metric == "server_connections"; unwatched && r.Why != "no samples" {
			t.Errorf("%s: %s", r.Metric, r.Why)
		}
	}
	if len(rep.Thresholds) != 7 || seen.names == 0 {
		t.Errorf("%d thresholds, %d samples named", len(rep.Thresholds), seen.names)
	}
	if _, ok := rep.Metrics["server_cpu{target:again}"]; !ok {
		t.Error("no part of server_cpu for a target")
	}
}

func TestTargetThatIsNotThere(t *testing.T) {
	s := watched(t)
	s.Target = Target{PIDs: []string{"4194305"}} // above the largest id
	if _, err := Run(t.Context(), s, Options{}); !errors.Is(err, ErrStart) || !strings.Contains(err.Error(), "no such process") {
		t.Error(err)
	}
	s.Target = Target{PIDs: []string{"x"}, Read: map[string]string{"y": "z"}}
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "target.pids") || !strings.Contains(err.Error(), "target.read") {
		t.Error(err)
	}
}

func TestTargetInAScenario(t *testing.T) {
	s, err := Parse([]byte("target: {metrics: [\"http://a/m\"], pids: [12, b=13], redis: [\"redis://c\"], read: {server_x: y}}\nthresholds: {server_x: [value<1], \"server_cpu{target:b}\": [max<1]}"), noEnv)
	if err == nil {
		err = s.Validate()
	}
	if err != nil || len(s.Target.PIDs) != 2 || s.Target.PIDs[0] != "12" {
		t.Error(err, s)
	}
}
