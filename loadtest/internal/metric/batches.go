package metric

import (
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	maxBatches = 40 // when there are more, neighbours are joined, so that batches get longer and their number stays
	minBatches = 5  // with fewer their spread says nothing
)

// Batches keep a trend's values by the time at which they came, as sparse histograms, to tell how much its percentiles would
// differ from run to run (the method of batch means). 15,000 deliveries of one publication share its fate, so that they are not 15,000
// samples; seconds that differ show it. Memory is constant: at most maxBatches, each of as many entries as it has different values.
type Batches struct {
	list []batch
	size int // additions that one batch is made of
	open int // additions in the last batch
}

type batch struct {
	bars  []bar // rising
	total int64
}

type bar struct{ us, n int64 }

// Add enters the values of one more second.
func (b *Batches) Add(h *hdrhistogram.Histogram) {
	if b.size == 0 {
		b.size = 1
	}
	next := batch{total: h.TotalCount()}
	for _, d := range h.Distribution() {
		if d.Count > 0 {
			next.bars = append(next.bars, bar{d.To, d.Count})
		}
	}
	if b.open > 0 && b.open < b.size {
		last := len(b.list) - 1
		b.list[last] = join(b.list[last], next)
		b.open++
		return
	}
	if len(b.list) == maxBatches {
		for i := range maxBatches / 2 {
			b.list[i] = join(b.list[2*i], b.list[2*i+1])
		}
		clear(b.list[maxBatches/2:])
		b.list = b.list[:maxBatches/2]
		b.size *= 2
	}
	b.list = append(b.list, next)
	b.open = 1
}

func join(a, b batch) batch {
	bars := append(slices.Clone(a.bars), b.bars...)
	slices.SortFunc(bars, func(x, y bar) int { return int(x.us - y.us) })
	out := bars[:0]
	for _, x := range bars {
		if n := len(out); n > 0 && out[n-1].us == x.us {
			out[n-1].n += x.n
		} else {
			out = append(out, x)
		}
	}
	return batch{slices.Clip(out), a.total + b.total}
}

// below counts the values of a batch that are at most us.
func (b batch) below(us int64) (n int64) {
	for _, x := range b.bars {
		if x.us > us {
			break
		}
		n += x.n
	}
	return n
}

func (b batch) sum() (s float64) {
	for _, x := range b.bars {
		s += float64(x.us) * float64(x.n)
	}
	return s
}

// Interval is where the true answer to m lies with 95 % confidence, in milliseconds. ok is false when nothing can be said: no values, or a
// method other than avg, med and p(x). With fewer than minBatches the values count as independent, which makes it too narrow.
func (t *Trend) Interval(m Method) (low, high float64, ok bool) {
	if t.batches == nil || t.hist.TotalCount() < 2 {
		return 0, 0, false
	}
	switch {
	case m.Name == "avg":
		return t.batches.mean(t.hist)
	case m.Name == "med":
		return t.percentiles(50)
	case m.Name == "p" && m.Percentile > 0 && m.Percentile < 100:
		return t.percentiles(m.Percentile)
	}
	return 0, 0, false
}

func (t *Trend) percentiles(p float64) (low, high float64, ok bool) {
	q, n := p/100, float64(t.hist.TotalCount())
	spread := normal95 * math.Sqrt(q*(1-q)/n) // of independent values
	if m := len(t.batches.list); m >= minBatches {
		at := t.hist.ValueAtPercentile(p)
		var x, y []float64
		for _, b := range t.batches.list {
			x, y = append(x, float64(b.below(at))), append(y, float64(b.total))
		}
		spread = max(spread, student95(m-1)*ratioError(x, y))
	}
	return t.Percentile(max(q-spread, 0) * 100), t.Percentile(min(q+spread, 1) * 100), true
}

func (b *Batches) mean(h *hdrhistogram.Histogram) (low, high float64, ok bool) {
	mean := h.Mean()
	spread := normal95 * h.StdDev() / math.Sqrt(float64(h.TotalCount()))
	if m := len(b.list); m >= minBatches {
		var x, y []float64
		for _, batch := range b.list {
			x, y = append(x, batch.sum()), append(y, float64(batch.total))
		}
		spread = max(spread, student95(m-1)*ratioError(x, y))
	}
	return max(mean-spread, 0) / 1000, (mean + spread) / 1000, true
}

// ratioError is the standard error of sum(x)/sum(y) over batches (the linearised estimator of a ratio).
func ratioError(x, y []float64) float64 {
	var sx, sy, squares float64
	for i := range x {
		sx, sy = sx+x[i], sy+y[i]
	}
	for i := range x {
		d := x[i] - sx/sy*y[i]
		squares += d * d
	}
	m := float64(len(x))
	return math.Sqrt(m/(m-1)*squares) / sy
}

const normal95 = 1.959964 // 97.5 % of a normal distribution

// student95 is 97.5 % of Student's t with df degrees of freedom, from 4 on, to 0.1 % (Cornish-Fisher expansion).
func student95(df int) float64 {
	const z = normal95
	v := float64(df)
	z3, z5, z7 := z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/(4*v) + (5*z5+16*z3+3*z)/(96*v*v) + (3*z7+19*z5+17*z3-15*z)/(384*v*v*v)
}
