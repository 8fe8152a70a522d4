package results

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes in pixels; names stand left of the bars, values right of them.
const (
	plotWidth = 720
	left      = 110
	right     = 110
	barHeight = 22
	lineTop   = 40
	lineTall  = 320
)

var colors = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"}

// bar of a plot: a median, and how far the rounds are apart.
type bar struct {
	name string
	summary
}

// svg frames a drawing. Its colours are readable on light and dark pages.
func svg(height int, title, body string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="8" y="20" font-size="14" font-weight="bold">%s</text>
%s</svg>
`, plotWidth, height, html.EscapeString(title), body)
}

// bars draws one bar each, from zero, with a line from the lowest round to the highest.
func bars(title, format string, list []bar) string {
	top := 0.0
	for _, s := range list {
		top = max(top, s.high)
	}
	scale := (plotWidth - left - right) / max(top, 1e-9)
	var b strings.Builder
	for i, s := range list {
		y := 34 + i*(barHeight+6)
		mid := float64(y) + barHeight/2.0
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n", left-8, mid+4, html.EscapeString(s.name))
		fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", left, y, s.median*scale, barHeight, colors[i%len(colors)])
		fmt.Fprintf(&b, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" y2=\"%.0f\" stroke=\"black\"/>\n", left+s.low*scale, left+s.high*scale, mid, mid)
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.0f\">%s</text>\n", left+s.high*scale+6, mid+4, fmt.Sprintf(format, s.median))
	}
	return svg(44+len(list)*(barHeight+6), title, b.String())
}

// point of a curve, both above zero.
type point struct{ x, y float64 }

type curve struct {
	name   string
	points []point
}

// curves draws both axes by powers of ten, since overload is a hundred times the usual; level is a line across.
func curves(title, xTitle, yTitle string, level float64, list []curve) string {
	lo, hi := point{math.Inf(1), math.Inf(1)}, point{1, level}
	for _, c := range list {
		for _, p := range c.points {
			lo, hi = point{min(lo.x, p.x), min(lo.y, p.y)}, point{max(hi.x, p.x), max(hi.y, p.y)}
		}
	}
	at := func(v, lo, hi float64) float64 { return math.Log(v/lo) / max(math.Log(hi/lo), 1e-9) }
	x := func(v float64) float64 { return 60 + at(v, lo.x, hi.x)*(plotWidth-60-left) }
	y := func(v float64) float64 { return lineTop + (1-at(v, lo.y, hi.y))*lineTall }
	var b strings.Builder
	across := func(v float64, style, text string) {
		fmt.Fprintf(&b, "<line x1=\"60\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n<text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", plotWidth-left, y(v), y(v), style, y(v)+4, text)
	}
	for v := math.Pow(10, math.Ceil(math.Log10(lo.y))); v <= hi.y; v *= 10 {
		across(v, "#ddd", fmt.Sprintf("%g", v))
	}
	across(level, "#d62728", fmt.Sprintf("%g", level))
	for v := lo.x; v <= hi.x; v *= 2 {
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0fk</text>\n", x(v), lineTop+lineTall+18, v/1000)
	}
	for i, c := range list {
		var path strings.Builder
		for j, p := range c.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], x(p.x), y(p.y))
		}
		color := colors[i%len(colors)]
		fmt.Fprintf(&b, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", path.String(), color)
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", plotWidth-left+10, lineTop+14+i*16, color, html.EscapeString(c.name))
	}
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n<text x=\"8\" y=\"34\">%s</text>\n", plotWidth/2, lineTop+lineTall+36, html.EscapeString(xTitle), html.EscapeString(yTitle))
	return svg(lineTop+lineTall+46, title, b.String())
}
