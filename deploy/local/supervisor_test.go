package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/freeport"
)

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
	r.cfg.redisPort = freeport.Must(t, 1)[0]
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
