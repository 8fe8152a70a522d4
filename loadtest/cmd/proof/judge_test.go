package main

import (
	"bytes"
	"context"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

// wantMissed checks that a report misses one target, saying want, or none when want is empty; and that it can be written.
func wantMissed(t *testing.T, name string, rep *report, want string) {
	t.Helper()
	rep.judge()
	var out bytes.Buffer
	rep.write(&out)
	switch {
	case want == "" && len(rep.Missed) == 0:
	case want == "" || len(rep.Missed) != 1 || !strings.Contains(rep.Missed[0], want) || !strings.Contains(out.String(), want):
		t.Errorf("%s: missed %q, want one with %q", name, rep.Missed, want)
	}
}

func TestJudgeStorms(t *testing.T) {
	newStorm := func(n int) *storm {
		all := map[string]float64{"count": float64(n)}
		return &storm{Connections: n, Back: all, CaughtUp: map[string]float64{"count": float64(n)}, Calm: calls{"xread": 1000}, Storm: calls{"xread": 1010}, Extra: 10}
	}
	for name, tc := range map[string]struct {
		spoil func(few, all *storm)
		want  string
	}{
		"good":                  {func(_, _ *storm) {}, ""},
		"harness was the limit": {func(_, all *storm) { all.Exit = loadtest.ExitInvalid }, ""},
		"harness failed":        {func(_, all *storm) { all.Exit = loadtest.ExitFailed }, "the harness ended with 99"},
		"lost":                  {func(_, all *storm) { all.Lost = 1 }, "1 lost"},
		"gap":                   {func(few, _ *storm) { few.Gaps = 1 }, "storm of 1500: 1 gaps"},
		"not back":              {func(_, all *storm) { all.Back["count"]-- }, "14999 are back"},
		"not caught up":         {func(_, all *storm) { all.CaughtUp["count"]-- }, "14999 have caught up"},
		"not all cut":           {func(_, all *storm) { *all = *newStorm(14_999) }, "14999 connections were cut, not 15000"},
		"commands":              {func(few, _ *storm) { few.Extra = 101 }, "storm of 1500: 101 more Redis commands"},
		"commands grow":         {func(_, all *storm) { all.Extra = 150 }, "grow with the connections: 10 more at 1500, 150 more at 15000"},
	} {
		rep := newReport(options{})
		rep.Storms = []*storm{newStorm(1500), newStorm(15_000)}
		tc.spoil(rep.Storms[0], rep.Storms[1])
		wantMissed(t, name, rep, tc.want)
	}
}

func TestJudgeSlow(t *testing.T) {
	newRun := func(p99 float64) *slowRun {
		return &slowRun{Latency: map[string]float64{"p(99)": p99}, Unsent: 30, Resident: 200, First: map[string]int64{}, Closed: map[string]int64{}}
	}
	for name, tc := range map[string]struct {
		spoil func(all *slow, closed, oldest, latest *policy)
		want  string
	}{
		"good":           {func(*slow, *policy, *policy, *policy) {}, ""},
		"slower":         {func(_ *slow, c, _, _ *policy) { c.Ratio = 1.3 }, "close: p(99) of the others is 1.30"},
		"harness failed": {func(_ *slow, c, _, _ *policy) { c.Runs[0].Exit = loadtest.ExitFailed }, "close: the harness ended with 99"},
		"unsent":         {func(a *slow, _, _, _ *policy) { a.Policies[1].Runs[0].Unsent = 101 }, "drop-oldest: 101 unsent bytes"},
		"memory":         {func(_ *slow, _, _, l *policy) { l.Runs[0].Resident = 401 }, "latest: the gateway grew by 201 bytes"},
		"not ended":      {func(_ *slow, c, _, _ *policy) { c.Runs[0].Ended = 9 }, "9 were ended by the gateway"},
		"not seen":       {func(_ *slow, c, _, _ *policy) { c.Runs[0].Closed["4001"] = 6 }, "found 1006: 3, 4001: 6"},
		"another code":   {func(_ *slow, c, _, _ *policy) { c.Runs[0].Closed = map[string]int64{"4002": 10} }, "found 4002: 10"},
		"ended":          {func(_ *slow, _, o, _ *policy) { o.Runs[0].Ended = 1 }, "drop-oldest: 1 were ended (none)"},
		"no gap":         {func(_ *slow, _, o, _ *policy) { o.Runs[0].First["older"] = 9 }, "9 had a gap"},
		"not the latest": {func(_ *slow, _, _, l *policy) { l.Runs[0].First = map[string]int64{"newest": 9, "older": 1} }, "1 had an older publication"},
		"unknown":        {func(_ *slow, _, _, l *policy) { l.Runs, l.Error = nil, "no policies" }, "latest: no policies"},
	} {
		rep := newReport(options{})
		closed, oldest, latest := &policy{Name: "close"}, &policy{Name: "drop-oldest"}, &policy{Name: "latest"}
		for _, p := range []*policy{closed, oldest, latest} {
			p.Runs, p.Ratio = []*slowRun{newRun(11)}, 1.1
		}
		closed.Runs[0].Ended, closed.Runs[0].Closed = 10, map[string]int64{"4001": 7, "1006": 3}
		oldest.Runs[0].First["older"], latest.Runs[0].First["newest"] = 10, 10
		rep.Slow = &slow{Stopped: 10, Bound: 100, Without: []*slowRun{newRun(10)}, Policies: []*policy{closed, oldest, latest}}
		tc.spoil(rep.Slow, closed, oldest, latest)
		wantMissed(t, name, rep, tc.want)
	}
}

func TestStealIsAReasonOfItsOwn(t *testing.T) {
	from := parseMachine("cpu  100 0 100 800 0 0 0 0 50 0")
	m := parseMachine("cpu  140 0 120 920 0 0 0 20 90 0").since(from) // 2 s: 0.6 s busy, 0.2 s stolen, guest time not counted twice
	if want := (machineTime{600 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}); m != want {
		t.Fatalf("%+v, want %+v", m, want)
	}
	c := m.conditions(400*time.Millisecond, loadtest.Generator{Verdict: loadtest.VerdictValid})
	if c.Verdict != loadtest.VerdictSuspect || c.Others != 0.1 || !strings.Contains(c.String(), "the hypervisor took 10 % of the CPU") {
		t.Errorf("%+v: %s", c, c)
	}
	m.steal = 100 * time.Millisecond
	if c := m.conditions(0, loadtest.Generator{Verdict: loadtest.VerdictValid}); c.Verdict != loadtest.VerdictValid || len(c.Reasons) > 0 {
		t.Errorf("with 5 %% taken: %+v", c)
	}
	if c := (machineTime{}).conditions(0, loadtest.Generator{}); c.Steal != 0 || parseMachine("") != (machineTime{}) {
		t.Errorf("without figures: %+v", c)
	}
}

func TestRedisCalls(t *testing.T) {
	before := parseCalls("# Commandstats\r\ncmdstat_xadd:calls=5,usec=9\r\ncmdstat_info:calls=7,usec=1\r\ncmdstat_xread:calls=3,usec=1\r\n")
	after := parseCalls("cmdstat_xadd:calls=9,usec=9\r\ncmdstat_xread:calls=3,usec=1\r\ncmdstat_xgroup|create:calls=2,usec=3\r\n")
	got := after.since(before)
	if want := (calls{"xadd": 4, "xgroup|create": 2}); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := got.beyond(calls{"xadd": 1, "xread": 100, "xgroup|create": 3}); n != 3 {
		t.Errorf("%d beyond, want 3: fewer of one command make up for nothing", n)
	}
}

func TestAskRedis(t *testing.T) {
	for answer, want := range map[string]string{"+PONG\r\n": "PONG", "$5\r\nhello\r\n": "hello", "-ERR no\r\n": "error", "$x\r\n": "error", "$9\r\nhel": "error"} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = c.Read(make([]byte, 64))
				_, _ = c.Write([]byte(answer))
				c.Close()
			}
		}()
		got, err := askRedis(t.Context(), l.Addr().String(), "PING")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
		l.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := redisCalls(ctx, "127.0.0.1:1"); err == nil {
		t.Error("no error without a Redis")
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		list []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1}, 2.5}} {
		if got := median(tc.list); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.list, got, tc.want)
		}
	}
}
