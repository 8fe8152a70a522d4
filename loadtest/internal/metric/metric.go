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

	// take is what came since the last take; add enters what was taken elsewhere. See [Set.Take] and [Set.Add].
	take() Sample
	add(s Sample, from Source)
}

// Counter is a sum that only grows.
type Counter struct{ n, taken int64 }

// Add grows the sum.
func (c *Counter) Add(n int64) { c.n += n }

// Set replaces the sum: for what is only known at the end.
func (c *Counter) Set(n int64) { c.n = n }

// Count is the sum.
func (c *Counter) Count() int64 { return c.n }

func (c *Counter) take() Sample {
	s := Sample{N: c.n - c.taken}
	c.taken = c.n
	return s
}

func (c *Counter) add(s Sample, _ Source) { c.n += s.N }

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

// sum is what the scenarios of a label come to.
func (t *Tagged) sum(tags *Tags, of Label) sum {
	var list sum
	for i, scenario := range tags.Scenarios {
		if of.Scenarios&(1<<i) != 0 {
			list = append(list, t.Of(scenario.Name))
		}
	}
	return list
}

// sum is several counters that are read as one. It is in no set, so that nothing is taken from it or added to it.
type sum []*Counter

func (s sum) take() Sample       { panic("BUG: a sum is in no set") }
func (s sum) add(Sample, Source) { panic("BUG: a sum is in no set") }

// Kind implements [Metric].
func (s sum) Kind() Kind { return KindCounter }

// Samples implements [Metric].
func (s sum) Samples() (n int64) {
	for _, c := range s {
		n += c.n
	}
	return n
}

// Read implements [Metric].
func (s sum) Read(m Method, seconds float64) float64 {
	return (&Counter{n: s.Samples()}).Read(m, seconds)
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

func (t *Tagged) take() Sample {
	s := t.Counter.take()
	for value, c := range t.by {
		if part := c.take(); part.N != 0 {
			if s.Parts == nil {
				s.Parts = make(map[string]int64, len(t.by))
			}
			s.Parts[value] = part.N
		}
	}
	return s
}

func (t *Tagged) add(s Sample, _ Source) {
	t.n += s.N
	for value, n := range s.Parts {
		t.Of(value).n += n
	}
}
