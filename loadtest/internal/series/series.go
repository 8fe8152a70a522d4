// Package series keeps what a run measured over time, in memory that does not grow with its length.
//
//	1 s 1 s 1 s 1 s 1 s 1 s          a point for each second
//	└─┬─┘   └─┬─┘   └─┬─┘
//	 2 s     2 s     2 s             full: neighbours are joined, and points are twice as long from now on
//
// So there are always between half of the points and all of them: a run of 30 s has one a second, a run of a day one every few
// minutes. Joining loses time, never values: counters add up, gauges keep their extremes, and percentiles are read from histograms
// that are merged, so that those of a long point are as good as those of a short one: within 3 %.
//
// A point of a trend takes 16 bytes for each different value, 704 at most and 50 to 100 as a rule; the rest of a point takes 64 bytes a metric.
package series

import (
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// DefaultPoints is a point for each pixel that a plot has, and some.
const DefaultPoints = 600

// Series are all metrics of a run over time. They belong to one goroutine.
type Series struct {
	points int // at most
	start  time.Time
	step   time.Duration // what points are to be long
	times  []Span
	phases []Phase
	names  []string // of lines, in the order of their set
	lines  map[string]*Line
}

// Span is when a point was.
type Span struct {
	From, To time.Duration // from the start of the run
}

// Phase is when a phase began.
type Phase struct {
	Name string
	From time.Duration
}

// Line is one metric over time: a point for each span.
type Line struct {
	Name   string
	Kind   metric.Kind
	Points []Point
	seen   bool // there was a value
}

// Point is one metric in one span.
type Point struct {
	N        int64   // growth of a counter, total of a rate, readings of a gauge, values of a trend
	Passes   int64   // of a rate
	Value    float64 // last reading of a gauge
	Min, Max float64 // of a gauge's readings; of a trend Max only, in milliseconds
	hist     histogram
}

// New makes an empty series for a run that begins at start. It keeps at most points points, an even number; 0 is DefaultPoints.
func New(start time.Time, points int) *Series {
	if points == 0 {
		points = DefaultPoints
	}
	return &Series{points: max(points&^1, 2), start: start, step: time.Second, lines: make(map[string]*Line)}
}

// Add enters a snapshot.
func (s *Series) Add(snap metric.Snapshot) {
	to := snap.At.Sub(s.start)
	from := to - snap.Span
	if n := len(s.phases); snap.Phase != "" && (n == 0 || s.phases[n-1].Name != snap.Phase) {
		s.phases = append(s.phases, Phase{snap.Phase, from})
	}
	if !s.joins(snap.Span) {
		if len(s.times) == s.points {
			s.halve()
		}
		s.times = append(s.times, Span{from, to})
	}
	last := len(s.times) - 1
	s.times[last].To = to
	for _, sample := range snap.Samples {
		s.line(sample).add(last, sample)
	}
	s.add(snap, last)
}

// connections is the line of [metric.Snapshot.Ready].
const connections = "connections"

// add enters what is no metric: how many connections there are, in phases too in which ws_connections is not kept.
func (s *Series) add(snap metric.Snapshot, at int) {
	v := float64(snap.Ready)
	sample := metric.Sample{Name: connections, Kind: metric.KindGauge, N: 1, Value: v, Min: v, Max: v}
	s.line(sample).add(at, sample)
}

// joins says whether a span belongs to the last point: whether that comes nearer to the length that it is to have.
func (s *Series) joins(span time.Duration) bool {
	n := len(s.times)
	return n > 0 && s.times[n-1].To-s.times[n-1].From+span/2 <= s.step
}

func (s *Series) halve() {
	half := s.points / 2
	for i := range half {
		s.times[i] = Span{s.times[2*i].From, s.times[2*i+1].To}
	}
	s.times = s.times[:half]
	for _, l := range s.lines {
		l.halve(half)
	}
	s.step *= 2
}

func (s *Series) line(sample metric.Sample) *Line {
	l := s.lines[sample.Name]
	if l == nil {
		l = &Line{Name: sample.Name, Kind: sample.Kind}
		s.lines[sample.Name] = l
		s.names = append(s.names, sample.Name)
	}
	return l
}

func (l *Line) add(at int, sample metric.Sample) {
	for len(l.Points) <= at {
		l.Points = append(l.Points, Point{})
	}
	if sample.N == 0 {
		return
	}
	l.seen = true
	p := Point{N: sample.N, Passes: sample.Passes, Value: sample.Value, Min: sample.Min, Max: sample.Max}
	if sample.Hist != nil {
		p.hist, p.Max = newHistogram(sample.Hist), float64(sample.Hist.Max())/1000
	}
	l.Points[at].join(p)
}

func (l *Line) halve(half int) {
	for i := range half {
		var p Point
		for j := 2 * i; j < min(2*i+2, len(l.Points)); j++ {
			p.join(l.Points[j])
		}
		if i < len(l.Points) {
			l.Points[i] = p
		}
	}
	if len(l.Points) > half {
		clear(l.Points[half:]) // lets go of their histograms
		l.Points = l.Points[:half]
	}
}

// join adds a later point.
func (p *Point) join(q Point) {
	switch {
	case q.N == 0:
		return
	case p.N == 0:
		*p = q
		return
	}
	p.N += q.N
	p.Passes += q.Passes
	p.Value, p.Min, p.Max = q.Value, min(p.Min, q.Min), max(p.Max, q.Max)
	p.hist = p.hist.join(q.hist)
}

// Percentile of a trend's point in milliseconds; 100 is its highest value. A point without values has none: ok is false.
func (p Point) Percentile(percent float64) (ms float64, ok bool) {
	if p.N == 0 {
		return 0, false
	}
	return min(float64(p.hist.percentile(percent))/1000, p.Max), true
}

// Spans are when the points were, rising.
func (s *Series) Spans() []Span { return s.times }

// Phases are the phases that began, in their order.
func (s *Series) Phases() []Phase { return s.phases }

// Step is how long points are to be.
func (s *Series) Step() time.Duration { return s.step }

// Line is one metric over time; nil when it never had a value. There may be fewer points than spans: the others are empty.
func (s *Series) Line(name string) *Line {
	if l := s.lines[name]; l != nil && l.seen {
		return l
	}
	return nil
}

// Connections are the open and subscribed connections, in all phases.
func (s *Series) Connections() *Line { return s.Line(connections) }

// Names lists the lines that have values, in the order in which they came.
func (s *Series) Names() (names []string) {
	for _, name := range s.names {
		if s.lines[name].seen && name != connections {
			names = append(names, name)
		}
	}
	return names
}
