package metric

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestTrendReadsAll(t *testing.T) {
	trend := NewTrend()
	for ms := range 1000 {
		trend.Record(int64(ms+1) * int64(time.Millisecond))
	}
	for method, want := range map[string]float64{
		"min": 1, "max": 1000, "avg": 500.5, "med": 500, "p(95)": 950, "p(99)": 990, "p(100)": 1000, "p(0)": 1, "count": 1000,
	} {
		m, err := ParseMethod(method)
		if err != nil {
			t.Fatal(err)
		}
		if got := trend.Read(m, 1); math.Abs(got-want) > want/500 {
			t.Errorf("%s = %v, want %v within 0.2 %%", method, got, want)
		}
	}
}

func TestTrendCountsWhatIsAboveItsRange(t *testing.T) {
	trend := NewTrend()
	trend.Record(int64(90 * time.Second))
	trend.Record(-5)
	if trend.Over() != 1 || trend.Samples() != 2 {
		t.Fatalf("over %d of %d samples, want 1 of 2", trend.Over(), trend.Samples())
	}
	if p := trend.Percentile(100); p < 60_000 {
		t.Fatalf("the highest value reads %v ms: it was clipped below the range's end", p)
	}
}

func TestTrendRecordAllocs(t *testing.T) {
	trend := NewTrend()
	if n := testing.AllocsPerRun(1000, func() { trend.Record(123456) }); n != 0 {
		t.Fatalf("%v allocations per recording, want 0", n)
	}
}

func TestMinSamples(t *testing.T) {
	for method, want := range map[string]int64{
		"p(99)": 1000, "p(99.9)": 10_000, "p(95)": 200, "p(90)": 100, "p(50)": 20, "p(1)": 1000, "med": 20, "avg": 1, "p(100)": 1, "max": 1,
	} {
		m, err := ParseMethod(method)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.MinSamples(); got != want {
			t.Errorf("%s needs %d samples, want %d", method, got, want)
		}
	}
}

func testTags() *Tags {
	return &Tags{
		Scenarios: []ScenarioTags{{Name: "talk", Tags: map[string]string{"kind": "chat"}}, {Name: "shout", Tags: map[string]string{"kind": "chat"}}, {Name: "watch"}},
		Phases:    []string{"warmup", "steady"},
	}
}

func newTestSet() (Set, *Trend, *Tagged, *Counter) {
	trend, errs, lost, basis := NewTrend(), NewTagged("code"), &Counter{}, &Counter{}
	return Set{
		{Name: "msg_latency", Metric: trend, Tags: testTags()},
		{Name: "errs", Metric: errs},
		{Name: "msgs_lost", Metric: lost, Basis: basis.Count},
		{Name: "ratio", Metric: &Rate{}},
		{Name: "open", Metric: &Gauge{}},
	}, trend, errs, basis
}

