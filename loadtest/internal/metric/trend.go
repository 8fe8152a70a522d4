package metric

import (
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
	hist *hdrhistogram.Histogram // microseconds
	over int64                   // values above the range: recorded as its end, and counted here
}

// NewTrend makes an empty trend.
func NewTrend() *Trend { return &Trend{hist: hdrhistogram.New(1, trendMax, trendDigits)} }

// Record takes one duration in nanoseconds. One below zero counts as zero, one above the range as its end.
func (t *Trend) Record(nanos int64) {
	us := max(nanos, 0) / int64(time.Microsecond)
	if us > trendMax {
		us = trendMax
		t.over++
	}
	if err := t.hist.RecordValue(us); err != nil {
		panic("BUG: a clipped value is out of the histogram's range: " + err.Error())
	}
}

// Over is how many values were above the range. A percentile that reaches them is at least 60 s.
func (t *Trend) Over() int64 { return t.over }

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
