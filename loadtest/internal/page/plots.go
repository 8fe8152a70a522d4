package page

import (
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/millracehq/millrace/loadtest/internal/chart"
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/series"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// plot is a chart on the page.
type plot struct {
	Title, Note string
	Legend      []legend
	SVG         template.HTML
}

type legend struct {
	Name, Value string
	Class       string
}

// reading takes one number out of a point; ok is false where there is none.
type reading func(p series.Point, span series.Span) (v float64, ok bool)

func percentileOf(p float64) reading {
	return func(q series.Point, _ series.Span) (float64, bool) { return q.Percentile(p) }
}

// ratePerSecond reads a counter. A point without growth is 0, not a hole.
func ratePerSecond(p series.Point, span series.Span) (float64, bool) {
	if span.To <= span.From {
		return 0, false
	}
	return float64(p.N) / (span.To - span.From).Seconds(), true
}

func gaugeValue(p series.Point, _ series.Span) (float64, bool) { return p.Value, p.N > 0 }

// curve draws one metric by one reading.
type curve struct {
	name   string // in the legend; empty: the metric's
	metric string
	read   reading
	of     string // statistic of the whole run beside the name in the legend; empty: none
}

func (r *Recorder) plots() (list []plot) {
	add := func(title, note, u string, scale chart.Scale, curves ...curve) {
		if p, ok := r.overTime(title, note, u, scale, curves); ok {
			list = append(list, p)
		}
	}
	add("Latency of deliveries", "msg_latency: from when a publication was due", unit.Milliseconds, chart.Log,
		percentiles("msg_latency", 50, 90, 99, 99.9, 100)...)
	if p, ok := r.percentileCurve(); ok {
		list = append(list, p)
	}
	add("Connections", "open and subscribed", unit.Number, chart.Linear, r.connectionCurves()...)
	add("Throughput", "", unit.PerSecond, chart.Linear, counters("msgs_received", "pubs_sent", "pubs_acked", "reqs_answered", "iterations", "polls")...)
	add("Last subscriber", "msg_last_subscriber: until everybody had it", unit.Milliseconds, chart.Log, percentiles("msg_last_subscriber", 50, 99, 100)...)
	add("Acknowledgements", "pub_ack", unit.Milliseconds, chart.Log, percentiles("pub_ack", 50, 99, 100)...)
	add("Requests", "req_latency", unit.Milliseconds, chart.Log, percentiles("req_latency", 50, 99, 100)...)
	add("Connecting", "ws_connecting", unit.Milliseconds, chart.Log, percentiles("ws_connecting", 50, 99, 100)...)
	add("Coming back", "", unit.Milliseconds, chart.Log,
		curve{"back, p50", "ws_reconnect_duration", percentileOf(50), "p(50)"}, curve{"back, max", "ws_reconnect_duration", percentileOf(100), "max"},
		curve{"caught up, p50", "ws_caught_up", percentileOf(50), "p(50)"}, curve{"caught up, max", "ws_caught_up", percentileOf(100), "max"})
	list = append(list, r.serverPlots()...)
	add("Network", "of the generator", unit.BytesRate, chart.Linear, counters("data_received", "data_sent")...)
	add("Trouble", "events, each second", unit.PerSecond, chart.Linear, r.troubles()...)
	add("Generator: CPU", "of one core", unit.Cores, chart.Linear, curve{"", "loadgen_cpu", gaugeValue, ""})
	add("Generator: lag", "msg_send_lag: how late it sent", unit.Milliseconds, chart.Log, percentiles("msg_send_lag", 50, 99, 100)...)
	add("Generator: memory", "", unit.Bytes, chart.Linear, curve{"", "loadgen_resident", gaugeValue, ""})
	return list
}

func percentiles(name string, of ...float64) (list []curve) {
	for _, p := range of {
		label, stat := "p"+strconv.FormatFloat(p, 'f', -1, 64), "p("+strconv.FormatFloat(p, 'f', -1, 64)+")"
		if p == 100 {
			label, stat = "max", "max"
		}
		list = append(list, curve{label, name, percentileOf(p), stat})
	}
	return list
}

func counters(names ...string) (list []curve) {
	for _, name := range names {
		list = append(list, curve{"", name, ratePerSecond, ""})
	}
	return list
}

// connectionCurves has the server's own count, which other clients are in too.
func (r *Recorder) connectionCurves() []curve {
	return []curve{{"here", "", gaugeValue, ""}, {"server_connections", "server_connections", gaugeValue, ""}}
}

// troubles are the counters of what should not happen, if it did.
func (r *Recorder) troubles() []curve {
	return counters("ws_connect_failed", "ws_closed", "ws_cut", "errs", "gaps", "msgs_duplicate", "msgs_reordered", "pubs_failed")
}

// serverPlots are those of server_ metrics: CPU and memory together, everything else by unit and name.
func (r *Recorder) serverPlots() (list []plot) {
	groups := map[string][]curve{}
	var order []string
	for _, name := range r.series.Names() {
		base, _ := metric.SplitName(name)
		if !strings.HasPrefix(base, "server_") || base == "server_connections" {
			continue
		}
		e, known := r.entry(name)
		if !known {
			continue
		}
		title := "Server: " + strings.ReplaceAll(strings.TrimPrefix(base, "server_"), "_", " ")
		switch e.UnitName() {
		case unit.Cores:
			title = "Server: CPU"
		case unit.Bytes:
			title = "Server: memory"
		}
		if groups[title] == nil {
			order = append(order, title)
		}
		read := gaugeValue
		curves := []curve{{name, name, read, ""}}
		if e.Metric.Kind() == metric.KindTrend {
			curves = percentiles(name, 50, 99, 100)
		}
		groups[title] = append(groups[title], curves...)
	}
	for _, title := range order {
		e, _ := r.entry(groups[title][0].metric)
		scale := chart.Linear
		if e.Metric.Kind() == metric.KindTrend {
			scale = chart.Log
		}
		if p, ok := r.overTime(title, e.Help, e.UnitName(), scale, groups[title]); ok {
			list = append(list, p)
		}
	}
	return list
}

// entry describes a metric.
func (r *Recorder) entry(name string) (metric.Entry, bool) {
	for _, e := range r.info.Metrics {
		if e.Name == name {
			return e, true
		}
	}
	return metric.Entry{}, false
}

// overTime draws curves that have values over the time of the run, with its phases.
func (r *Recorder) overTime(title, note, u string, scale chart.Scale, curves []curve) (plot, bool) {
	c := chart.Chart{Title: title, X: chart.Axis{Unit: chart.UnitTime}, Y: chart.Axis{Scale: scale, Unit: u}, Bands: r.bands()}
	p := plot{Title: title, Note: note}
	for _, x := range curves {
		line := r.series.Line(x.metric)
		if x.metric == "" {
			line = r.series.Connections()
		}
		if line == nil {
			continue
		}
		if x.name == "" {
			x.name = x.metric
		}
		p.Legend = append(p.Legend, legend{Name: x.name, Value: r.whole(x), Class: "line" + strconv.Itoa(len(c.Lines)%8+1)})
		c.Lines = append(c.Lines, chart.Line{Name: x.name, Points: r.points(line, x.read)})
	}
	if c.Empty() {
		return p, false
	}
	if len(curves) > 0 && scale == chart.Log {
		c.Marks = r.bounds(curves[0].metric)
	}
	p.SVG = c.SVG()
	return p, true
}

// whole is a curve's statistic over the whole run.
func (r *Recorder) whole(x curve) string {
	if x.of == "" {
		return ""
	}
	m, err := metric.ParseMethod(x.of)
	if err != nil {
		return ""
	}
	percent := m.Percentile
	if m.Name == "max" {
		percent = 100
	}
	if ms, ok := r.percentile(x.metric, percent); ok {
		return unit.MS(ms)
	}
	return ""
}

func (r *Recorder) points(line *series.Line, read reading) []chart.Point {
	spans := r.series.Spans()
	points := make([]chart.Point, 0, len(spans))
	for i, span := range spans {
		var q series.Point
		if i < len(line.Points) {
			q = line.Points[i]
		}
		v, ok := read(q, span)
		if !ok {
			v = math.NaN()
		}
		points = append(points, chart.Point{X: (span.From + span.To).Seconds() / 2, Y: v})
	}
	if strings.HasPrefix(line.Name, "server_") {
		points = bridge(points)
	}
	return points
}

// bridge leaves out holes of one or two points. The server is read by another clock than the run's, so that a second may pass between two readings
// without one; that is no silence of the server's.
func bridge(points []chart.Point) []chart.Point {
	const most = 2
	out := make([]chart.Point, 0, len(points))
	for i := 0; i < len(points); {
		j := i
		for j < len(points) && math.IsNaN(points[j].Y) {
			j++
		}
		if holes := j - i; holes > most || i == 0 || j == len(points) {
			out = append(out, points[i:j]...)
		}
		if j < len(points) {
			out = append(out, points[j])
		}
		i = j + 1
	}
	return out
}

func (r *Recorder) bands() (bands []chart.Band) {
	phases, end := r.series.Phases(), r.taken.Sub(r.info.Started).Seconds()
	for i, p := range phases {
		b := chart.Band{Name: p.Name, From: p.From.Seconds(), To: end}
		if i+1 < len(phases) {
			b.To = phases[i+1].From.Seconds()
		}
		bands = append(bands, b)
	}
	return bands
}

// bounds are the thresholds on percentiles of a trend.
func (r *Recorder) bounds(name string) (marks []chart.Mark) {
	for _, a := range r.info.Scenario.Thresholds[name] {
		t, err := metric.ParseThreshold(name, a.Threshold)
		if err == nil && (t.Method.Name == "p" || t.Method.Name == "max" || t.Method.Name == "med") {
			marks = append(marks, chart.Mark{Name: a.Threshold, At: t.Bound})
		}
	}
	return marks
}

// percentileCurve draws what share of the values is how high, over the whole run: each nine takes as much room as the one before.
func (r *Recorder) percentileCurve() (plot, bool) {
	c := chart.Chart{Title: "Percentiles", X: chart.Axis{Scale: chart.Log, Unit: chart.UnitPercentile}, Y: chart.Axis{Scale: chart.Log, Unit: unit.Milliseconds}}
	p := plot{Title: c.Title, Note: "of the whole run, to the last ten values"}
	for _, name := range []string{"msg_latency", "msg_service", "msg_last_subscriber", "pub_ack", "req_latency", "msg_send_lag"} {
		h := r.hists[name]
		if h == nil || h.TotalCount() < 20 {
			continue
		}
		line := chart.Line{Name: name}
		last := float64(h.TotalCount()) / 10 // beyond it are fewer than ten values
		for x := 1.0; x <= last; x *= 1.15 {
			line.Points = append(line.Points, chart.Point{X: x, Y: max(float64(h.ValueAtPercentile(100-100/x))/1000, 0.001)})
		}
		p.Legend = append(p.Legend, legend{Name: name, Class: "line" + strconv.Itoa(len(c.Lines)%8+1)})
		c.Lines = append(c.Lines, line)
	}
	if c.Empty() {
		return p, false
	}
	p.SVG = c.SVG()
	return p, true
}
