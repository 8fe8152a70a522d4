package metric

import "slices"

// Gauge is the last of several readings, with the extremes of all.
type Gauge struct {
	Sums bool // readings of several sources add up, as connections do; else the highest counts, as of CPU

	reading           // of all time
	recent  reading   // since the last take
	sources []float64 // last reading of each, when there are several
	fresh   []bool    // it has come since the last sum
	sum     float64   // of readings, for their average
	times   int64
}

type reading struct {
	value, low, high float64
	n                int64
}

func (r *reading) set(v float64) {
	if r.n == 0 {
		r.low, r.high = v, v
	}
	r.value, r.low, r.high = v, min(r.low, v), max(r.high, v)
	r.n++
}

// Set takes a reading.
func (g *Gauge) Set(v float64) {
	g.note(v)
	g.sum += v
	g.times++
}

func (g *Gauge) note(v float64) {
	g.reading.set(v)
	g.recent.set(v)
}

// Value is the last reading.
func (g *Gauge) Value() float64 { return g.value }

// Min is the lowest reading.
func (g *Gauge) Min() float64 { return g.low }

// Max is the highest reading.
func (g *Gauge) Max() float64 { return g.high }

func (g *Gauge) take() Sample {
	r := g.recent
	g.recent = reading{}
	return Sample{N: r.n, Value: r.value, Min: r.low, Max: r.high}
}

// add enters the readings of one source. With several, what they come to is known once each has given one.
func (g *Gauge) add(s Sample, from Source) {
	switch {
	case s.N == 0:
		return
	case from.Of <= 1:
		g.note(s.Min)
		g.note(s.Max)
		g.Set(s.Value)
		return
	case g.sources == nil:
		g.sources, g.fresh = make([]float64, from.Of), make([]bool, from.Of)
	}
	g.sources[from.Index], g.fresh[from.Index] = s.Value, true
	if slices.Contains(g.fresh, false) {
		return
	}
	clear(g.fresh)
	if !g.Sums {
		g.Set(slices.Max(g.sources))
		return
	}
	total := 0.0
	for _, v := range g.sources {
		total += v
	}
	g.Set(total)
}

// Kind implements [Metric].
func (g *Gauge) Kind() Kind { return KindGauge }

// Samples implements [Metric].
func (g *Gauge) Samples() int64 { return g.n }

// Avg is the average of the readings; of those that came with snapshots, of the last of each.
func (g *Gauge) Avg() float64 { return g.sum / max(float64(g.times), 1) }

// Read implements [Metric].
func (g *Gauge) Read(m Method, _ float64) float64 {
	switch m.Name {
	case "avg":
		return g.Avg()
	case "min":
		return g.low
	case "max":
		return g.high
	}
	return g.value
}
