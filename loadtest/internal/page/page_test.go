package page

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/chart"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

const hostile = `<script>alert("x")</script>`

// runTo has a small server loaded for a second and a half.
func runTo(t *testing.T, outputs ...loadtest.Output) *loadtest.Report {
	t.Helper()
	server, err := faulty.Start("", faulty.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := loadtest.NewScenario()
	s.URL, s.Connections, s.Publish.Rate = server.URL, 10, 100
	s.Settle, s.Warmup, s.Duration = 0, 0, loadtest.Duration(1500*time.Millisecond)
	s.Tags = map[string]string{"commit": hostile}
	s.Thresholds = map[string][]loadtest.Assertion{
		"msgs_lost":        {{Threshold: "count==0"}},
		"msg_latency":      {{Threshold: "p(50)<60000"}},
		"loadgen_cpu":      {{Threshold: "max<1000"}, {Threshold: "min>=0"}, {Threshold: "avg>=0"}},
		"msgs_unsure":      {{Threshold: "count==0"}},
		"ws_closed":        {{Threshold: "count<1"}},
		"req_latency":      {{Threshold: "p(99)<1"}}, // has no samples
		"ws_connections":   {{Threshold: "min==10"}},
		"delivery_ratio":   {{Threshold: "rate==1"}},
		"loadgen_resident": {{Threshold: "max<1e12"}},
	}
	rep, err := loadtest.Run(t.Context(), s, loadtest.Options{
		Name: "small" + hostile, Version: "v1", Command: []string{"loadtest", "run", "small"}, Outputs: outputs,
	})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestPage looks at the page of a real run.
func TestPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.html")
	f, err := NewFile(file)
	if err != nil {
		t.Fatal(err)
	}
	runTo(t, f)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		"<!doctype html>", "FAILED", "p(50)&lt;60000", "msgs_lost", "no samples", "10 of 10 connections opened", "generator ",
		"Latency of deliveries", "Percentiles", "Connections", "Throughput", "Generator: memory", "Delivery ledger", "All metrics", "Conditions",
		"loadtest run small", "prefers-color-scheme: dark", "</html>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(page, hostile) {
		t.Error("a name is not escaped")
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has something that is no value")
	}
	wantNoNetwork(t, page)
}

// wantNoNetwork looks for everything by which a page asks for something else.
func wantNoNetwork(t *testing.T, page string) {
	t.Helper()
	for _, pattern := range []string{
		`(?i)https?:`, `(?i)\bsrc\s*=`, `(?i)url\(`, `(?i)@import`, `(?i)<(iframe|img|object|embed|base|form)\b`, `(?i)\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import)\(`,
	} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(link[1], "data:") {
			t.Errorf("the page links to %q", link[1])
		}
	}
	if !strings.Contains(page, `default-src 'none'`) {
		t.Error("the page does not forbid itself the network")
	}
}

func TestPageBeforeTheRun(t *testing.T) {
	var r Recorder
	var b bytes.Buffer
	if err := r.Render(&b, true); err != nil || !strings.Contains(b.String(), "STARTING") {
		t.Error(err, b.String())
	}
}

func TestBridge(t *testing.T) {
	hole := math.NaN()
	draw := func(values ...float64) (text string) {
		var points []chart.Point
		for i, v := range values {
			points = append(points, chart.Point{X: float64(i), Y: v})
		}
		for _, p := range bridge(points) {
			text += fmt.Sprintf("%v:%v ", p.X, p.Y)
		}
		return text
	}
	for want, got := range map[string]string{
		"0:1 3:2 ":                   draw(1, hole, hole, 2),
		"0:1 1:NaN 2:NaN 3:NaN 4:2 ": draw(1, hole, hole, hole, 2),
		"0:NaN 1:1 2:2 3:NaN ":       draw(hole, 1, 2, hole),
		"0:NaN 1:NaN ":               draw(hole, hole),
		"":                           draw(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFileWantsAName(t *testing.T) {
	if _, err := NewFile(""); err == nil {
		t.Error("no error")
	}
	if _, err := NewFile(filepath.Join(t.TempDir(), "no", "such", "directory")); err == nil {
		t.Error("no error")
	}
}

// TestRunThatCouldNotStart leaves an empty file.
func TestRunThatCouldNotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.html")
	f, err := NewFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(nil); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 0 {
		t.Error(info, err)
	}
}
