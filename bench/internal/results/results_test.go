package results

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/bench/internal/generator"
)

func TestSummarize(t *testing.T) {
	good := func(v float64) value { return value{v: v, there: true} }
	bad := func(v float64) value { return value{v: v, there: true, marked: true} }
	for _, c := range []struct {
		name string
		in   []value
		want summary
	}{
		{"nothing", []value{{}}, summary{}},
		{"odd", []value{good(3), good(1), good(2)}, summary{2, 1, 3, 3, false}},
		{"even", []value{good(3), good(1)}, summary{2, 1, 3, 2, false}},
		{"the disturbed round does not count", []value{good(1), bad(9), {}}, summary{1, 1, 1, 1, false}},
		{"all were disturbed", []value{bad(9), bad(7)}, summary{8, 7, 9, 2, true}},
	} {
		if got := summarize(c.in); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// newTestRun has the limit and the gateway in three rounds, each slower than the one before, and a rival that breaks.
func newTestRun() *Run {
	r := &Run{
		Time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Version: "v1", LeftOut: []string{"nats"},
		Size:        Size{Connections: 15_000, Channels: 150, PerClient: 10, Rates: []int{20_000, 60_000}, Requests: 5000, Target: 50, Rounds: 3},
		Contestants: []Entrant{{"limit", "the limit"}, {"direct", "the gateway"}, {"direct-1", "one loop"}, {"gorilla", "a rival"}},
	}
	traffic := func(cpu float64) Traffic {
		return Traffic{CPU: map[string]float64{"server": cpu}, Result: generator.Result{Expected: 10, Received: 10, P99: 3}}
	}
	for round := 1; round <= 3; round++ {
		for name, factor := range map[string]float64{"limit": 1, "direct": 1.2, "direct-1": 1.2} {
			bytes := 200 * factor
			row := Row{Contestant: name, Round: round, BytesPerConn: &bytes}
			row.Rates = []Traffic{traffic(10 * factor * float64(round)), traffic(8 * factor * float64(round))}
			row.Highest = &Peak{Rate: 80_000 * factor, Steps: []Traffic{traffic(1), traffic(1)}}
			row.Highest.Steps[0].Rate, row.Highest.Steps[1].Rate = 80_000*factor, 90_000*factor
			r.Rows = append(r.Rows, row)
		}
		broken := traffic(30)
		broken.GaveUp = true
		lossy := traffic(20)
		lossy.Received = 7
		r.Rows = append(r.Rows, Row{Contestant: "gorilla", Round: round, Rates: []Traffic{lossy, broken}, Highest: &Peak{Rate: 100_000}, Error: "it ended\nlog"})
	}
	return r
}

func TestMarkdown(t *testing.T) {
	text := newTestRun().Markdown()
	for _, want := range []string{
		"Left out of this run: nats",
		"| limit | 200 [200-200] |",
		"| direct | 24.0 [12.0-36.0] | 1.20 [1.20-1.20] | – | – | 3.0 [3.0-3.0] |", // the ratio is taken within rounds
		"| gorilla | 20.0 [20.0-20.0], 9 lost | 1.00 [0.67-2.00] |",
		"| gorilla | too much | – | – | – | too much |",
		"| direct-1: CPU per delivery at 20000/s, x limit | at most 1.3 | 1.20 [1.20-1.20] | met |",
		"| direct-1: CPU per delivery at 60000/s, x limit | at most 1.1 | 1.20 [1.20-1.20] | missed |",
		"| direct: bytes per connection | at most 300 | 240.00 [240.00-240.00] | met |",
		"| direct: highest rate, x gorilla | at least 1 | 0.96 [0.96-0.96] | missed |",
		"gorilla, round 2, was not measured to its end: it ended\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestSaveAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "2026-11-22")
	if err := newTestRun().Save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || again.Markdown() != string(page) {
		t.Errorf("what was read makes another page (%v)", err)
	}
	drawn := 0
	for line := range strings.SplitSeq(string(page), "\n") {
		_, name, ok := strings.Cut(line, "](")
		if name = strings.TrimSuffix(name, ")"); !ok || !strings.HasSuffix(name, ".svg") {
			continue
		}
		drawn++
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		wantXML(t, file)
		file.Close()
	}
	if drawn < 7 { // connections, memory, two rates, and three of the highest
		t.Errorf("the page shows %d plots", drawn)
	}
}

func wantXML(t *testing.T, file *os.File) {
	t.Helper()
	d := xml.NewDecoder(file)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", filepath.Base(file.Name()), err)
			return
		}
	}
}

func TestPeakIsMarkedByItsLimit(t *testing.T) {
	step := func(rate, generator float64) Traffic {
		return Traffic{Rate: rate, Conditions: Conditions{Generator: generator}}
	}
	p := &Peak{Rate: 40, Steps: []Traffic{step(20, 1), step(40, 1), step(80, 1), step(60, 0.5)}}
	if p.value().marked {
		t.Error("marked, though the generator had room at the lowest rate that failed")
	}
	p.Steps[3].Conditions.Generator = 1
	if !p.value().marked {
		t.Error("not marked, though the generator was at its limit")
	}
}

func TestGood(t *testing.T) {
	good := Traffic{Result: generator.Result{Expected: 5, Received: 5, P99: 50}}
	for name, change := range map[string]func(*Traffic){
		"late": func(t *Traffic) { t.P99 = 51 }, "lost": func(t *Traffic) { t.Received-- },
		"closed": func(t *Traffic) { t.Closed++ }, "gave up": func(t *Traffic) { t.GaveUp = true },
	} {
		bad := good
		change(&bad)
		if bad.Good(50) {
			t.Errorf("%s is good", name)
		}
	}
	if !good.Good(50) {
		t.Error("good is bad")
	}
}

func TestMachineTime(t *testing.T) {
	from := parseMachineTime("cpu  100 0 100 700 100 0 0 0 0 0")
	to := parseMachineTime("cpu  200 0 150 1300 150 0 0 100 99 0")
	others, steal := to.Since(from, time.Second)
	if want := 0.5 / 9; others < want-0.001 || others > want+0.001 {
		t.Errorf("others used %.3f, want %.3f", others, want)
	}
	if want := 1.0 / 9; steal < want-0.001 || steal > want+0.001 {
		t.Errorf("the hypervisor took %.3f, want %.3f", steal, want)
	}
	if parseMachineTime("") != (MachineTime{}) {
		t.Error("no line is some time")
	}
}

func TestJudge(t *testing.T) {
	c := Conditions{Generator: 0.99, Others: 0.2, Steal: 0.3}
	if c.Judge(12); len(c.Marks) != 4 {
		t.Errorf("marks: %q, want 4", c.Marks)
	}
	c = Conditions{Generator: 0.5}
	if c.Judge(1); len(c.Marks) != 0 {
		t.Errorf("marks: %q, want none", c.Marks)
	}
}
