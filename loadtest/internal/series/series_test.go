package series

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/millracehq/millrace/loadtest/internal/metric"
)

func TestStepsCoverEachValue(t *testing.T) {
	for _, us := range []int64{0, 1, 31, 32, 33, 63, 64, 65, 1000, 1023, 1024, 59_999_999, 60_000_000, math.MaxInt32} {
		step := stepOf(us)
		if top(step) < us || float64(top(step)) > float64(us)*(1+1.0/steps) {
			t.Errorf("%d us: step %d reaches to %d", us, step, top(step))
		}
		if step > 0 && top(step-1) >= us {
			t.Errorf("%d us is in step %d, but the one before reaches to %d", us, step, top(step-1))
		}
	}
}

// TestAgainstAllValues compares each point with what it was made of, over several halvings.
func TestAgainstAllValues(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	s := New(start, 16)
	random := rand.New(rand.NewPCG(1, 2))
	type second struct {
		at     time.Duration
		values []int64
		gauge  float64
	}
	var all []second
	at := time.Duration(0)
	for range 500 {
		span := time.Duration(900+random.IntN(200)) * time.Millisecond
		if random.IntN(10) == 0 {
			span = time.Duration(random.IntN(300)) * time.Millisecond // the end of a phase
		}
		at += span
		now := second{at: at, gauge: random.Float64()}
		hist := hdrhistogram.New(1, 60_000_000, 3)
		for range random.IntN(50) {
			v := int64(math.Exp(random.Float64() * 17))
			now.values = append(now.values, v)
			if err := hist.RecordValue(v); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, now)
		n := int64(len(now.values))
		s.Add(metric.Snapshot{At: start.Add(at), Span: span, Phase: "steady", Ready: n, Samples: []metric.Sample{
			{Name: "trend", Kind: metric.KindTrend, N: n, Hist: hist},
			{Name: "counter", Kind: metric.KindCounter, N: n},
			{Name: "gauge", Kind: metric.KindGauge, N: 1, Value: now.gauge, Min: now.gauge, Max: now.gauge},
			{Name: "nothing", Kind: metric.KindCounter},
		}})
		if len(s.Spans()) > 16 {
			t.Fatalf("%d points", len(s.Spans()))
		}
	}
	if len(s.Spans()) < 8 {
		t.Errorf("%d points of 16 are in use", len(s.Spans()))
	}
	if s.Line("nothing") != nil || s.Line("unknown") != nil || !slices.Equal(s.Names(), []string{"trend", "counter", "gauge"}) {
		t.Error("lines", s.Names())
	}
	for i, span := range s.Spans() {
		var values []int64
		low, high, last := math.Inf(1), math.Inf(-1), 0.0
		for _, x := range all {
			if x.at > span.From && x.at <= span.To {
				values = append(values, x.values...)
				low, high, last = min(low, x.gauge), max(high, x.gauge), x.gauge
			}
		}
		slices.Sort(values)
		trend, counter, gauge := s.Line("trend").Points[i], s.Line("counter").Points[i], s.Line("gauge").Points[i]
		if counter.N != int64(len(values)) || trend.N != int64(len(values)) {
			t.Errorf("point %d counts %d and %d of %d", i, counter.N, trend.N, len(values))
		}
		if gauge.Min != low || gauge.Max != high || gauge.Value != last {
			t.Errorf("point %d: gauge %+v, want %v to %v, last %v", i, gauge, low, high, last)
		}
		for _, p := range []float64{1, 50, 90, 99, 100} {
			got, ok := trend.Percentile(p)
			want := float64(values[max(int(math.Ceil(p/100*float64(len(values)))), 1)-1]) / 1000
			if !ok || got < want*0.999 || got > want*(1+1.0/steps)*1.001 {
				t.Errorf("point %d: p(%v) is %v, want %v", i, p, got, want)
			}
		}
	}
}

func TestPhasesAndConnections(t *testing.T) {
	start := time.Unix(0, 0)
	s := New(start, 0)
	for i, phase := range []string{"connect", "connect", "steady", "drain"} {
		s.Add(metric.Snapshot{At: start.Add(time.Duration(i+1) * time.Second), Span: time.Second, Phase: phase, Ready: int64(10 * i)})
	}
	want := []Phase{{"connect", 0}, {"steady", 2 * time.Second}, {"drain", 3 * time.Second}}
	if !slices.Equal(s.Phases(), want) {
		t.Errorf("phases %v, want %v", s.Phases(), want)
	}
	if p := s.Connections().Points; len(p) != 4 || p[3].Value != 30 {
		t.Errorf("connections %+v", p)
	}
}

// TestMemoryDoesNotGrow adds some minutes and then ten times as much.
func TestMemoryDoesNotGrow(t *testing.T) {
	start := time.Unix(0, 0)
	s := New(start, 64)
	size := func() (n int) {
		for _, l := range s.lines {
			n += cap(l.Points)
			for _, p := range l.Points[:cap(l.Points)] {
				n += cap(p.hist)
			}
		}
		return n + cap(s.times)
	}
	hist := hdrhistogram.New(1, 60_000_000, 3)
	for v := range int64(200) {
		if err := hist.RecordValue(v * v); err != nil {
			t.Fatal(err)
		}
	}
	sample := []metric.Sample{{Name: "trend", Kind: metric.KindTrend, N: 200, Hist: hist}}
	at := start
	run := func(seconds int) {
		for range seconds {
			at = at.Add(time.Second)
			s.Add(metric.Snapshot{At: at, Span: time.Second, Samples: sample})
		}
	}
	run(300)
	first := size()
	run(3_000)
	if later := size(); later > 2*first {
		t.Errorf("%d units of memory after 300 s, %d after 3,300 s", first, later)
	}
}
