package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/freeport"
)

// testRun is a supervisor at work, whose output a test can wait for.
type testRun struct {
	t     *testing.T
	cfg   config
	lines chan string
	seen  []string
	stop  context.CancelFunc
	kill  context.CancelFunc
	done  chan error
}

// Write sends whole lines to the test; the console writes nothing else.
func (r *testRun) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		r.lines <- strings.TrimRight(string(line), "\n")
	}
	return len(p), nil
}

// newTestRun prepares a run of fakes on ports that are free now.
func newTestRun(t *testing.T) *testRun {
	t.Helper()
	return &testRun{
		t: t,
		cfg: config{
			bin: fakePrograms(t), host: loopback, gateways: 1, backends: 1,
			gatewayPort: freeport.Must(t, 3)[0], adminPort: freeport.Must(t, 3)[0], backendPort: freeport.Must(t, 3)[0], rewardsPort: freeport.Must(t, 1)[0], redisPort: freeport.Must(t, 1)[0],
			timing: timing{
				ready: 20 * time.Second, stop: 10 * time.Second,
				firstWait: time.Millisecond, lastWait: 4 * time.Millisecond,
				young: time.Hour, deaths: 3,
			},
		},
		lines: make(chan string, 1000),
		done:  make(chan error, 1),
	}
}

func (r *testRun) start() {
	r.t.Helper()
	if err := r.cfg.validate(); err != nil {
		r.t.Fatal(err)
	}
	stop, cancelStop := context.WithCancel(r.t.Context())
	kill, cancelKill := context.WithCancel(context.Background())
	r.stop, r.kill = cancelStop, cancelKill
	r.t.Cleanup(cancelKill)
	go func() { r.done <- run(stop, kill, r.cfg, r) }()
}

// wantLine waits for a line that contains text.
func (r *testRun) wantLine(text string) {
	r.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line := <-r.lines:
			r.seen = append(r.seen, line)
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			r.t.Fatalf("no line %q in:\n%s", text, strings.Join(r.seen, "\n"))
		}
	}
}

// wantEnd waits for the end of the run, and reads the lines that are left.
func (r *testRun) wantEnd() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		for len(r.lines) > 0 {
			r.seen = append(r.seen, <-r.lines)
		}
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatal("the supervisor does not end")
		return nil
	}
}

// wantOrder checks that lines with these texts were seen in this order.
func (r *testRun) wantOrder(texts ...string) {
	r.t.Helper()
	rest := r.seen
	for _, text := range texts {
		i := slices.IndexFunc(rest, func(line string) bool { return strings.Contains(line, text) })
		if i < 0 {
			r.t.Fatalf("no line %q in its place in:\n%s", text, strings.Join(r.seen, "\n"))
		}
		rest = rest[i+1:]
	}
}

func fakePrograms(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each fake takes a second to end under the race detector
	dir := t.TempDir()
	for _, name := range []string{"gateway", "backend", "local"} {
		if err := os.Symlink(exe, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func flags(c *config) []string {
	return []string{
		"--bin", c.bin,
		"--gateway-port", strconv.Itoa(c.gatewayPort), "--admin-port", strconv.Itoa(c.adminPort),
		"--backend-port", strconv.Itoa(c.backendPort), "--rewards-port", strconv.Itoa(c.rewardsPort), "--redis-port", strconv.Itoa(c.redisPort),
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error without %q:\n%v", part, err)
		}
	}
}
