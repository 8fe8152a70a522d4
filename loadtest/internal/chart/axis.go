package chart

import (
	"fmt"
	"math"
	"strconv"
)

// axis maps values to places between two ends of the drawing.
type axis struct {
	low, high float64
	log       bool
	from, to  float64 // where low and high are
	want      int     // ticks, about
	unit      string
}

// ranges finds what the axes must show.
func (c Chart) ranges() (x, y axis) {
	x = axis{low: math.Inf(1), high: math.Inf(-1), log: c.X.Scale == Log, from: left, to: width - right, want: 8, unit: c.X.Unit}
	y = axis{low: math.Inf(1), high: math.Inf(-1), log: c.Y.Scale == Log, from: height - below, to: above, want: 5, unit: c.Y.Unit}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if math.IsNaN(p.Y) {
				continue
			}
			x.low, x.high = min(x.low, p.X), max(x.high, p.X)
			if !y.log || p.Y > 0 {
				y.low, y.high = min(y.low, p.Y), max(y.high, p.Y)
			}
		}
	}
	for _, b := range c.Bands {
		if b.From < b.To {
			x.low, x.high = min(x.low, b.From), max(x.high, b.To)
		}
	}
	for _, m := range c.Marks {
		if m.At <= 20*y.high && m.At > 0 { // a bound that is far away would flatten what there is
			y.high = max(y.high, m.At*1.1)
		}
	}
	x.widen(false)
	y.widen(true)
	return x, y
}

// widen makes room around the data: to nice numbers, and on a linear axis of values down to 0.
func (a *axis) widen(values bool) {
	if a.low > a.high { // no data
		a.low, a.high = 0, 1
		if a.log {
			a.low = 0.1
		}
	}
	switch {
	case !values:
		if a.high <= a.low {
			a.high = a.low + 1
		}
	case a.log:
		a.low, a.high = a.low*0.8, a.high*1.25
		if a.high < 10*a.low {
			a.high, a.low = a.high*1.6, a.high*1.6/16
		}
	default:
		a.low = min(a.low, 0)
		if a.high <= a.low {
			a.high = a.low + 1
		}
		step := niceStep((a.high - a.low) / float64(a.want))
		a.high = math.Ceil(a.high*1.02/step) * step
	}
}

// place is where a value is drawn; outside of the axis it is at its end.
func (a axis) place(v float64) float64 {
	v = min(max(v, a.low), a.high)
	share := (v - a.low) / (a.high - a.low)
	if a.log {
		share = math.Log(v/a.low) / math.Log(a.high/a.low)
	}
	return a.from + share*(a.to-a.from)
}

// ticks are the values that are written.
func (a axis) ticks() (list []float64) {
	if a.unit == UnitPercentile {
		for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999} {
			if v := 100 / (100 - p); v <= a.high*1.001 {
				list = append(list, v)
			}
		}
		return list
	}
	if a.log {
		factors := []float64{1, 2, 5}
		if a.high/a.low > 3000 {
			factors = []float64{1}
		}
		for decade := math.Pow(10, math.Floor(math.Log10(a.low))); decade <= a.high; decade *= 10 {
			for _, f := range factors {
				if v := decade * f; v >= a.low && v <= a.high {
					list = append(list, v)
				}
			}
		}
		return list
	}
	step := niceStep((a.high - a.low) / float64(a.want))
	if a.unit == UnitTime {
		step = timeStep((a.high - a.low) / float64(a.want))
	}
	for i := math.Ceil(a.low / step); i*step <= a.high*(1+1e-9); i++ {
		list = append(list, i*step)
	}
	return list
}

// niceStep is the smallest of 1, 2, 5, 10 … that is at least v.
func niceStep(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*decade >= v*(1-1e-9) {
			return f * decade
		}
	}
	return 10 * decade
}

// timeStep is a step of seconds, minutes or hours that people count in.
func timeStep(v float64) float64 {
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200} {
		if s >= v {
			return s
		}
	}
	return math.Ceil(v/86400) * 86400
}

func formatX(v float64, unit string) string {
	switch unit {
	case UnitTime:
		s := int(v)
		switch {
		case s >= 3600:
			return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
		case s >= 60:
			return fmt.Sprintf("%d:%02d", s/60, s%60)
		}
		return strconv.Itoa(s) + "s"
	case UnitPercentile:
		return "p" + strconv.FormatFloat(math.Round((100-100/v)*1e6)/1e6, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// attribute tells a script how to read places: low, high, from, to, linear or log, unit.
func (a axis) attribute(unit string) string {
	scale := "linear"
	if a.log {
		scale = "log"
	}
	return fmt.Sprintf("%g %g %g %g %s %s", a.low, a.high, a.from, a.to, scale, unit)
}
