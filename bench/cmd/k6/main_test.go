package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millracehq/millrace/bench/internal/results"
)

func TestBadCalls(t *testing.T) {
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"--connections", "150"}, "want multiples of 100"},
		{[]string{"--connections", "100"}, "at least 200"},
		{[]string{"--most", "19001"}, "--most: 19001"},
		{[]string{"--seconds", "0"}, "--seconds: 0"},
		{[]string{"--fast"}, "-fast"},
		{[]string{"now"}, `"now" is not a flag`},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stderr, &stderr); code != 2 || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, saying %q, want 2 and %q", tc.args, code, &stderr, tc.says)
		}
	}
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, &stdout); code != 0 || !strings.Contains(stdout.String(), "--connections N") {
		t.Errorf("--help: exit %d, saying %q", code, &stdout)
	}
}

func TestBrokenOffBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if code := run(ctx, []string{"--quick", "--out", t.TempDir()}, &stderr, &stderr); code != 2 {
		t.Errorf("exit %d, want 2: %s", code, &stderr)
	}
}

func testReport() *report {
	return &report{
		K6: "k6 v1", Seconds: 15, Rate: 40,
		Runs: []*outcome{
			{Tool: "k6", Connections: few, Memory: 100e6},
			{Tool: "k6", Connections: 2000, Memory: 290e6, CPU: 90, Received: 10, Expected: 10},
			{Tool: "loadtest", Connections: few, Memory: 10_000_000},
			{Tool: "loadtest", Connections: 2000, Memory: 10_950_000, CPU: 9},
			{Tool: "loadtest", Connections: 19_000, Memory: 10_000_000 + 18_900*900, CPU: 8, Conditions: results.Conditions{Marks: []string{"other programs"}}},
		},
	}
}

func TestReport(t *testing.T) {
	r := testReport()
	text := r.markdown()
	for _, want := range []string{
		"| k6 | 2000 | 290.0 MB | 100000 bytes |", "| loadtest | 19000 | 27.0 MB | 900 bytes |", "| other programs |",
		"k6 takes 200 times the memory a connection, and 10.0 times the processor time a delivery", "at 19000 in one process: 900 bytes, met",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if !r.met() {
		t.Error("the target is missed")
	}
	r.Runs[4].Memory += 18_900 * 101
	if r.met() || !strings.Contains(r.markdown(), "1001 bytes, missed") {
		t.Errorf("1,001 bytes a connection are within the target:\n%s", r.markdown())
	}
	r.Runs = r.Runs[:2]
	if r.met() {
		t.Error("without a run of the harness its target is met")
	}
	dir := filepath.Join(t.TempDir(), "results")
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"run.json", "README.md"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
