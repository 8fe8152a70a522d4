package main

import (
	"maps"
	"testing"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

const storm = scenario + `  gaps: ["count==0"]
  ws_cut: ["count==18"]
cut: {at: 400ms, share: 1, spread: ${SPREAD:-0s}}
`

// TestStorm cuts all who do not publish: whatever a server does wrong when they come back must show.
func TestStorm(t *testing.T) {
	for _, tc := range []struct {
		name   string
		resume string
		env    []string
		failed map[string]bool
		caught float64 // up
	}{
		{name: "good", caught: 18},
		{name: "spread", env: []string{"SPREAD=500ms"}, caught: 18},
		{name: "gaps", resume: faulty.ResumeGap, env: []string{"SPREAD=500ms", "DRAIN=1s"}, failed: map[string]bool{"gaps": true, "msgs_announced": true, "delivery_ratio": true}},
		{name: "loses", resume: faulty.ResumeLoses, env: []string{"SPREAD=500ms", "DRAIN=1s"}, failed: map[string]bool{"msgs_lost": true, "delivery_ratio": true}},
		{name: "doubles", resume: faulty.ResumeDoubles, failed: map[string]bool{"msgs_duplicate": true}, caught: 18},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newFaulty(t, faulty.Faults{Resume: tc.resume})
			o := runScenario(t, s.URL, storm, append([]string{"RECONNECT=true", "IDS=true", "DURATION=1400ms", "DRAIN=10s"}, tc.env...)...)
			if failed := o.failed(); !maps.Equal(failed, tc.failed) {
				t.Errorf("failed: %v, want %v\n%s%s", failed, tc.failed, o.stdout, o.stderr)
			}
			if n := o.count("ws_reconnect_duration"); n != 18 {
				t.Errorf("%v are back, want 18", n)
			}
			if n := o.count("ws_caught_up"); n != tc.caught && (tc.caught > 0 || n == 18) {
				t.Errorf("%v have caught up, want %v", n, tc.caught)
			}
		})
	}
}

// slowReaders: 4 of 20 connections do not read for 1.5 s, in which 90 publications of 16 kB come for each.
const slowReaders = `
url: ${URL}
connections: 20
connect_timeout: 5s
channels: {count: 2}
publish: {rate: 120, payload: 16000}
reconnect: true
settle: 50ms
warmup: 200ms
duration: 2500ms
drain: 3s
stop_reading: {connections: 4, at: 100ms, until: 1600ms, receive_buffer: 65536}
thresholds:
  delivery_ratio: ["rate===1"]
  gaps: ["count==0"]
  ws_closed: ["count==0"]
  stopped_msgs{what:lost}: ["count==${LOST:-0}"]
  stopped_msgs{what:duplicate}: ["count==0"]
  stopped_msgs{what:reordered}: ["count==0"]
`

// TestSlowReaders stops some readers: what happens to them counts by itself, and a loss that no gap announces is one.
func TestSlowReaders(t *testing.T) {
	for _, tc := range []struct {
		policy        string
		closed, first float64
		announced     bool
	}{
		{policy: ""}, // all of it waits
		{policy: faulty.SlowClose, closed: 4},
		{policy: faulty.SlowOldest, first: 4, announced: true},
		{policy: faulty.SlowLatest, first: 4, announced: true},
	} {
		t.Run("policy "+tc.policy, func(t *testing.T) {
			t.Parallel()
			o := runScenario(t, newFaulty(t, faulty.Faults{Slow: tc.policy}).URL, slowReaders)
			wantExit(t, o, loadtest.ExitOK, "")
			what, first := o.report.Metrics["stopped_msgs"].Counts, o.report.Metrics["stopped_first"].Counts
			if n := o.count("stopped_closed"); n != tc.closed {
				t.Errorf("%v connections of the group were closed, want %v", n, tc.closed)
			}
			if (what["announced"] > 0) != tc.announced || what["received"] == 0 || what["received"]+what["announced"] != 4*162 {
				t.Errorf("%v, want announced ones %v, and 648 with those received", what, tc.announced)
			}
			if n := o.count("stopped_first"); n != tc.first {
				t.Errorf("%v had a publication behind a gap, want %v", n, tc.first)
			}
			if tc.policy == faulty.SlowLatest && first["older"] > 0 || tc.policy == faulty.SlowOldest && first["later"] > 0 {
				t.Errorf("first publications: %v", first)
			}
			if t.Failed() {
				t.Log(o.stdout)
			}
		})
	}
}

func TestSilentDropIsALoss(t *testing.T) {
	t.Parallel()
	o := runScenario(t, newFaulty(t, faulty.Faults{Slow: faulty.SlowSilent}).URL, slowReaders)
	if failed := o.failed(); len(failed) != 1 || !failed["stopped_msgs{what:lost}"] {
		t.Errorf("failed: %v, want the losses of those who stopped only\n%s%s", failed, o.stdout, o.stderr)
	}
}
