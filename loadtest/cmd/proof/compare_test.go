package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millracehq/millrace/loadtest"
)

func good(s side) *side {
	s.Verdict, s.Seconds, s.Deliveries = loadtest.VerdictValid, 10, 1000
	return &s
}

// judged runs judge and returns what it missed.
func judged(judge func(missFunc)) (missed []string) {
	judge(func(ok bool, format string, args ...any) {
		if !ok {
			missed = append(missed, fmt.Sprintf(format, args...))
		}
	})
	return missed
}

func TestJudgeMultiplex(t *testing.T) {
	c := func() *comparison {
		return &comparison{Title: "Multiplex", Ways: [2]string{"many", "one"}, Pairs: []*pair{{Load: "quiet", Sides: [2]*side{
			good(side{Connections: 150, OpenCPU: 20, Memory: 1e6, CPU: map[string]float64{"gateway": 9}}),
			good(side{Connections: 15_000, OpenCPU: 2000, Memory: 4e6, CPU: map[string]float64{"gateway": 10}}),
		}}}}
	}
	for name, tc := range map[string]struct {
		spoil func(*comparison)
		want  string
	}{
		"good":      {func(*comparison) {}, ""},
		"memory":    {func(c *comparison) { c.Pairs[0].Sides[0].Memory = 1.2e6 }, "gateway: memory of them, collected: -70 %, target -73 %"},
		"CPU":       {func(c *comparison) { c.Pairs[0].Sides[1].OpenCPU = 70 }, "gateway: CPU to open and subscribe: -71 %"},
		"failed":    {func(c *comparison) { c.Pairs[0].Sides[1].Exit = loadtest.ExitFailed }, "quiet, one: the harness ended with 99"},
		"its limit": {func(c *comparison) { c.Pairs[0].Sides[1].Exit = loadtest.ExitInvalid }, ""},
	} {
		cmp := c()
		tc.spoil(cmp)
		missed := judged(func(m missFunc) { judgeMultiplex(cmp, false, m) })
		if tc.want == "" && len(missed) > 0 || tc.want != "" && (len(missed) != 1 || !strings.Contains(missed[0], tc.want)) {
			t.Errorf("%s: missed %q, want %q", name, missed, tc.want)
		}
	}
	var out bytes.Buffer
	c().write(&out, multiplexRows())
	for _, want := range []string{"1.0 MB           4.0 MB   -75.0 %", "9.0 ms/s        10.0 ms/s   -10.0 %", "90.00 us"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, &out)
		}
	}
}

func TestJudgePolling(t *testing.T) {
	c := &comparison{Ways: [2]string{"push", "polling"}, Pairs: []*pair{{Load: "1/s", Sides: [2]*side{
		good(side{CPU: map[string]float64{"gateway": 9}, Latency: map[string]float64{"med": 2}}),
		good(side{CPU: map[string]float64{"gateway": 4, "pollserver": 6}, Latency: map[string]float64{"med": 2500}}),
	}}}}
	if missed := judged(func(m missFunc) { judgePolling(c, false, m) }); len(missed) > 0 {
		t.Errorf("missed %q", missed)
	}
	c.Pairs[0].Sides[0].CPU["gateway"], c.Pairs[0].Sides[0].Latency["med"] = 11, 2501
	if missed := judged(func(m missFunc) { judgePolling(c, false, m) }); len(missed) != 2 || !strings.Contains(missed[1], "servers: CPU: 11.0 ms/s by push, 10.0 ms/s by polling") {
		t.Errorf("missed %q", missed)
	}
}

func TestJudgeEnded(t *testing.T) {
	all := map[string]float64{"count": 100}
	s := &storm{How: "kill", Connections: 100, Back: all, CaughtUp: all}
	if missed := judged(func(m missFunc) { judgeEnded([]*storm{s}, m) }); len(missed) > 0 {
		t.Errorf("missed %q", missed)
	}
	s.CaughtUp = map[string]float64{"count": 99}
	s.Lost, s.Gaps, s.Exit = 1, 1, loadtest.ExitFailed
	if missed := judged(func(m missFunc) { judgeEnded([]*storm{s}, m) }); len(missed) != 4 {
		t.Errorf("missed %q, want 4 targets", missed)
	}
	var out bytes.Buffer
	writeEnded(&out, []*storm{s})
	if !strings.Contains(out.String(), "1, 0, 0") {
		t.Error(out.String())
	}
}

func TestSoakIsFlat(t *testing.T) {
	so := &soak{Plot: t.TempDir() + "/soak.svg"}
	for i := range 100 { // pools fill up in the first quarter
		so.Memory = append(so.Memory, memorySample{Seconds: float64(i), Harness: 20e6 + int64(min(i, 25))*100e3, Gateway: 30e6})
	}
	if missed := judged(so.judge); len(missed) > 0 {
		t.Errorf("missed %q", missed)
	}
	if err := so.plot(); err != nil {
		t.Fatal(err)
	}
	for i := range so.Memory {
		so.Memory[i].Harness += int64(i) * 60e3
	}
	if missed := judged(so.judge); len(missed) != 1 || !strings.Contains(missed[0], "it must be flat") {
		t.Errorf("missed %q", missed)
	}
	so.Memory = nil
	if missed := judged(so.judge); len(missed) != 1 || !strings.Contains(missed[0], "0 samples") {
		t.Errorf("missed %q", missed)
	}
}

func TestPlot(t *testing.T) {
	svg := svgPlot("Memory", "minutes", "MB", []plotLine{{name: "a", colour: "#000", points: [][2]float64{{0, 0}, {10, 5}}}, {name: "none", colour: "#111"}})
	for _, want := range []string{"<svg xmlns=", ">Memory</text>", "70.0,355.0 880.0,", ">none</text>", "</svg>"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the plot does not have %q:\n%s", want, svg)
		}
	}
	if slices.Contains(strings.Fields(svg), "NaN") {
		t.Error(svg)
	}
}
