package contest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProcess measures a shell that does what a contestant has to do.
func TestProcess(t *testing.T) {
	const script = `trap 'echo collected' USR2; echo up; while :; do sleep 0.05; done`
	p, err := start(t.TempDir(), "shell", []string{"SOME=1"}, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	up := func() error {
		b, err := os.ReadFile(p.log.Name())
		if err == nil && !strings.Contains(string(b), "up\n") {
			err = os.ErrNotExist
		}
		return err
	}
	if err := p.until(t.Context(), up); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second must not be content with the first one's answer
		if err := p.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	used, err := p.cpu()
	if err != nil || used <= 0 || used > time.Minute {
		t.Errorf("it has used %v (%v)", used, err)
	}
	if n, err := p.anonymous(); err != nil || n < 4096 || n > 1<<30 {
		t.Errorf("it has %d bytes (%v)", n, err)
	}
}

func TestProcessThatEndsIsAnError(t *testing.T) {
	p, err := start(t.TempDir(), "shell", nil, "sh", "-c", "echo no such thing; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.until(t.Context(), func() error { return os.ErrNotExist }); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v, want one that shows the log", err)
	}
}

func TestUpToDate(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, at time.Time) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	want := func(want bool, when string) {
		t.Helper()
		if got := upToDate(dir); got != want {
			t.Errorf("%s: up to date %v, want %v", when, got, want)
		}
	}
	want(false, "nothing is there")
	write("package-lock.json", now)
	want(false, "never installed")
	write("node_modules/.package-lock.json", now.Add(time.Second))
	want(true, "installed")
	write("package-lock.json", now.Add(time.Minute))
	want(false, "the lock has changed")
}

func TestSelect(t *testing.T) {
	chosen, err := Select(nil, []string{"nats", "socketio"})
	if err != nil || len(chosen) != len(All())-2 || chosen[0].Name != Limit {
		t.Errorf("%d chosen, %v", len(chosen), err)
	}
}
