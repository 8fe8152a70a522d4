package main

import (
	"context"
	"fmt"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// storm is one reconnect storm.
type storm struct {
	How         string             `json:"how,omitempty"` // kill or drain; else they were reset
	Codes       map[string]int64   `json:"cut_by_code"`
	Connections int                `json:"connections"` // that were cut
	Expected    int64              `json:"expected"`
	Lost        int64              `json:"lost"`
	Duplicate   int64              `json:"duplicate"`
	Reordered   int64              `json:"reordered"`
	Announced   int64              `json:"announced"`
	Gaps        int64              `json:"gaps"`
	Back        map[string]float64 `json:"back_ms"`      // from the cut to the ok of the subscription
	CaughtUp    map[string]float64 `json:"caught_up_ms"` // from the cut to having all that was published before that ok
	Failed      map[string]int64   `json:"connects_failed"`
	Latency     map[string]float64 `json:"msg_latency_ms"`

	Window   string   `json:"window"` // before the cut, and after it
	Calm     calls    `json:"redis_calls_before"`
	Storm    calls    `json:"redis_calls_after"`
	Extra    int64    `json:"redis_calls_extra"` // after the cut beyond those before it
	Exit     int      `json:"loadtest_exit_code"`
	Failures []string `json:"failures,omitempty"`
	conditions
}

// Targets of the storm.
const (
	maxExtraPerConn = 0.01 // Redis commands that a storm costs, per connection
	callsNoise      = 100  // by which two windows of calm differ
)

// storms measures a storm of all connections and one of a tenth, each on a stack of its own.
func (b bench) storms(ctx context.Context) (list []*storm, err error) {
	for _, n := range []int{b.size.Connections / 10, b.size.Connections} {
		s, err := b.storm(ctx, n)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (b bench) storm(ctx context.Context, connections int) (*storm, error) {
	s, err := startStack(ctx, b.dir, b.options.bin, "")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	window, duration := 15*time.Second, 40*time.Second
	if b.options.quick {
		window, duration = 5*time.Second, 15*time.Second
	}
	m := newMeter(s)
	var seen [3]calls // at the beginning of the calm window, at the cut, at the end of the storm's window
	onPhase := func(phase string) (err error) {
		m.phase(phase)
		switch phase {
		case "steady":
			seen[0], err = redisCalls(ctx, s.redisAddr)
		case "cut":
			if seen[1], err = redisCalls(ctx, s.redisAddr); err != nil {
				return err
			}
			select {
			case <-time.After(window):
			case <-ctx.Done():
			}
			seen[2], err = redisCalls(ctx, s.redisAddr)
		}
		return err
	}
	r, err := b.harness(ctx, "storm.yaml", s.url, connections+b.size.Channels, duration.String(), onPhase, "CUT_AT="+window.String())
	if err != nil {
		return nil, err
	}
	st := newStorm(r)
	st.Window, st.Calm, st.Storm = window.String(), seen[1].since(seen[0]), seen[2].since(seen[1])
	st.Extra = st.Storm.beyond(st.Calm)
	_, st.conditions = m.result(&r.report)
	return st, nil
}

// newStorm is what the harness has of a storm.
func newStorm(r *result) *storm {
	return &storm{
		Connections: int(r.count("ws_cut")), Codes: r.report.Metrics["ws_cut"].Counts, Expected: r.count("msgs_expected"), Lost: r.count("msgs_lost"), Duplicate: r.count("msgs_duplicate"),
		Reordered: r.count("msgs_reordered"), Announced: r.count("msgs_announced"), Gaps: r.count("gaps"),
		Back: r.values("ws_reconnect_duration"), CaughtUp: r.values("ws_caught_up"), Failed: r.report.Metrics["ws_connect_failed"].Counts,
		Latency: r.values("msg_latency"), Exit: r.exit, Failures: r.failures(),
	}
}

// judgeStorms tells miss of each target that was missed. The harness being the limit is not one: it makes times longer, and
// leaves the accounts exact.
func judgeStorms(list []*storm, asked int, miss missFunc) {
	for _, s := range list {
		name := fmt.Sprintf("storm of %d", s.Connections)
		miss(s.Exit == loadtest.ExitOK || s.Exit == loadtest.ExitInvalid, "%s: the harness ended with %d (%s)%s", name, s.Exit, s.conditions, lines(s.Failures))
		miss(s.Lost+s.Duplicate+s.Reordered == 0, "%s: %d lost, %d duplicated, %d reordered, target 0", name, s.Lost, s.Duplicate, s.Reordered)
		miss(s.Gaps+s.Announced == 0, "%s: %d gaps, over %d deliveries, target 0", name, s.Gaps, s.Announced)
		n := float64(s.Connections)
		miss(s.Back["count"] == n && s.CaughtUp["count"] == n, "%s: %.0f are back and %.0f have caught up, target all", name, s.Back["count"], s.CaughtUp["count"])
		miss(s.Extra <= allowedCalls(s.Connections), "%s: %d more Redis commands than before it, target below %.2f per connection", name, s.Extra, maxExtraPerConn)
	}
	few, all := list[0], list[len(list)-1]
	miss(all.Connections == asked, "storm: %d connections were cut, not %d", all.Connections, asked)
	miss(all.Extra-few.Extra <= allowedCalls(all.Connections-few.Connections),
		"storm: Redis commands grow with the connections: %d more at %d, %d more at %d", few.Extra, few.Connections, all.Extra, all.Connections)
}

func allowedCalls(connections int) int64 {
	return max(int64(maxExtraPerConn*float64(connections)), callsNoise)
}
