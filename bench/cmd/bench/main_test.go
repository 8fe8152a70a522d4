package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/bench/internal/contest"
	"github.com/millracehq/millrace/bench/internal/results"
)

// TestSession measures the limit and the gateway, very small: connections, deliveries and replies all come.
func TestSession(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	paths := contest.Paths{Root: "../../..", Bin: t.TempDir()}
	chosen, err := contest.Select([]string{"limit", "direct"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chosen {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Prepare(t.Context(), paths); err != nil {
				t.Fatal(err)
			}
			size, err := newSize(true, 1, 200)
			if err != nil {
				t.Fatal(err)
			}
			size.Seconds = 0.3
			s := session{contestant: c, paths: paths, size: size, settle: 50 * time.Millisecond, progress: t.Output()}
			s.size.Rates, s.size.Requests = []int{2000}, 200
			s.measure = []string{deliveries, requests}
			row, err := s.run(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			wantTraffic(t, "connect", row.Connect, 100)
			wantTraffic(t, "deliveries", &row.Rates[0], 600)
			if c.Asks {
				wantTraffic(t, "replies", row.Requests, 60)
			}
			if row.BytesPerConn == nil {
				t.Error("memory was not measured")
			}
		})
	}
}

func wantTraffic(t *testing.T, what string, got *results.Traffic, n int64) {
	t.Helper()
	if got == nil || got.Received != n || got.Lost() != 0 || got.CPU[contest.Server] <= 0 {
		t.Errorf("%s: %+v, want all of %d", what, got, n)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--only gateway":          "is no contestant",
		"--connections 1001":      "not a multiple of 100",
		"--connections 100":       "too few",
		"quickly":                 "is not a flag",
		"--variant gogc50":        "is no variant",
		"--render nowhere":        "no such file",
		"--skip nobody":           "is no contestant",
		"--measure speed":         "is none of deliveries",
		"--only nats --skip nats": "nobody is left",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %q; want 2 and %q", args, code, stderr.String(), want)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, &stderr); code != 0 || stdout.String() != usage {
		t.Errorf("--help: exit code %d, %q", code, stdout.String())
	}
}

// TestUsageNamesAll keeps the help complete.
func TestUsageNamesAll(t *testing.T) {
	for _, c := range contest.All() {
		if !strings.Contains(usage, c.Name) {
			t.Errorf("--help does not name %s", c.Name)
		}
	}
	if names := strings.Join(measureNames, ", "); !strings.Contains(usage, names) {
		t.Errorf("--help does not name %s", names)
	}
}

// TestPrepareSaysWhatToDo breaks the building of a rival.
func TestPrepareSaysWhatToDo(t *testing.T) {
	chosen, err := contest.Select([]string{"gws"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(root+"/bench/rivals", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := chosen[0].Prepare(t.Context(), contest.Paths{Root: root, Bin: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "--skip gws") {
		t.Errorf("error %v, want one that names --skip gws", err)
	}
}

// TestEstimate: what is not measured takes no time.
func TestEstimate(t *testing.T) {
	size, err := newSize(false, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := contest.Select([]string{"direct"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := estimate(size, chosen, nil)
	if named := estimate(size, chosen, measureNames); named != all {
		t.Errorf("%v for all measures by name, %v without names", named, all)
	}
	for _, name := range measureNames {
		if one := estimate(size, chosen, measures{name}); one <= 0 || one >= all {
			t.Errorf("%v for %s, %v for all", one, name, all)
		}
	}
}
