package page

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// view is what the template shows.
type view struct {
	Name, Title string
	Live        bool   // the page renews itself
	Class       string // of the verdict: pass, fail, unsure, running
	Verdict     string
	Conclusion  string
	When        string
	Tiles       []tile
	Thresholds  []threshold
	Evidence    []loadtest.Check
	Generator   loadtest.Generator
	Plots       []plot
	Server      []tile // what a delivery and a connection cost the server
	Ledger      []tile
	Metrics     []group
	Conditions  []tile
	Scenario    string // as JSON
}

type tile struct{ Name, Value, Note string }

type threshold struct {
	Metric, Source, Value, Why string
	Class                      string // pass, fail, unsure, running
	Bar                        template.HTML
}

// group is a table of metrics of one kind with columns of their own.
type group struct {
	Name string
	Rows []metricRow
}

type metricRow struct {
	Name, Help string
	Text       string
}

func (r *Recorder) view(live bool) view {
	v := view{Name: r.info.Name, Live: live}
	if r.series == nil {
		v.Title, v.Class, v.Verdict = "loadtest", "running", "STARTING"
		return v
	}
	elapsed := r.taken.Sub(r.info.Started).Round(time.Second)
	v.When = fmt.Sprintf("%s, %s", r.info.Started.UTC().Format("2006-01-02 15:04:05 MST"), elapsed)
	v.Plots = r.plots()
	v.Conditions = r.conditions()
	if text, err := json.MarshalIndent(r.info.Scenario, "", "  "); err == nil {
		v.Scenario = string(text)
	}
	if rep := r.report; rep != nil {
		v.Class, v.Verdict = verdict(rep)
		_, v.Conclusion, _ = strings.Cut(rep.Conclusion(), v.Name+": ")
		v.Evidence, v.Generator = rep.Evidence, rep.Generator
		for _, t := range rep.Thresholds {
			v.Thresholds = append(v.Thresholds, r.threshold(t))
		}
		v.Ledger, v.Server, v.Metrics = r.ledger(), r.costs(), r.metrics()
	} else {
		v.Class, v.Verdict = "running", "RUNNING"
		if phases := r.series.Phases(); len(phases) > 0 {
			v.Conclusion = phases[len(phases)-1].Name
		}
		if r.ended {
			v.Verdict, v.Conclusion = "NOT STARTED", "the run could not start"
		}
		v.Thresholds = r.pending()
	}
	v.Tiles = r.tiles()
	v.Title = v.Name + ": " + v.Verdict
	return v
}

func verdict(rep *loadtest.Report) (class, text string) {
	switch {
	case rep.Interrupted:
		return "unsure", "INTERRUPTED"
	case rep.Passed:
		return "pass", "PASSED"
	case rep.ExitCode == loadtest.ExitUnsure:
		return "unsure", "INCONCLUSIVE"
	case rep.ExitCode == loadtest.ExitInvalid:
		return "unsure", "INVALID"
	}
	return "fail", "FAILED"
}

// tiles are the figures that are read first.
func (r *Recorder) tiles() (list []tile) {
	if line := r.series.Connections(); line != nil {
		high := 0.0
		for _, p := range line.Points {
			high = max(high, p.Max)
		}
		list = append(list, tile{"connections", unit.Trim(high), fmt.Sprintf("of %d", r.info.Scenario.Connections)})
	}
	rate := func(name, label string) {
		if rep := r.report; rep != nil && rep.Metrics[name].Values["count"] > 0 {
			list = append(list, tile{label, unit.Compact(rep.Metrics[name].Values["rate"]) + "/s", unit.Compact(rep.Metrics[name].Values["count"]) + " in all"})
		}
	}
	rate("msgs_received", "deliveries")
	rate("pubs_acked", "publications")
	for _, name := range []string{"msg_latency", "req_latency"} {
		label := strings.TrimSuffix(name, "_latency")
		if p50, ok := r.percentile(name, 50); ok {
			p99, _ := r.percentile(name, 99)
			high, _ := r.percentile(name, 100)
			list = append(list,
				tile{label + " p99", unit.MS(p99), "p50 " + unit.MS(p50)},
				tile{label + " max", unit.MS(high), name})
		}
	}
	if rep := r.report; rep != nil && rep.Metrics["msgs_expected"].Values["count"] > 0 {
		list = append(list, tile{"lost", unit.Trim(rep.Metrics["msgs_lost"].Values["count"]), "of " + unit.Compact(rep.Metrics["msgs_expected"].Values["count"])})
	}
	return list
}

