package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
)

func TestBadCalls(t *testing.T) {
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"--only", "backend,web"}, `"web" is none of backend, direct, idle, storm, slow, kill`},
		{[]string{"--fast"}, "-fast"},
		{[]string{"now"}, `"now" is not a flag`},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stderr, &stderr); code != 2 || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, saying %q, want 2 and %q", tc.args, code, &stderr, tc.says)
		}
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"--only", "idle"}, &stderr, &stderr); code != 2 || !strings.Contains(stderr.String(), "apt-get install redis-server") {
		t.Errorf("without redis-server: exit %d, saying %q", code, &stderr)
	}
}

func TestProcessThatEndsIsNotReady(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(t.TempDir(), "short", sh, "-c", "echo last words")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	err = p.ready(t.Context(), func() error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "last words") {
		t.Errorf("%v, want the end of its log", err)
	}
}

func TestProcessIsMeasured(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(t.TempDir(), "busy", sh, "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	busy := func() error {
		if p.cpu() < 50*time.Millisecond {
			return errors.New("no CPU time")
		}
		return nil
	}
	if err := waitFor(t.Context(), 20*time.Second, busy); err != nil {
		t.Error(err)
	}
	if n, err := p.anonymous(); err != nil || n <= 0 || n > 64<<20 {
		t.Errorf("anonymous memory %d, %v", n, err)
	}
}

func TestFollowStopsAtAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "phases")
	if err := os.WriteFile(file, []byte("{\"phase\":\"connect\"}\n{\"phase\":\"steady\",\"event\":\"cut\"}\n{\"phase\":\"drain\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seen []string
	want := errors.New("enough")
	err = follow(f, func(phase string) error {
		seen = append(seen, phase)
		if phase == "cut" {
			return want
		}
		return nil
	})
	if !errors.Is(err, want) || strings.Join(seen, " ") != "connect cut" {
		t.Errorf("%v after %v", err, seen)
	}
}

func TestJudge(t *testing.T) {
	good := func() *report {
		rep := newReport(options{})
		rep.Traffic = []*traffic{{Path: "backend", Latency: map[string]float64{"p(99)": 49}, Deliveries: 1}}
		rep.Idle = &idle{BytesPerConn: 500, Goroutines: 40, GoroutinesFew: 40}
		return rep
	}
	for name, tc := range map[string]struct {
		spoil func(*report)
		want  string // in the only target that is missed
	}{
		"good":            {func(*report) {}, ""},
		"slow":            {func(r *report) { r.Traffic[0].Latency["p(99)"] = 50 }, "p(99) 50.0 ms"},
		"lost":            {func(r *report) { r.Traffic[0].Lost = 1 }, "1 lost"},
		"duplicate":       {func(r *report) { r.Traffic[0].Duplicate = 1 }, "1 duplicated"},
		"reordered":       {func(r *report) { r.Traffic[0].Reordered = 1 }, "1 reordered"},
		"harness failed":  {func(r *report) { r.Traffic[0].Exit = loadtest.ExitFailed }, "backend: the harness ended with 99"},
		"memory":          {func(r *report) { r.Idle.BytesPerConn = 501 }, "501 bytes per connection"},
		"quick memory":    {func(r *report) { r.Quick, r.Idle.BytesPerConn = true, 501 }, ""},
		"goroutines":      {func(r *report) { r.Idle.Goroutines, r.Idle.GoroutinesFew = 41, 41 }, "41 goroutines, target"},
		"more goroutines": {func(r *report) { r.Idle.GoroutinesFew = 39 }, "and 39 at 100"},
		"idle failed":     {func(r *report) { r.Idle.Exit = loadtest.ExitFailed }, "idle: the harness ended with 99"},
	} {
		rep := good()
		tc.spoil(rep)
		rep.judge()
		if tc.want == "" && len(rep.Missed) == 0 {
			continue
		}
		if len(rep.Missed) != 1 || tc.want == "" || !strings.Contains(rep.Missed[0], tc.want) {
			t.Errorf("%s: missed %q, want one with %q", name, rep.Missed, tc.want)
		}
		var out bytes.Buffer
		rep.write(&out)
		if !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: the report does not say %q:\n%s", name, tc.want, &out)
		}
	}
}

func TestInterruptedBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if code := run(ctx, []string{"--only", "idle", "--json", ""}, &stderr, &stderr); code != 2 {
		t.Errorf("exit %d, want 2: %s", code, &stderr)
	}
}
