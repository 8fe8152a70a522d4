package metric

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// feed fills a trend with seconds of 200 values. In each all values share the second's own factor.
func feed(rng *rand.Rand, seconds int, shared float64) *Trend {
	t := NewTrend()
	t.batches = &Batches{}
	second := Set{{Name: "second", Metric: NewTrend()}}
	for range seconds {
		factor := math.Exp(shared * rng.NormFloat64())
		for range 200 {
			second[0].Metric.(*Trend).Record(int64(rng.ExpFloat64() * factor * float64(10*time.Millisecond)))
		}
		snap := second.Take()
		t.add(snap.Samples[0], Source{})
		snap.Release()
	}
	return t
}

// TestIntervalsCoverTheTruth: of 95 % intervals, about 95 % hold the true value, whether the values of a second share its fate or not.
func TestIntervalsCoverTheTruth(t *testing.T) {
	if testing.Short() {
		t.Skip("5 s of arithmetic; a minute under the race detector")
	}
	for _, shared := range []float64{0, 0.5} {
		rng := rand.New(rand.NewPCG(3, uint64(shared*10)))
		truth := feed(rng, 2000, shared)
		held := make(map[Method]int)
		const runs = 80
		for range runs {
			trend := feed(rng, 20, shared)
			for _, m := range []Method{{Name: "med"}, {Name: "p", Percentile: 95}, {Name: "avg"}} {
				low, high, ok := trend.Interval(m)
				if v := truth.Read(m, 0); ok && low <= v && v <= high {
					held[m]++
				}
			}
		}
		for m, n := range held {
			if share := float64(n) / runs; share < 0.84 {
				t.Errorf("shared %v: %.0f %% of the intervals of %s hold the true value, want about 95", shared, share*100, m)
			}
		}
	}
}

func TestSharedFateWidensTheInterval(t *testing.T) {
	width := func(shared float64) float64 {
		low, high, _ := feed(rand.New(rand.NewPCG(5, 6)), 30, shared).Interval(Method{Name: "med"})
		return high - low
	}
	if a, b := width(0), width(0.5); b < 3*a {
		t.Errorf("%.2f ms with shared seconds, %.2f ms without: it counts values as independent that are not", b, a)
	}
}

func TestBatchesStayFew(t *testing.T) {
	trend := feed(rand.New(rand.NewPCG(7, 8)), 100, 0)
	var n int64
	for _, b := range trend.batches.list {
		n += b.total
	}
	if len(trend.batches.list) > maxBatches || len(trend.batches.list) < maxBatches/2 || n != 20_000 {
		t.Errorf("%d batches of %d values, want at most %d of 20,000", len(trend.batches.list), n, maxBatches)
	}
}

func TestStudent(t *testing.T) {
	for df, want := range map[int]float64{4: 2.776, 9: 2.262, 39: 2.023} {
		if got := student95(df); math.Abs(got-want) > want/300 {
			t.Errorf("t(%d) = %.3f, want %.3f", df, got, want)
		}
	}
}

func TestInconclusive(t *testing.T) {
	s := Set{{Name: "t", Metric: feed(rand.New(rand.NewPCG(9, 10)), 30, 0.5)}}
	median := s[0].Metric.Read(Method{Name: "med"}, 0)
	check := func(op string, bound float64) Verdict {
		return Threshold{Metric: "t", Method: Method{Name: "med"}, Op: op, Bound: bound}.Check(s[0], 30)
	}
	for _, tc := range []struct {
		op    string
		bound float64
		want  Outcome
	}{
		{"<", median * 1.02, Inconclusive},
		{"<", median * 0.98, Inconclusive},
		{"<", median * 3, Passed},
		{"<", median / 3, Failed},
		{">", median * 1.02, Inconclusive},
		{">", median / 3, Passed},
		{">", median * 3, Failed},
	} {
		if v := check(tc.op, tc.bound); v.Outcome != tc.want || v.OK != (tc.want == Passed) {
			t.Errorf("median %.2f %s %.2f: %+v, want %s", median, tc.op, tc.bound, v, tc.want)
		}
	}
}
