package main

import (
	"fmt"
	"strings"
)

// plotLine is one line of a plot.
type plotLine struct {
	name, colour string
	points       [][2]float64
}

// svgPlot draws lines from zero up, on a ground that is readable in dark and light.
func svgPlot(title, x, y string, lines []plotLine) string {
	const width, height, left, top, right, bottom = 900.0, 400.0, 70.0, 40.0, 20.0, 45.0
	maxX, maxY := 1e-9, 1e-9
	for _, l := range lines {
		for _, p := range l.points {
			maxX, maxY = max(maxX, p[0]), max(maxY, p[1])
		}
	}
	maxY *= 1.15
	at := func(p [2]float64) (float64, float64) {
		return left + p[0]/maxX*(width-left-right), height - bottom - p[1]/maxY*(height-top-bottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="#fff"/><text x="%g" y="24" font-size="16">%s</text>`+"\n", width, height, left, title)
	for i := range 5 {
		share := float64(i) / 4
		gx, gy := at([2]float64{share * maxX, share * maxY})
		fmt.Fprintf(&b, `<path d="M%.1f %.1fH%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%.4g</text>`+"\n", left, gy, width-right, left-8, gy+4, share*maxY)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%.3g</text>`+"\n", gx, height-bottom+18, share*maxX)
	}
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text><text x="16" y="%.1f" transform="rotate(-90 16 %.1f)" text-anchor="middle">%s</text>`+"\n",
		(left+width-right)/2, height-8, x, height/2, height/2, y)
	for i, l := range lines {
		var path []string
		for _, p := range l.points {
			px, py := at(p)
			path = append(path, fmt.Sprintf("%.1f,%.1f", px, py))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>`+"\n", l.colour, strings.Join(path, " "))
		fmt.Fprintf(&b, `<text x="%.1f" y="24" fill="%s">%s</text>`+"\n", width-200+float64(i)*90, l.colour, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
