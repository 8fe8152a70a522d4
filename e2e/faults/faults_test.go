package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
)

// TestSmoke breaks a small system a few times. It is about the runner: that faults happen, that everything is counted and that the
// verdict comes. What must hold of the system however short the run holds here too: nothing acknowledged is lost or applied twice.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "../../gateway/cmd/gateway", "../../backend/cmd/backend")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out := filepath.Join(dir, "verdict.json")
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{
		"--seed", "11", "--minutes", "0.2", "--faults", "8", "--redis", "single", "--rate", "150", "--echo", "8", "--direct", "4",
		"--subscribers", "2", "--bin", dir, "--dir", filepath.Join(dir, "run"), "--out", out,
	}, &stdout, &stderr)
	t.Logf("%s%s", stderr.String(), stdout.String())
	if code == 2 {
		t.Fatal("could not run")
	}
	var rep report
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &rep)
	}
	if err != nil || len(rep.Runs) != 1 {
		t.Fatalf("%v: %s", err, b)
	}
	r := rep.Runs[0]
	faults := 0
	for _, n := range r.Faults {
		faults += n
	}
	v := r.Verdict
	if faults != 9 || r.Skipped != 0 || r.Unsettled != "" || v.Acknowledged < 300 || v.Deliveries < v.Entries || r.Answered == 0 {
		t.Errorf("%d faults, %d left out, unsettled %q, %d acknowledged, %d delivered, %d answered",
			faults, r.Skipped, r.Unsettled, v.Acknowledged, v.Deliveries, r.Answered)
	}
	for _, kind := range []check.Violation{check.Lost, check.Twice, check.Altered, check.Invented, check.DeliveredTwice} {
		if n := v.Violations[kind]; n > 0 {
			t.Errorf("%s: %d", kind, n)
		}
	}
}

func TestPlanIsPrinted(t *testing.T) {
	args := []string{"--plan", "--seed", "5", "--minutes", "4"}
	var first, second, stderr bytes.Buffer
	if code := run(t.Context(), args, &first, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	run(t.Context(), args, &second, &stderr)
	if first.String() != second.String() || strings.Count(first.String(), "#") != 44 || !strings.Contains(first.String(), "sentinel, seed 5: 22 faults in 2m0s") {
		t.Errorf("plan:\n%s", first.String())
	}
}

func TestUsage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "--seed") {
		t.Errorf("exit %d: %s", code, stdout.String())
	}
	for _, args := range [][]string{{"--redis", "cluster"}, {"--rate", "0"}, {"--fsync", "no"}, {"x"}, {"--x"}} {
		if code := run(t.Context(), args, &stdout, &stderr); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	stderr.Reset()
	if code := run(t.Context(), []string{"--bin", t.TempDir(), "--minutes", "0.1"}, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "make build") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}
