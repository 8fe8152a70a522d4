// Package chart draws lines over time as SVG that needs nothing else: no script, no font, no colour of its own.
//
// Colours are classes (line1 to line8, band, mark, grid), so that the page around it decides them for light and for dark. A script may
// add a pointer: each line is a polyline in the coordinates of the viewBox, and the data attributes of the svg element say what they mean.
package chart

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"

	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// Chart is one plot. The zero values of From and To mean: what the data need.
type Chart struct {
	Title string
	Note  string // beside the title
	X     Axis
	Y     Axis
	Lines []Line
	Bands []Band
	Marks []Mark
}

// Axis is the meaning of one direction.
type Axis struct {
	Scale Scale
	Unit  string // of package unit, or UnitTime, or UnitPercentile
}

// Units of X.
const (
	UnitTime       = "time"       // seconds
	UnitPercentile = "percentile" // 1/(1-p): 1 is p0, 100 is p99
)

// Scale is how values become places.
type Scale uint8

// The scales.
const (
	Linear Scale = iota // from 0
	Log
)

// Line is one row of points; a point that is not a number is a hole.
type Line struct {
	Name   string
	Points []Point
}

// Point is one value.
type Point struct{ X, Y float64 }

// Band is a stretch of X with a name, such as a phase.
type Band struct {
	Name     string
	From, To float64
}

// Mark is a line at one value, such as a bound.
type Mark struct {
	Name string
	At   float64
}

// Geometry of the drawing, in units of the viewBox.
const (
	width, height             = 720.0, 260.0
	left, right, above, below = 64.0, 12.0, 20.0, 24.0
)

// Empty says whether there is nothing to draw.
func (c Chart) Empty() bool {
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if !math.IsNaN(p.Y) {
				return false
			}
		}
	}
	return true
}

// SVG draws the chart.
func (c Chart) SVG() template.HTML {
	x, y := c.ranges()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s" data-x="%s" data-y="%s">`,
		width, height, html.EscapeString(c.Title), x.attribute(c.X.Unit), y.attribute(c.Y.Unit))
	for i, band := range c.Bands {
		from, to := x.place(max(band.From, x.low)), x.place(min(band.To, x.high))
		if to <= from {
			continue
		}
		fmt.Fprintf(&b, `<rect class="band band%d" x="%.1f" y="%g" width="%.1f" height="%g"/>`, i%2, from, above, to-from, height-above-below)
		if to-from > 7*float64(len(band.Name)) {
			fmt.Fprintf(&b, `<text class="bandname" x="%.1f" y="%g" text-anchor="middle">%s</text>`, (from+to)/2, above-6, html.EscapeString(band.Name))
		}
	}
	for _, v := range y.ticks() {
		at := y.place(v)
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, width-right, at, at, left-6, at+4, html.EscapeString(strings.Replace(unit.Format(v, c.Y.Unit), ".0 ", " ", 1)))
	}
	for _, v := range x.ticks() {
		at := x.place(v)
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text x="%.1f" y="%g" text-anchor="middle">%s</text>`,
			at, at, above, height-below, at, height-8, formatX(v, c.X.Unit))
	}
	for i, l := range c.Lines {
		writeLine(&b, l, i, x, y)
	}
	for _, m := range c.Marks {
		if at := y.place(m.At); m.At >= y.low && m.At <= y.high {
			fmt.Fprintf(&b, `<line class="mark" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="markname" x="%g" y="%.1f" text-anchor="end">%s</text>`,
				left, width-right, at, at, width-right-4, at-4, html.EscapeString(m.Name))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// writeLine writes a polyline for each stretch without holes; a single point becomes a short dash.
func writeLine(b *strings.Builder, l Line, i int, x, y axis) {
	var places []string
	flush := func() {
		if len(places) > 0 {
			if len(places) == 1 {
				places = append(places, places[0])
			}
			fmt.Fprintf(b, `<polyline class="line line%d" data-name="%s" points="%s"/>`, i%8+1, html.EscapeString(l.Name), strings.Join(places, " "))
		}
		places = nil
	}
	for _, p := range l.Points {
		if math.IsNaN(p.Y) {
			flush()
			continue
		}
		places = append(places, fmt.Sprintf("%.1f,%.1f", x.place(p.X), y.place(p.Y)))
	}
	flush()
}
