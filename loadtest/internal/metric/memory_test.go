package metric

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// TestMemoryIsConstant takes and adds the seconds of a long run, with everything that thresholds may want: intervals, parts, windows, checks. What is
// kept must not grow with its length.
func TestMemoryIsConstant(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	recent, total := newLongSet(t), newLongSet(t)
	var bound []Bound
	for name, source := range map[string]string{"t": "p(99)<1", "t{scenario:a}": "avg<1", "t{window:10s}": "med<1", "c{window:10s}": "rate<1", "g": "value<1"} {
		th, err := ParseThreshold(name, source)
		if err != nil {
			t.Fatal(err)
		}
		b, err := total.Bind(th)
		if err != nil {
			t.Fatal(err)
		}
		bound = append(bound, b)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	run := func(seconds int) {
		for range seconds {
			for range 200 {
				v := rng.Int64N(int64(time.Millisecond))
				recent[0].Metric.(*Trend).RecordParts(v, Label{Scenarios: 1}, true)
				recent[1+1].Metric.(*Tagged).Add(fmt.Sprint(v%5), 1)
				recent[1+2].Metric.(*Checks).Add(fmt.Sprint(v%3), v%2 == 0)
			}
			recent[1+3].Metric.(*Gauge).Set(rng.Float64())
			snap := recent.Take()
			snap.Span = time.Second
			total.Add(snap, Source{})
			Feed(bound, snap)
			snap.Release()
		}
	}
	kept := func() int64 {
		runtime.GC()
		runtime.GC() // the second empties the pool of spare histograms
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	run(2000) // series of intervals are full by then
	before := kept()
	run(2000)
	if after := kept(); after-before > 256<<10 {
		t.Errorf("%d bytes after 2,000 s, %d after 4,000 s", before, after)
	}
	if n := total[0].Metric.Samples(); n != 4000*200 {
		t.Errorf("%d values, want all", n)
	}
	runtime.KeepAlive(recent)
	runtime.KeepAlive(bound)
}

func newLongSet(t *testing.T) Set {
	t.Helper()
	tags := &Tags{Scenarios: []ScenarioTags{{Name: "a"}}}
	set, err := Set{
		{Name: "t", Metric: NewTrend(), Tags: tags}, {Name: "c", Metric: NewTagged("tag")}, {Name: "checks", Metric: NewChecks()}, {Name: "g", Metric: &Gauge{}},
	}.With([]string{"t{scenario:a}"})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
