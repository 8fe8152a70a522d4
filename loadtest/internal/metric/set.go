package metric

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// Entry is one metric under its name.
type Entry struct {
	Name   string
	Group  string // heading in the summary
	Help   string // one line: what it is, from when to when
	Metric Metric
	Tags   *Tags  // of a trend: what its parts can be named by; nil: it has none
	Unit   string // of package unit; empty: milliseconds of a trend, a share of a rate, else a number
	Late   bool   // only known when the run is over: thresholds on it are not looked at before

	// Basis counts what the metric's evidence is, where that is not its own samples: that nothing was lost says something
	// only when something was expected. Nil: a trend's or a rate's own samples; for counters and gauges no evidence is needed.
	Basis func() int64
}

// UnitName is the unit of the entry's values.
func (e Entry) UnitName() string {
	switch {
	case e.Unit != "":
		return e.Unit
	case e.Metric.Kind() == KindTrend:
		return unit.Milliseconds
	case e.Metric.Kind() == KindRate:
		return unit.Share
	}
	return unit.Number
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

// index of an entry by its whole name, -1 when there is none.
func (s Set) index(name string) int {
	return slices.IndexFunc(s, func(e Entry) bool { return e.Name == name })
}

// With is the set with an entry more for each part of a trend that the selectors of thresholds ask for, behind the trend's own.
func (s Set) With(selectors []string) (Set, error) {
	var faults []error
	for _, text := range selectors {
		sel, err := parseSelector(text)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		i := s.index(sel.name)
		if i < 0 || s.index(sel.entry()) >= 0 || s[i].Metric.Kind() != KindTrend {
			continue // Find says what is wrong
		}
		e := s[i]
		of, err := e.Tags.label(sel)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		e.Name, e.Metric, e.Basis = sel.entry(), e.Metric.(*Trend).part(of), nil
		s = slices.Insert(s, i+1, e)
	}
	return s, errors.Join(faults...)
}

// Find looks a metric up by its name, or a part of it by name{tag:value}; parts of trends must have been asked for by With.
func (s Set) Find(text string) (Entry, error) {
	sel, err := parseSelector(text)
	if err != nil {
		return Entry{}, err
	}
	if i := s.index(sel.entry()); i >= 0 {
		return s[i], nil
	}
	i := s.index(sel.name)
	if i < 0 {
		return Entry{}, fmt.Errorf("there is no metric %s; there are %s", sel.name, strings.Join(s.Names(), ", "))
	}
	e := s[i]
	one := func(tag string, part func(value string) Metric) (Entry, error) {
		if len(sel.tags) != 1 || sel.tags[0].name != tag {
			return Entry{}, fmt.Errorf("%s is not a part of %s: want %s{%s:VALUE}", text, sel.name, sel.name, tag)
		}
		e.Name, e.Metric = sel.entry(), part(sel.tags[0].value)
		return e, nil
	}
	switch m := e.Metric.(type) {
	case *Tagged:
		if m.Tag == TagScenario && e.Tags != nil {
			of, err := e.Tags.label(sel)
			if err == nil && of.Phase != 0 {
				err = fmt.Errorf("metric %s has no phases, so there is no %s", sel.name, text)
			}
			e.Name, e.Metric = sel.entry(), m.sum(e.Tags, of)
			return e, err
		}
		return one(m.Tag, func(value string) Metric { return m.Of(value) })
	case *Checks:
		return one("check", func(value string) Metric { return m.Of(value) })
	case *Trend:
		_, err := e.Tags.label(sel)
		return Entry{}, err
	}
	return Entry{}, fmt.Errorf("metric %s has no tags, so there is no %s", sel.name, text)
}

// Bound is a threshold together with its metric.
type Bound struct {
	Threshold
	Entry  Entry
	window *window // nil: it is about the whole steady phase
	at     int     // entry in the set that snapshots have; of a window
}

// Bind finds the metric of a threshold and refuses a method that its kind does not have.
func (s Set) Bind(t Threshold) (Bound, error) {
	fail := func(format string, args ...any) (Bound, error) {
		return Bound{}, fmt.Errorf("threshold %q: "+format, append([]any{t.Source}, args...)...)
	}
	e, err := s.Find(t.Metric)
	if err != nil {
		return fail("%w", err)
	}
	if k := e.Metric.Kind(); !k.Has(t.Method) {
		return fail("%s is a %s and has no %s; it has %s", t.Metric, k, t.Method.Name, k.Methods())
	}
	if t.AbortOnFail && e.Late {
		return fail("%s is only known when the run is over, so abortOnFail cannot end it", t.Metric)
	}
	b := Bound{Threshold: t, Entry: e, at: s.index(e.Name)}
	sel, _ := parseSelector(t.Metric) // Find has read it
	switch trend, ok := e.Metric.(*Trend); {
	case sel.window > 0 && (b.at < 0 || e.Late || e.Metric.Kind() == KindRate):
		return fail("%s is not known by the second, so that it has no windows", t.Metric)
	case sel.window > 0:
		b.window = newWindow(sel.window, t)
	case ok && trend.batches == nil:
		trend.batches = &Batches{}
	}
	return b, nil
}

// Feed gives the thresholds on windows a second of the steady phase.
func Feed(bounds []Bound, snap Snapshot) {
	for _, b := range bounds {
		if b.window != nil {
			b.window.add(snap.Samples[b.at], snap.Span)
		}
	}
}

// Check judges the threshold on its metric.
func (b Bound) Check(seconds float64) Verdict {
	if b.window != nil {
		return b.window.check()
	}
	return b.Threshold.Check(b.Entry, seconds)
}
