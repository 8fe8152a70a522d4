package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// elements parses the SVG, strictly, and gives the elements of one name with their attributes.
func elements(t *testing.T, svg, name string) (list []map[string]string) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == name {
			m := map[string]string{}
			for _, a := range start.Attr {
				m[a.Name.Local] = a.Value
			}
			list = append(list, m)
		}
	}
}

func TestSVG(t *testing.T) {
	c := Chart{
		Title: `a "title" <of> & mine`, X: Axis{Linear, UnitTime}, Y: Axis{Log, unit.Milliseconds},
		Lines: []Line{
			{"p50", []Point{{0, 1}, {1, 2}, {2, math.NaN()}, {3, 4}}},
			{"p<99>", []Point{{0, 10}, {1, 20}, {2, 30}, {3, 40}}},
		},
		Bands: []Band{{"steady", 1, 3}, {"none", 9, 8}},
		Marks: []Mark{{"p(99)<50", 50}, {"far", 1e9}},
	}
	svg := string(c.SVG())
	lines := elements(t, svg, "polyline")
	if len(lines) != 3 || lines[0]["points"] == "" || lines[2]["data-name"] != "p<99>" || lines[2]["class"] != "line line2" {
		t.Errorf("polylines %v", lines)
	}
	if n := len(strings.Fields(lines[1]["points"])); n != 2 {
		t.Errorf("a single point has %d places, want 2 that are the same", n)
	}
	if !strings.Contains(svg, "p(99)&lt;50") || strings.Contains(svg, "far") {
		t.Error("marks:", svg)
	}
	if n := len(elements(t, svg, "rect")); n != 1 {
		t.Errorf("%d bands", n)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("no number:", svg)
	}
}

func TestNothingToDraw(t *testing.T) {
	c := Chart{Lines: []Line{{"a", nil}, {"b", []Point{{1, math.NaN()}}}}}
	if !c.Empty() {
		t.Error("not empty")
	}
	for _, scale := range []Scale{Linear, Log} {
		c.Y.Scale = scale
		if svg := string(c.SVG()); strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Error("no number:", svg)
		}
	}
}

// TestPlacesGoBack reads values from places as a script does.
func TestPlacesGoBack(t *testing.T) {
	for _, a := range []axis{{low: 0, high: 80, from: 236, to: 20}, {low: 0.5, high: 700, from: 236, to: 20, log: true}} {
		for _, v := range []float64{0.5, 1, 30, 80} {
			share := (a.place(v) - a.from) / (a.to - a.from)
			got := a.low + share*(a.high-a.low)
			if a.log {
				got = a.low * math.Pow(a.high/a.low, share)
			}
			if math.Abs(got-v) > 1e-9*a.high {
				t.Errorf("%v comes back as %v", v, got)
			}
		}
	}
	if a := (axis{low: 0, high: 10, from: 100, to: 0}); a.place(-5) != 100 || a.place(99) != 0 {
		t.Error("what is outside is not at the end")
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		a    axis
		want []float64
	}{
		{axis{low: 0, high: 100, want: 5}, []float64{0, 20, 40, 60, 80, 100}},
		{axis{low: 0.7, high: 30, log: true}, []float64{1, 2, 5, 10, 20}},
		{axis{low: 0, high: 95, want: 8, unit: UnitTime}, []float64{0, 15, 30, 45, 60, 75, 90}},
		{axis{low: 1, high: 1000, log: true, unit: UnitPercentile}, []float64{1, 2, 10, 100, 1000}},
	} {
		got := tc.a.ticks()
		same := len(got) == len(tc.want)
		for i := 0; same && i < len(got); i++ {
			same = math.Abs(got[i]-tc.want[i]) < 1e-6*tc.want[len(tc.want)-1]
		}
		if !same {
			t.Errorf("%+v: %v, want %v", tc.a, got, tc.want)
		}
	}
	for v, want := range map[float64]string{5: "5s", 65: "1:05", 3725: "1:02:05"} {
		if got := formatX(v, UnitTime); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	if got := formatX(1000, UnitPercentile); got != "p99.9" {
		t.Error(got)
	}
}

// FuzzRanges: whatever the values are, all that is drawn is within the drawing.
func FuzzRanges(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, true)
	f.Add(0.0, 0.0, 0.0, false)
	f.Add(1e-300, 1e300, -5.0, true)
	f.Fuzz(func(t *testing.T, a, b, c float64, log bool) {
		scale := Linear
		if log {
			scale = Log
		}
		for _, v := range []float64{a, b, c} {
			if math.IsNaN(v) || math.Abs(v) > 1e200 || log && v < 0 || v != 0 && math.Abs(v) < 1e-200 {
				t.Skip()
			}
		}
		chart := Chart{Y: Axis{Scale: scale}, Lines: []Line{{"l", []Point{{0, a}, {1, b}, {2, c}}}}}
		x, y := chart.ranges()
		for _, v := range []float64{a, b, c} {
			if at := y.place(v); !(at >= above-0.01 && at <= height-below+0.01) {
				t.Errorf("%v is at %v on %+v", v, at, y)
			}
		}
		if at := x.place(1); !(at >= left && at <= width-right) {
			t.Errorf("x at %v", at)
		}
		if n := len(y.ticks()); n > 1000 {
			t.Errorf("%d ticks", n)
		}
	})
}
