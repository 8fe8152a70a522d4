package loadtest

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// TestCutByServer has the server end all connections, those that publish too: they count as cut, not as closed, and come back.
func TestCutByServer(t *testing.T) {
	var subscribed atomic.Int64
	server, err := faulty.Start("", faulty.Faults{Subscribed: func() { subscribed.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := testScenario(server.URL)
	s.Requests.Rate, s.Thresholds = 0, map[string][]Assertion{"msgs_lost": {{Threshold: "count==0"}}, "ws_closed": {{Threshold: "count==0"}}}
	s.Cut = Cut{By: CutByServer, Share: 1, At: Duration(100 * time.Millisecond)}
	s.Duration, s.Drain = Duration(10*time.Minute), Duration(time.Minute)
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	all := int64(s.Connections * s.Subscriptions)
	report, err := Run(ctx, s, Options{OnCut: func(context.Context) error {
		before := subscribed.Load()
		server.CutAll()
		for subscribed.Load() < before+all {
			select {
			case <-t.Context().Done():
				return t.Context().Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
		enough()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if cut := report.Metrics["ws_cut"].Counts; !maps.Equal(cut, map[string]int64{"1006": 20}) {
		t.Errorf("cut: %v, want 20 with 1006", cut)
	}
	if back := report.Metrics["ws_reconnect_duration"].Values["count"]; back < 1 || back > 20 {
		t.Errorf("%v are back", back)
	}
	for _, r := range report.Thresholds {
		if !r.OK {
			t.Errorf("%s %s: %v %s", r.Metric, r.Threshold, r.Value, r.Why)
		}
	}
}

func TestCutThatFails(t *testing.T) {
	server, err := faulty.Start("", faulty.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := testScenario(server.URL)
	s.Thresholds, s.Requests.Rate = nil, 0
	s.Cut, s.Duration = Cut{Share: 0.5}, Duration(200*time.Millisecond)
	report, err := Run(t.Context(), s, Options{OnCut: func(context.Context) error { return errors.New("nobody there") }})
	if err != nil {
		t.Fatal(err)
	}
	last := report.Evidence[len(report.Evidence)-1]
	if report.ExitCode != ExitFailed || last.OK || !strings.HasSuffix(last.Text, "nobody there") {
		t.Errorf("exit %d, %+v", report.ExitCode, last)
	}
}
