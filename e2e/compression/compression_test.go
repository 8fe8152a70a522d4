package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The whole on a small audience: what it counts must be exact.
func TestSmallAudience(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../../gateway/cmd/gateway").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--gateway", binary, "--subscribers", "200", "--publications", "5"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out.String(), errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range [][]string{{"off", "1000", "0"}, {"on", "1000", "5"}} {
		if got := strings.Fields(lines[len(lines)-2+i])[:3]; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%v, want %v\n%s", got, want, out.String())
		}
	}
	if code := run(t.Context(), []string{"--gateway", binary, "--subscribers", "1", "--publications", "1", "--bytes", "100"}, &out, &errs); code != 1 {
		t.Error("what is too short to be compressed has passed as compressed")
	}
}
