package metric

import (
	"fmt"
	"slices"
	"strings"
)

// Entry is one metric under its name.
type Entry struct {
	Name   string
	Group  string // heading in the summary
	Help   string // one line: what it is, from when to when
	Metric Metric
	Late   bool // only known when the run is over: thresholds on it are not looked at before

	// Basis counts what the metric's evidence is, where that is not its own samples: that nothing was lost says something
	// only when something was expected. Nil: a trend's or a rate's own samples; for counters and gauges no evidence is needed.
	Basis func() int64
}

func (e Entry) evidence() int64 {
	switch {
	case e.Basis != nil:
		return e.Basis()
	case e.Metric.Kind() == KindCounter:
		return 1
	}
	return e.Metric.Samples()
}

// Set is all metrics of a run, in the order in which the summary shows them.
type Set []Entry

// Names lists all metrics.
func (s Set) Names() []string {
	names := make([]string, len(s))
	for i, e := range s {
		names[i] = e.Name
	}
	return names
}

// Find looks a metric up by its name, or one part of a tagged counter by name{tag:value}.
func (s Set) Find(selector string) (Entry, error) {
	name, tag, tagged := strings.Cut(selector, "{")
	i := slices.IndexFunc(s, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return Entry{}, fmt.Errorf("there is no metric %s; there are %s", name, strings.Join(s.Names(), ", "))
	}
	e := s[i]
	if !tagged {
		return e, nil
	}
	t, ok := e.Metric.(*Tagged)
	if !ok {
		return Entry{}, fmt.Errorf("metric %s has no tags, so there is no %s", name, selector)
	}
	tag, closed := strings.CutSuffix(tag, "}")
	key, value, colon := strings.Cut(tag, ":")
	if !closed || !colon || key != t.Tag || value == "" {
		return Entry{}, fmt.Errorf("%s is not a part of %s: want %s{%s:VALUE}", selector, name, name, t.Tag)
	}
	e.Name, e.Metric = selector, t.Of(value)
	return e, nil
}

// Bound is a threshold together with its metric.
type Bound struct {
	Threshold
	Entry Entry
}

// Bind finds the metric of a threshold and refuses a method that its kind does not have.
func (s Set) Bind(t Threshold) (Bound, error) {
	e, err := s.Find(t.Metric)
	if err != nil {
		return Bound{}, fmt.Errorf("threshold %q: %w", t.Source, err)
	}
	if k := e.Metric.Kind(); !k.Has(t.Method) {
		return Bound{}, fmt.Errorf("threshold %q: %s is a %s and has no %s; it has %s", t.Source, t.Metric, k, t.Method.Name, k.Methods())
	}
	if t.AbortOnFail && e.Late {
		return Bound{}, fmt.Errorf("threshold %q: %s is only known when the run is over, so abortOnFail cannot end it", t.Source, t.Metric)
	}
	return Bound{Threshold: t, Entry: e}, nil
}

// Check judges the threshold on its metric.
func (b Bound) Check(seconds float64) Verdict { return b.Threshold.Check(b.Entry, seconds) }
