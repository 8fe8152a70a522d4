package metric

import "maps"

// Kind says what a metric is; it decides which methods a threshold may ask of it.
type Kind string

// The kinds of metric, named as k6 names them.
const (
	KindCounter Kind = "counter"
	KindGauge   Kind = "gauge"
	KindRate    Kind = "rate"
	KindTrend   Kind = "trend"
)

// Metric is what a threshold can be asked of.
type Metric interface {
	Kind() Kind
	// Read answers one method; seconds is the length of the steady phase. A method that the kind does not have is a bug
	// of the caller: [Set.Bind] refuses such thresholds.
	Read(m Method, seconds float64) float64
	// Samples is how many recordings the metric rests on.
	Samples() int64
}

// Counter is a sum that only grows.
type Counter struct{ n int64 }

// Add grows the sum.
func (c *Counter) Add(n int64) { c.n += n }

// Set replaces the sum: for what is only known at the end.
func (c *Counter) Set(n int64) { c.n = n }

// Count is the sum.
func (c *Counter) Count() int64 { return c.n }

// Kind implements [Metric].
func (c *Counter) Kind() Kind { return KindCounter }

// Samples implements [Metric].
func (c *Counter) Samples() int64 { return c.n }

// Read implements [Metric].
func (c *Counter) Read(m Method, seconds float64) float64 {
	if m.Name == "rate" {
		return perSecond(c.n, seconds)
	}
	return float64(c.n)
}

func perSecond(n int64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

// Tagged is a counter split by the values of one tag, such as a close code.
type Tagged struct {
	Counter
	Tag string // the tag's name
	by  map[string]*Counter
}

// NewTagged makes a counter that is split by tag.
func NewTagged(tag string) *Tagged { return &Tagged{Tag: tag, by: make(map[string]*Counter)} }

// Add grows the sum and the part of it that value names.
func (t *Tagged) Add(value string, n int64) {
	t.Counter.Add(n)
	t.Of(value).Add(n)
}

// Of is the part that value names; it is made when it is not there yet.
func (t *Tagged) Of(value string) *Counter {
	c := t.by[value]
	if c == nil {
		c = &Counter{}
		t.by[value] = c
	}
	return c
}

// Counts is a copy of all parts that are not zero.
func (t *Tagged) Counts() map[string]int64 {
	m := make(map[string]int64, len(t.by))
	for v, c := range t.by {
		m[v] = c.n
	}
	maps.DeleteFunc(m, func(_ string, n int64) bool { return n == 0 })
	return m
}

// Rate is a share: passes out of a total.
type Rate struct{ passes, total int64 }

// Set replaces both numbers.
func (r *Rate) Set(passes, total int64) { r.passes, r.total = passes, total }

// Passes is the number that passed.
func (r *Rate) Passes() int64 { return r.passes }

// Share is passes out of total, 0 when the total is 0.
func (r *Rate) Share() float64 {
	if r.total == 0 {
		return 0
	}
	return float64(r.passes) / float64(r.total)
}

// Kind implements [Metric].
func (r *Rate) Kind() Kind { return KindRate }

// Samples implements [Metric].
func (r *Rate) Samples() int64 { return r.total }

// Read implements [Metric].
func (r *Rate) Read(Method, float64) float64 { return r.Share() }

// Gauge is the last of several readings, with the extremes of all.
type Gauge struct {
	value, low, high float64
	n                int64
}

// Set takes a reading.
func (g *Gauge) Set(v float64) {
	if g.n == 0 {
		g.low, g.high = v, v
	}
	g.value, g.low, g.high = v, min(g.low, v), max(g.high, v)
	g.n++
}

// Value is the last reading.
func (g *Gauge) Value() float64 { return g.value }

// Min is the lowest reading.
func (g *Gauge) Min() float64 { return g.low }

// Max is the highest reading.
func (g *Gauge) Max() float64 { return g.high }

// Kind implements [Metric].
func (g *Gauge) Kind() Kind { return KindGauge }

// Samples implements [Metric].
func (g *Gauge) Samples() int64 { return g.n }

// Read implements [Metric].
func (g *Gauge) Read(Method, float64) float64 { return g.value }