func (r *Recorder) ledger() (list []tile) {
	for _, name := range []string{
		"msgs_expected", "msgs_received", "msgs_lost", "msgs_duplicate", "msgs_reordered", "msgs_announced", "msgs_unsure",
		"msgs_misrouted", "msgs_damaged", "msgs_foreign", "gaps",
	} {
		if e, ok := r.entry(name); ok {
			list = append(list, tile{name, unit.Trim(r.report.Metrics[name].Values["count"]), e.Help})
		}
	}
	return list
}

// costs divides what the server used in the steady phase by what it did.
func (r *Recorder) costs() (list []tile) {
	value := func(name, stat string) float64 { return r.report.Metrics[name].Values[stat] }
	if cpu, n := value("server_cpu", "avg"), value("msgs_received", "rate"); cpu > 0 && n > 0 {
		list = append(list, tile{"server CPU a delivery", unit.Trim(cpu/n*1e6) + " µs", "server_cpu over deliveries a second: idle connections and publishing are in it"})
	}
	if bytes, n := value("server_rss", "avg"), value("ws_connections", "avg"); bytes > 0 && n > 0 {
		list = append(list, tile{"server memory a connection", unit.Size(bytes / n), "server_rss over connections: what it takes without any is in it"})
	}
	if ops, n := value("server_redis_commands", "avg"), value("pubs_acked", "rate"); ops > 0 && n > 0 {
		list = append(list, tile{"Redis commands a publication", unit.Trim(ops / n), "all that Redis did, by the publications acknowledged"})
	}
	return list
}

// metrics are all values by group, without those that never had one.
func (r *Recorder) metrics() (groups []group) {
	stats := []string{"avg", "min", "med", "max", "p(95)", "p(99)", "p(99.9)"}
	for _, e := range r.info.Metrics {
		v, ok := r.report.Metrics[e.Name]
		if !ok {
			continue
		}
		row := metricRow{Name: e.Name, Help: e.Help}
		switch v.Type {
		case metric.KindTrend:
			if v.Values["count"] == 0 {
				continue
			}
			for _, s := range stats {
				row.Text += s + "=" + unit.Format(v.Values[s], e.UnitName()) + "  "
			}
			row.Text += "count=" + unit.Compact(v.Values["count"])
			if v.Over > 0 {
				row.Text += fmt.Sprintf("  over 60s=%d", v.Over)
			}
		case metric.KindRate:
			if v.Values["passes"]+v.Values["fails"] == 0 {
				continue
			}
			row.Text = fmt.Sprintf("%.4f%%  %.0f out of %.0f", v.Values["rate"]*100, v.Values["passes"], v.Values["passes"]+v.Values["fails"])
		case metric.KindGauge:
			if v.Values["value"] == 0 && v.Values["max"] == 0 {
				continue
			}
			row.Text = unit.Format(v.Values["value"], e.UnitName())
			for _, s := range []string{"avg", "min", "max"} {
				row.Text += "  " + s + "=" + unit.Format(v.Values[s], e.UnitName())
			}
		default:
			if v.Values["count"] == 0 {
				continue
			}
			row.Text = unit.Format(v.Values["count"], e.UnitName()) + "  " + unit.Format(v.Values["rate"], e.UnitName()) + "/s"
			for _, part := range slices.Sorted(maps.Keys(v.Counts)) {
				row.Text += fmt.Sprintf("  %s:%s=%d", v.Tag, part, v.Counts[part])
			}
		}
		if n := len(groups); n == 0 || groups[n-1].Name != e.Group {
			groups = append(groups, group{Name: e.Group})
		}
		last := &groups[len(groups)-1]
		last.Rows = append(last.Rows, row)
	}
	return groups
}

func (r *Recorder) conditions() (list []tile) {
	add := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.TrimSpace(text) != "" {
			list = append(list, tile{Name: name, Value: text})
		}
	}
	e := r.info.Environment
	add("processor", "%s", e.CPU)
	add("cores", "%d", e.CPUs)
	add("memory", "%d MB", e.MemoryMB)
	add("system", "%s %s, %s", e.OS, e.Kernel, e.Arch)
	add("limits", "%d open files, %d ports", e.Files, e.Ports)
	add("loadtest", "%s, %s", r.info.Version, e.Go)
	add("server", "%s", r.info.Scenario.URL)
	add("command", "%s", strings.Join(r.info.Command, " "))
	for _, k := range slices.Sorted(maps.Keys(r.info.Scenario.Tags)) {
		add("tag "+k, "%s", r.info.Scenario.Tags[k])
	}
	add("a point of the plots", "%s", r.series.Step())
	return list
}
