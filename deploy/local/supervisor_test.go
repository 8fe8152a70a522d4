package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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
			gatewayPort: freePorts(t, 3), adminPort: freePorts(t, 3), backendPort: freePorts(t, 3), redisPort: freePorts(t, 1),
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

// freePorts finds n ports in a row that are free now, below those that outgoing connections take.
func freePorts(t *testing.T, n int) int {
	t.Helper()
search:
	for range 100 {
		first := 10000 + rand.IntN(20000)
		for i := range n {
			if checkFree(hostPort(loopback, first+i)) != nil {
				continue search
			}
		}
		return first
	}
	t.Fatal("no free ports")
	return 0
}

func TestRunStartsAndStopsInOrder(t *testing.T) {
	r := newTestRun(t)
	r.cfg.gateways, r.cfg.backends = 3, 2
	r.start()
	r.wantLine("Ctrl-C stops everything")
	for _, want := range []string{
		"gateway-3 is ready after", "backend-2 is ready after", "Millrace is running",
		"gateway-2 | started --listen " + hostPort(loopback, r.cfg.gatewayPort+1) + " --admin " + hostPort(loopback, r.cfg.adminPort+1),
		"backend-2 | started --redis redis://" + hostPort(loopback, r.cfg.redisPort) + "/0 --listen " + hostPort(loopback, r.cfg.backendPort+1),
	} {
		r.wantOrder(want)
	}
	r.stop()
	if err := r.wantEnd(); err != nil {
		t.Fatal(err)
	}
	r.wantOrder("stopping the gateways", "gateway-2 | got SIGTERM", "stopping the backends", "backend-1 | got SIGTERM, redis is there: true")
	if err := checkFree(hostPort(loopback, r.cfg.redisPort)); err != nil {
		t.Errorf("redis is still there: %v", err)
	}
}

func TestRunRestartsWhatDied(t *testing.T) {
	r := newTestRun(t)
	r.start()
	r.wantLine("Ctrl-C stops everything")
	if resp, err := http.Get("http://" + hostPort(loopback, r.cfg.backendPort) + "/die"); err == nil {
		resp.Body.Close()
	}
	r.wantLine("backend-1 died after")
	r.wantOrder("(exit status 4), starting it again in 1ms")
	r.wantLine("backend-1 is ready after")
	r.stop()
	if err := r.wantEnd(); err != nil {
		t.Fatal(err)
	}
}

func TestRunGivesUp(t *testing.T) {
	t.Setenv("FAKE_GATEWAY", "die")
	r := newTestRun(t)
	r.start()
	err := r.wantEnd()
	wantError(t, err, "gateway-1 died 3 times within", "exit status 3", "    cannot live like this")
	r.wantOrder("starting it again in 1ms", "starting it again in 2ms", "stopping the backends")
}

func TestRunSaysWhoIsNotReady(t *testing.T) {
	t.Setenv("FAKE_BACKEND", "unready")
	r := newTestRun(t)
	r.cfg.timing.ready = 300 * time.Millisecond
	r.start()
	err := r.wantEnd()
	wantError(t, err, "backend-1 is not ready after 300ms", "/readyz answers 503", "    started --redis")
	r.wantOrder("waiting for backend-1")
}

func TestRunStoppedBeforeReady(t *testing.T) {
	t.Setenv("FAKE_BACKEND", "unready")
	r := newTestRun(t)
	r.start()
	r.wantLine("gateway-1 is ready")
	r.stop()
	if err := r.wantEnd(); err != nil {
		t.Fatal(err)
	}
}

func TestRunKillsTheStubborn(t *testing.T) {
	t.Setenv("FAKE_GATEWAY", "stubborn")
	for _, test := range []struct {
		name   string
		second bool // a second Ctrl-C
	}{{"after its time", false}, {"at the second signal", true}} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestRun(t)
			if !test.second {
				r.cfg.timing.stop = 50 * time.Millisecond
			}
			r.start()
			r.wantLine("Ctrl-C stops everything")
			r.stop()
			r.wantLine("gateway-1 | got SIGTERM")
			if test.second {
				r.kill()
			}
			if err := r.wantEnd(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRunChecksPortsAndProgramsFirst(t *testing.T) {
	r := newTestRun(t)
	taken, err := net.Listen("tcp", hostPort(loopback, r.cfg.adminPort))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r.cfg.gateways = 2
	r.cfg.backendPort = r.cfg.gatewayPort + 1
	if err := os.Remove(filepath.Join(r.cfg.bin, "backend")); err != nil {
		t.Fatal(err)
	}
	r.start()
	err = r.wantEnd()
	wantError(t, err,
		"gateway-1 cannot listen on "+taken.Addr().String()+" (bind: address already in use): stop what is there, or set --admin-port",
		"gateway-2 and backend-1 would both listen on",
		"backend cannot be started", "run `make build`")
	if len(r.seen) > 0 {
		t.Errorf("something was started:\n%s", strings.Join(r.seen, "\n"))
	}
}

// TestChildrenDieWithTheSupervisor kills the supervisor itself, which then can stop nothing.
func TestChildrenDieWithTheSupervisor(t *testing.T) {
	r := newTestRun(t)
	r.cfg.redisPort = freePorts(t, 1)
	cmd := exec.Command(filepath.Join(r.cfg.bin, "local"), flags(&r.cfg)...)
	cmd.Stdout, cmd.Stderr = r, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.wantLine("Ctrl-C stops everything")
	conns := make([]net.Conn, 0, 2)
	for _, port := range []int{r.cfg.adminPort, r.cfg.backendPort} {
		conn, err := net.Dial("tcp", hostPort(loopback, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a child outlives the supervisor")
		}
	}
	cmd.Wait()
}

// TestSignals runs the program and stops it as a terminal would.
func TestSignals(t *testing.T) {
	r := newTestRun(t)
	cmd := exec.Command(filepath.Join(r.cfg.bin, "local"), flags(&r.cfg)...)
	cmd.Stdout, cmd.Stderr = r, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.wantLine("Ctrl-C stops everything")
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} { // at once: one wish, not "kill"
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	r.wantLine("gateway-1 has stopped (exit status 0)")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func flags(c *config) []string {
	return []string{
		"--bin", c.bin,
		"--gateway-port", strconv.Itoa(c.gatewayPort), "--admin-port", strconv.Itoa(c.adminPort),
		"--backend-port", strconv.Itoa(c.backendPort), "--redis-port", strconv.Itoa(c.redisPort),
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
