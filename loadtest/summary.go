package loadtest

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// painter colours marks for terminals.
type painter bool

func (p painter) ok(good bool) string {
	mark, colour := "✗", "31"
	if good {
		mark, colour = "✓", "32"
	}
	if !p {
		return mark
	}
	return "\x1b[" + colour + "m" + mark + "\x1b[0m"
}

// WriteSummary writes the report for people, in k6's layout.
func (rep *Report) WriteSummary(w io.Writer, colour bool) error {
	var b strings.Builder
	p := painter(colour)
	if len(rep.Thresholds) > 0 {
		b.WriteString("\n  █ THRESHOLDS\n")
		rep.writeThresholds(&b, p)
	}
	b.WriteString("\n  █ TOTAL RESULTS\n")
	rep.writeMetrics(&b, p)
	b.WriteString("\n  █ EVIDENCE\n\n")
	for _, c := range rep.Evidence {
		fmt.Fprintf(&b, "    %s %s\n", p.ok(c.OK), c.Text)
	}
	if g := rep.Generator; g.Verdict != "" {
		fmt.Fprintf(&b, "    %s generator %s", p.ok(g.Verdict != VerdictInvalid), g.Verdict)
		if len(g.Reasons) > 0 {
			b.WriteString(": " + strings.Join(g.Reasons, "; "))
		}
		b.WriteByte('\n')
	}
	if len(rep.Agents) > 0 {
		b.WriteString("\n  █ AGENTS\n\n")
		for _, a := range rep.Agents {
			fmt.Fprintf(&b, "    %s %s clock %+.3fms ± %.3fms (corrected), generator %s\n", p.ok(a.Generator.Verdict != VerdictInvalid), a.Address, a.AheadMS, a.BoundMS, a.Generator.Verdict)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", rep.conclusion())
	_, err := io.WriteString(w, b.String())
	return err
}

// conclusion is the last line.
func (rep *Report) conclusion() string {
	name := rep.Name
	switch {
	case rep.Interrupted:
		return name + ": interrupted; no verdict"
	case rep.Aborted != "":
		return name + ": FAILED: ended by the threshold " + rep.Aborted
	case rep.Passed:
		return name + ": passed"
	case rep.ExitCode == ExitUnsure:
		return name + ": INCONCLUSIVE: nothing failed, but a bound lies within the confidence interval of what was measured"
	case rep.ExitCode == ExitInvalid:
		return name + ": INVALID: the generator was the limit, so that its figures say nothing about the server"
	}
	var crossed []string
	for _, t := range rep.Thresholds {
		if !t.OK && !slices.Contains(crossed, t.Metric) {
			crossed = append(crossed, t.Metric)
		}
	}
	if len(crossed) == 0 {
		return name + ": FAILED: the evidence is missing, see above"
	}
	return name + ": FAILED: thresholds on " + strings.Join(crossed, ", ")
}

func (rep *Report) writeThresholds(b *strings.Builder, p painter) {
	last := ""
	for _, t := range rep.Thresholds {
		if t.Metric != last {
			fmt.Fprintf(b, "\n    %s\n", t.Metric)
			last = t.Metric
		}
		value := trim(t.Value)
		if t.kind == metric.KindTrend {
			value = formatMS(t.Value)
			if len(t.Interval) == 2 {
				value += fmt.Sprintf(" (95%% between %s and %s)", formatMS(t.Interval[0]), formatMS(t.Interval[1]))
			}
		} else if t.kind == metric.KindRate {
			value = fmt.Sprintf("%.4f%%", t.Value*100)
		}
		switch {
		case t.Outcome == metric.Inconclusive:
			fmt.Fprintf(b, "    ? '%s' %s=%s inconclusive: %s\n", t.Threshold, t.Method, value, t.Why)
		case t.Known:
			fmt.Fprintf(b, "    %s '%s' %s=%s\n", p.ok(t.OK), t.Threshold, t.Method, value)
		default:
			fmt.Fprintf(b, "    %s '%s' %s\n", p.ok(false), t.Threshold, t.Why)
		}
	}
}

// row is one line of the results: a name and cells that align within the group.
type row struct {
	name  string
	cells []string
}

func (rep *Report) writeMetrics(b *strings.Builder, p painter) {
	width := 0
	for _, e := range rep.set {
		width = max(width, len(e.Name))
	}
	group := ""
	var rows []row
	flush := func() {
		if len(rows) > 0 {
			fmt.Fprintf(b, "\n    %s\n", group)
			writeRows(b, rows, width+3)
		}
		rows = nil
	}
	rep.writeChecks(b, p)
	for _, e := range rep.set {
		if e.Group == swarm.GroupChecks {
			continue
		}
		if e.Group != group {
			flush()
			group = e.Group
		}
		if rep.shown(e) {
			rows = append(rows, rep.rows(e)...)
		}
	}
	flush()
}

// writeChecks writes the checks as k6 does: totals, then one line each, with a second one where some failed.
func (rep *Report) writeChecks(b *strings.Builder, p painter) {
	i := slices.IndexFunc(rep.set, func(e metric.Entry) bool { return e.Name == "checks" })
	if i < 0 || rep.set[i].Metric.Samples() == 0 {
		return
	}
	c := rep.set[i].Metric.(*metric.Checks)
	total, passes := c.Samples(), c.Passes()
	rate := 0.0
	if rep.Seconds > 0 {
		rate = float64(total) / rep.Seconds
	}
	b.WriteByte('\n')
	writeRows(b, []row{
		{name: "checks_total", cells: []string{fmt.Sprint(total), trim(rate) + "/s"}},
		{name: "checks_succeeded", cells: []string{percent(passes, total), fmt.Sprintf("%d out of %d", passes, total)}},
		{name: "checks_failed", cells: []string{percent(total-passes, total), fmt.Sprintf("%d out of %d", total-passes, total)}},
	}, len("checks_succeeded")+3)
	b.WriteByte('\n')
	for _, name := range c.Names() {
		r := c.Of(name)
		fails := r.Samples() - r.Passes()
		fmt.Fprintf(b, "    %s %s\n", p.ok(fails == 0), name)
		if fails > 0 {
			fmt.Fprintf(b, "      ↳ %3.0f%% — ✓ %d / ✗ %d\n", math.Floor(r.Share()*100), r.Passes(), fails)
		}
	}
}

func percent(part, total int64) string {
	return fmt.Sprintf("%.2f%%", 100*float64(part)/float64(max(total, 1)))
}

// shown says whether a metric has a line: when it has samples, or when zero is news.
func (rep *Report) shown(e metric.Entry) bool {
	return e.Metric.Samples() > 0 || e.Basis != nil && e.Basis() > 0
}

func (rep *Report) rows(e metric.Entry) []row {
	v := rep.Metrics[e.Name].Values
	count := func(v map[string]float64) []string { return []string{trim(v["count"]), trim(v["rate"]) + "/s"} }
	r := row{name: e.Name}
	switch m := e.Metric.(type) {
	case *metric.Trend:
		for _, stat := range rep.stats {
			text := formatMS(v[stat.String()])
			if stat.Name == "count" {
				text = trim(v["count"])
			}
			r.cells = append(r.cells, stat.String()+"="+text)
		}
		if m.Over() > 0 {
			r.cells = append(r.cells, fmt.Sprintf("over 60s=%d", m.Over()))
		}
	case *metric.Rate:
		r.cells = []string{fmt.Sprintf("%.4f%%", v["rate"]*100), fmt.Sprintf("%d out of %d", m.Passes(), m.Samples())}
	case *metric.Gauge:
		format := trim
		if e.Unit == unit.Bytes {
			format = formatBytes
		}
		r.cells = []string{format(v["value"]), "min=" + format(v["min"]), "max=" + format(v["max"])}
	case *metric.Tagged:
		r.cells = count(v)
		rows := []row{r}
		counts := rep.Metrics[e.Name].Counts
		if m.Tag == metric.TagScenario && len(counts) < 2 {
			return rows // of the only one
		}
		for _, value := range slices.Sorted(maps.Keys(counts)) {
			rows = append(rows, row{name: "  { " + m.Tag + ":" + value + " }", cells: []string{fmt.Sprint(counts[value])}})
		}
		return rows
	default:
		r.cells = count(v)
		if e.Group == swarm.GroupNetwork {
			r.cells = []string{formatBytes(v["count"]), formatBytes(v["rate"]) + "/s"}
		}
	}
	return []row{r}
}

func writeRows(b *strings.Builder, rows []row, width int) {
	var columns []int
	for _, r := range rows {
		for i, c := range r.cells {
			if i == len(columns) {
				columns = append(columns, 0)
			}
			columns[i] = max(columns[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(b, "    %s%s:", r.name, strings.Repeat(".", max(width-len(r.name), 1)))
		for i, c := range r.cells {
			b.WriteString(" " + c)
			if i < len(r.cells)-1 {
				b.WriteString(strings.Repeat(" ", columns[i]-utf8.RuneCountInString(c)))
			}
		}
		b.WriteByte('\n')
	}
}