func bind(t *testing.T, s Set, metric, source string) Bound {
	t.Helper()
	th, err := ParseThreshold(metric, source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Bind(th)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestThresholdOperators(t *testing.T) {
	s, trend, _, _ := newTestSet()
	for range 1000 {
		trend.Record(1000) // 0.001 ms, a value that the histogram keeps exactly
	}
	for _, tc := range []struct {
		source string
		ok     bool
	}{
		{"p(99)<0.05", true},
		{" p(99) < .05 ", true},
		{"p(99)<=0.001", true},
		{"p(99)>0.001", false},
		{"p(99)>=0.001", true},
		{"max==0.001", true},
		{"max===1e-3", true},
		{"max!=0.001", false},
		{"avg<0.001", false},
		{"med>0", true},
	} {
		if v := bind(t, s, "msg_latency", tc.source).Check(1); v.OK != tc.ok || !v.Known {
			t.Errorf("%q: %+v, want ok=%v", tc.source, v, tc.ok)
		}
	}
}

func TestNoPassWithoutEvidence(t *testing.T) {
	s, trend, _, basis := newTestSet()
	wantWhy := func(b Bound, why string) {
		t.Helper()
		if v := b.Check(1); v.OK || v.Known || !strings.Contains(v.Why, why) {
			t.Errorf("%s %s: %+v, want it to fail with %q", b.Metric, b.Source, v, why)
		}
	}
	wantWhy(bind(t, s, "msg_latency", "p(99)<50"), "no samples")
	wantWhy(bind(t, s, "msgs_lost", "count==0"), "no samples")
	wantWhy(bind(t, s, "ratio", "rate>0.99"), "no samples")
	wantWhy(bind(t, s, "open", "value>0"), "no samples")
	for range 999 {
		trend.Record(1)
	}
	wantWhy(bind(t, s, "msg_latency", "p(99)<50"), "999 samples, p(99) needs 1000")
	trend.Record(1)
	basis.Add(1)
	for _, b := range []Bound{bind(t, s, "msg_latency", "p(99)<50"), bind(t, s, "msgs_lost", "count==0"), bind(t, s, "errs{code:503}", "count==0")} {
		if v := b.Check(1); !v.OK {
			t.Errorf("%s %s: %+v, want it to pass", b.Metric, b.Source, v)
		}
	}
}

func TestTaggedCounterCanBeAskedByPart(t *testing.T) {
	s, _, errs, _ := newTestSet()
	errs.Add("503", 2)
	errs.Add("403", 1)
	for selector, want := range map[string]float64{"errs": 3, "errs{code:503}": 2, "errs{code:408}": 0} {
		if v := bind(t, s, selector, "count==9").Check(1); v.Value != want {
			t.Errorf("%s = %v, want %v", selector, v.Value, want)
		}
	}
	if v := bind(t, s, "errs", "rate<1").Check(2); v.Value != 1.5 {
		t.Errorf("rate of 3 in 2 s = %v", v.Value)
	}
}

func TestBadThresholdsSayWhatThereIs(t *testing.T) {
	s, _, _, _ := newTestSet()
	for _, tc := range []struct{ metric, source, want string }{
		{"msg_latency", "p(99)", "no comparison"},
		{"msg_latency", "p(101)<5", "p(0) to p(100)"},
		{"msg_latency", "p(NaN)<5", "p(0) to p(100)"},
		{"msg_latency", "p99<5", "not a method"},
		{"msg_latency", "p(99)<fast", "not a number"},
		{"msg_latency", "p(99)=5", "no such comparison"},
		{"msg_latency", "count<5", "avg, min, max, med, p(x)"},
		{"msgs_lost", "avg<5", "count, rate"},
		{"msg_latancy", "avg<5", "there are msg_latency, errs"},
		{"errs{status:5}", "count<5", "want errs{code:VALUE}"},
		{"errs{code:5", "count<5", "want errs{TAG:VALUE}"},
		{"msg_latency{phase:connect}", "avg<5", "there are warmup and steady"},
		{"msg_latency{kind:x}", "avg<5", "no scenario has the tag kind:x"},
		{"msg_latency{window:5}", "avg<5", "is no window"},
		{"ratio{window:5s}", "rate<5", "no windows"},
		{"open{code:5}", "value<5", "has no tags"},
	} {
		th, err := ParseThreshold(tc.metric, tc.source)
		if err == nil {
			_, err = s.With([]string{tc.metric})
		}
		if err == nil {
			_, err = s.Bind(th)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %q: error %v, want one with %q", tc.metric, tc.source, err, tc.want)
		}
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, s := range []string{"p(99)<50", "avg >= 1e3", "count===0", "p(<", "p(0x1p-2)!=1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		th, err := ParseThreshold("m", s)
		if err != nil {
			return
		}
		again, err := ParseMethod(th.Method.String())
		if err != nil || again != th.Method {
			t.Fatalf("%q: method %v reads back as %v, %v", s, th.Method, again, err)
		}
		th.holds(1)
	})
}
