package metric

import (
	"fmt"
	"time"
)

// window judges a threshold in one stretch of the run after the other: it holds when it holds in each, and its value is that of the worst.
type window struct {
	length    time.Duration
	threshold Threshold

	trend *Trend // of the window that is open
	n     int64  // of a counter
	gauge Gauge
	span  time.Duration

	closed  int // windows
	worst   Verdict
	crossed int
}

func newWindow(length time.Duration, t Threshold) *window {
	return &window{length: length, threshold: t, trend: NewTrend()}
}

// add enters a second.
func (w *window) add(s Sample, span time.Duration) {
	var m Metric
	switch s.Kind {
	case KindTrend:
		w.trend.add(s, Source{})
		m = w.trend
	case KindCounter:
		w.n += s.N
		m = &Counter{n: w.n}
	default:
		w.gauge.add(s, Source{})
		m = &w.gauge
	}
	if w.span += span; w.span < w.length-windowMin/10 {
		return
	}
	v := w.threshold.Check(Entry{Metric: m}, w.span.Seconds())
	if !v.OK {
		w.crossed++
	}
	if w.closed == 0 || v.Outcome.worse(w.worst.Outcome) || v.Outcome == w.worst.Outcome && w.threshold.further(v.Value, w.worst.Value) {
		w.worst = v
	}
	w.closed++
	w.trend.hist.Reset()
	w.n, w.gauge, w.span = 0, Gauge{}, 0
}

func (w *window) check() Verdict {
	if w.closed == 0 {
		return Verdict{Outcome: Failed, Why: fmt.Sprintf("no window of %s was complete", w.length)}
	}
	v := w.worst
	if w.crossed > 0 {
		v.Why = fmt.Sprintf("%s, in %d of %d windows", v.Why, w.crossed, w.closed)
	}
	return v
}
