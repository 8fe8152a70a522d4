package metric

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and precision of a [Trend]: 3 significant digits from 1 us to 60 s.
const (
	trendMax    = int64(time.Minute / time.Microsecond)
	trendDigits = 3
)

// Trend keeps durations in an HDR histogram: constant memory, percentiles exact to 3 digits.
type Trend struct {
	hist    *hdrhistogram.Histogram // microseconds; in a set that is taken from, only what came since
	over    int64                   // values above the range: recorded as its end, and counted here
	batches *Batches                // nil unless its confidence interval is wanted
	parts   []part
}

// Label says what a value belongs to, for the parts of a trend. A zero field is not said.
type Label struct {
	Scenarios uint64 // one bit
	Phase     uint8
}

// part is the trend of the values that have one of some scenarios and a phase.
type part struct {
	of    Label // several bits of Scenarios, or none: any
	trend *Trend
}

// NewTrend makes an empty trend.
func NewTrend() *Trend { return &Trend{hist: newHistogram()} }

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, trendMax, trendDigits) }

// Record takes one duration in nanoseconds. One below zero counts as zero, one above the range as its end.
func (t *Trend) Record(nanos int64) { t.RecordMany(nanos, 1) }

// RecordMany takes n durations that are the same.
func (t *Trend) RecordMany(nanos, n int64) {
	us := max(nanos, 0) / int64(time.Microsecond)
	if us > trendMax {
		us = trendMax
		t.over += n
	}
	if err := t.hist.RecordValues(us, n); err != nil {
		panic("BUG: a clipped value is out of the histogram's range: " + err.Error())
	}
}

// RecordParts enters a duration in those parts of the trend that the label belongs to, and in the trend itself if whole says so.
func (t *Trend) RecordParts(nanos int64, l Label, whole bool) {
	if whole {
		t.Record(nanos)
	}
	for _, p := range t.parts {
		if (p.of.Scenarios == 0 || p.of.Scenarios&l.Scenarios != 0) && (p.of.Phase == 0 || p.of.Phase == l.Phase) {
			p.trend.Record(nanos)
		}
	}
}

// part is the part of the trend that a label names; it is made when it is not there yet.
func (t *Trend) part(of Label) *Trend {
	for _, p := range t.parts {
		if p.of == of {
			return p.trend
		}
	}
	p := part{of, NewTrend()}
	t.parts = append(t.parts, p)
	return p.trend
}

// Histogram is the trend's histogram, in microseconds. It is the trend's own: read only.
func (t *Trend) Histogram() *hdrhistogram.Histogram { return t.hist }

// Over is how many values were above the range. A percentile that reaches them is at least 60 s.
func (t *Trend) Over() int64 { return t.over }

// spare holds histograms that are empty again: 139 KB each, several a second.
var spare = sync.Pool{New: func() any { return newHistogram() }}

// Bar is N values that are the same to the precision of histograms, the highest of which is Value: microseconds.
type Bar struct{ Value, N int64 }

// Bars is a histogram of a [Sample] as a list, for sending.
func Bars(h *hdrhistogram.Histogram) (list []Bar) {
	for _, d := range h.Distribution() {
		if d.Count > 0 {
			list = append(list, Bar{d.To, d.Count})
		}
	}
	return list
}

// FromBars is the histogram again, with the same counts; nil of an empty list.
func FromBars(list []Bar) (*hdrhistogram.Histogram, error) {
	if len(list) == 0 {
		return nil, nil
	}
	h := spare.Get().(*hdrhistogram.Histogram)
	for _, b := range list {
		if b.N < 1 || b.Value < 0 {
			return nil, fmt.Errorf("%d values of %d us in a histogram", b.N, b.Value)
		}
		if err := h.RecordValues(b.Value, b.N); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (t *Trend) take() Sample {
	s := Sample{N: t.hist.TotalCount(), Over: t.over}
	t.over = 0
	if s.N > 0 {
		s.Hist = t.hist
		t.hist = spare.Get().(*hdrhistogram.Histogram)
	}
	return s
}

func (t *Trend) add(s Sample, _ Source) {
	t.over += s.Over
	if s.Hist == nil {
		return
	}
	t.hist.Merge(s.Hist)
	if t.batches != nil {
		t.batches.Add(s.Hist)
	}
}

// Kind implements [Metric].
func (t *Trend) Kind() Kind { return KindTrend }

// Samples implements [Metric].
func (t *Trend) Samples() int64 { return t.hist.TotalCount() }

// Read implements [Metric]; all answers but that to "count" are milliseconds.
func (t *Trend) Read(m Method, _ float64) float64 {
	if t.hist.TotalCount() == 0 {
		return 0
	}
	var us float64
	switch m.Name {
	case "avg":
		us = t.hist.Mean()
	case "min":
		us = float64(t.hist.Min())
	case "max":
		us = float64(t.hist.Max())
	case "med":
		us = float64(t.hist.ValueAtPercentile(50))
	case "p":
		us = float64(t.hist.ValueAtPercentile(m.Percentile))
	case "count":
		return float64(t.hist.TotalCount())
	default:
		panic("BUG: a trend has no method " + m.Name)
	}
	return us / 1000
}

// Percentile is the value in milliseconds at or below which p of 100 values are.
func (t *Trend) Percentile(p float64) float64 { return t.Read(Method{Name: "p", Percentile: p}, 0) }
