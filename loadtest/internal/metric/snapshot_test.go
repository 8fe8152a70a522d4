package metric

import (
	"math/rand/v2"
	"testing"
	"time"
)

func everyKind() Set {
	return Set{
		{Name: "trend", Metric: NewTrend(), Tags: testTags()},
		{Name: "counter", Metric: &Counter{}},
		{Name: "tagged", Metric: NewTagged("code")},
		{Name: "rate", Metric: &Rate{}},
		{Name: "checks", Metric: NewChecks()},
		{Name: "sum", Metric: &Gauge{Sums: true}},
		{Name: "highest", Metric: &Gauge{}},
	}
}

// TestMergeIsExact records at random into one set directly and into three that are taken from now and then: the sum of what was taken is the
// same to the last value.
func TestMergeIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	want, got := everyKind(), everyKind()
	parts := []Set{everyKind(), everyKind(), everyKind()}
	for i := range 30_000 {
		source := parts[rng.IntN(3)]
		nanos := int64(rng.ExpFloat64() * float64(10*time.Millisecond))
		code, pass := string(rune('a'+rng.IntN(4))), rng.IntN(10) > 0
		for _, s := range []Set{want, source} {
			s[0].Metric.(*Trend).Record(nanos)
			s[1].Metric.(*Counter).Add(nanos % 7)
			s[2].Metric.(*Tagged).Add(code, 1)
			s[3].Metric.(*Rate).Add(pass)
			s[4].Metric.(*Checks).Add(code, pass)
		}
		if i%500 == 0 {
			k := rng.IntN(3)
			snap := parts[k].Take()
			got.Add(snap, Source{k, 3})
			snap.Release()
		}
	}
	for k, s := range parts {
		got.Add(s.Take(), Source{k, 3})
	}
	if a, b := want[0].Metric.(*Trend), got[0].Metric.(*Trend); !a.hist.Equals(b.hist) || a.over != b.over {
		t.Error("the merged histogram is not that of all values")
	}
	for i, m := range []Method{{Name: "count"}, {Name: "count"}, {Name: "rate"}, {Name: "rate"}} {
		if a, b := want[i+1].Metric.Read(m, 1), got[i+1].Metric.Read(m, 1); a != b {
			t.Errorf("%s: %v, want %v", want[i+1].Name, b, a)
		}
	}
	for code, n := range want[2].Metric.(*Tagged).Counts() {
		if got := got[2].Metric.(*Tagged).Of(code).Count(); got != n {
			t.Errorf("tagged{code:%s} = %d, want %d", code, got, n)
		}
	}
	for _, name := range want[4].Metric.(*Checks).Names() {
		if a, b := *want[4].Metric.(*Checks).Of(name), *got[4].Metric.(*Checks).Of(name); a.passes != b.passes || a.total != b.total {
			t.Errorf("checks{check:%s} = %+v, want %+v", name, b, a)
		}
	}
}

func TestGaugesOfSeveralSources(t *testing.T) {
	total := everyKind()
	for k, v := range []float64{5, 7, 1} {
		s := everyKind()
		s[5].Metric.(*Gauge).Set(v)
		s[6].Metric.(*Gauge).Set(v)
		total.Add(s.Take(), Source{k, 3})
	}
	if a, b := total[5].Metric.(*Gauge), total[6].Metric.(*Gauge); a.Value() != 13 || a.Min() != 13 || b.Value() != 7 {
		t.Errorf("the sum is %v (at least %v), the highest %v, want 13, 13 and 7", a.Value(), a.Min(), b.Value())
	}
}

func TestPartsOfTrends(t *testing.T) {
	s := everyKind()
	s, err := s.With([]string{"trend{kind:chat}", "trend{scenario:talk,phase:warmup}", "trend{kind:chat, window:10s}", "trend{window:10s}"})
	if err != nil || len(s) != 9 {
		t.Fatalf("%v, %v, want two more entries", s.Names(), err)
	}
	trend := s[0].Metric.(*Trend)
	for scenario := range 3 {
		for phase := range uint8(2) {
			trend.RecordParts(1000, Label{1 << scenario, phase + 1}, phase == 1)
		}
	}
	for name, want := range map[string]int64{"trend": 3, "trend{kind:chat}": 4, "trend{scenario:talk,phase:warmup}": 1} {
		if e, err := s.Find(name); err != nil || e.Metric.Samples() != want {
			t.Errorf("%s: %v, %v, want %d samples", name, e.Metric, err, want)
		}
	}
}

// TestWindows: two of five windows of 2 s are slow, which the whole run hides.
func TestWindows(t *testing.T) {
	s := everyKind()
	bounds := []Bound{bind(t, s, "trend{window:2s}", "p(90)<50"), bind(t, s, "trend", "min<50"), bind(t, s, "counter{window:2s}", "rate>=1"), bind(t, s, "sum{window:2s}", "value>2")}
	source := everyKind()
	for second := range 10 {
		for range 100 {
			ms := 1 + 99*int64(second/2%3/2) // windows 2 and 5 take 100 ms
			source[0].Metric.(*Trend).Record(ms * int64(time.Millisecond))
		}
		if second < 8 {
			source[1].Metric.(*Counter).Add(1)
		}
		source[5].Metric.(*Gauge).Set(float64(10 - second))
		snap := source.Take()
		snap.Span = time.Second
		s.Add(snap, Source{})
		Feed(bounds, snap)
	}
	for i, want := range []Verdict{{OK: false, Value: 100, Why: "crossed, in 1 of 5 windows"}, {OK: true, Value: 1}, {OK: false, Value: 0, Why: "crossed, in 1 of 5 windows"}, {OK: false, Value: 1, Why: "crossed, in 1 of 5 windows"}} {
		if v := bounds[i].Check(10); v.OK != want.OK || int(v.Value) != int(want.Value) || v.Why != want.Why {
			t.Errorf("%s %s: %+v, want %+v", bounds[i].Metric, bounds[i].Source, v, want)
		}
	}
	if v := bind(t, s, "trend{window:1m}", "avg<1").Check(10); v.OK || v.Why != "no window of 1m0s was complete" {
		t.Errorf("a window that never ended: %+v", v)
	}
}
