package page

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

func (r *Recorder) threshold(t loadtest.ThresholdResult) threshold {
	row := threshold{Metric: t.Metric, Source: t.Threshold, Why: t.Why, Class: "fail"}
	switch t.Outcome {
	case metric.Passed:
		row.Class = "pass"
	case metric.Inconclusive:
		row.Class = "unsure"
	default:
	}
	if !t.Known {
		return row
	}
	u := r.unitOf(t.Metric)
	row.Value = unit.Format(t.Value, u)
	if len(t.Interval) == 2 {
		row.Value += fmt.Sprintf(" (95%% between %s and %s)", unit.Format(t.Interval[0], u), unit.Format(t.Interval[1], u))
	}
	if parsed, err := metric.ParseThreshold(t.Metric, t.Threshold); err == nil {
		row.Bar = intervalBar(t, parsed.Bound)
	}
	return row
}

func (r *Recorder) unitOf(name string) string {
	if e, ok := r.entry(name); ok {
		return e.UnitName()
	}
	name, _, _ = strings.Cut(name, "{") // a window, or a part of a counter
	e, _ := r.entry(name)
	if e.Metric == nil {
		return unit.Number
	}
	return e.UnitName()
}

// intervalBar draws where a value and its confidence interval lie towards the bound; nothing when all are 0.
func intervalBar(t loadtest.ThresholdResult, bound float64) template.HTML {
	const wide, high = 160.0, 18.0
	low, top := t.Value, t.Value
	if len(t.Interval) == 2 {
		low, top = t.Interval[0], t.Interval[1]
	}
	end := max(bound, top) * 1.15
	if end <= 0 || min(low, bound) < 0 {
		return ""
	}
	at := func(v float64) float64 { return v / end * wide }
	return template.HTML(fmt.Sprintf(`<svg class="interval" viewBox="0 0 %g %g" aria-hidden="true">`+
		`<line class="grid" x1="0" x2="%g" y1="9" y2="9"/><rect class="ci" x="%.1f" y="5" width="%.1f" height="8" rx="2"/>`+
		`<line class="value" x1="%.1f" x2="%.1f" y1="3" y2="15"/><line class="mark" x1="%.1f" x2="%.1f" y1="1" y2="17"/></svg>`,
		wide, high, wide, at(low), max(at(top)-at(low), 1), at(t.Value), at(t.Value), at(bound), at(bound)))
}

// pending are the thresholds of a run that goes on.
func (r *Recorder) pending() (list []threshold) {
	for _, name := range slices.Sorted(maps.Keys(r.info.Scenario.Thresholds)) {
		for _, a := range r.info.Scenario.Thresholds[name] {
			list = append(list, threshold{Metric: name, Source: a.Threshold, Class: "running"})
		}
	}
	return list
}
