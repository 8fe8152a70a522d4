// Package redistest runs a real redis-server for one test: on a free loopback port, with a directory of its own,
// and gone when the test is.
//
//	test ──Start──▶ redis-server 127.0.0.1:PORT, data in t.TempDir()
//	     ──Kill, Restart, Pause, Continue──▶ the bad nights of that server
//	     ──StartReplica, StartSentinels, StartCluster, StartTLS──▶ the ways in which Redis is run in production
//
// A test that needs Redis fails where redis-server is not installed: a skipped test proves nothing. It is for
// failures and durability that an in-process imitation cannot show; it does not pool or share servers between tests.
package redistest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/freeport"
)

// startTimeout is how long a server may take until it answers, loading of its data included.
const startTimeout = 15 * time.Second

// Server is one running redis-server. Its methods are for the test's goroutine.
type Server struct {
	t       testing.TB
	dir     string
	args    []string // settings
	file    []string // settings that come as a file in dir, and what goes with it: Sentinel
	cliArgs []string // of redis-cli
	port    int
	proc    *process
}

// process is one life of the server.
type process struct {
	pid    int
	exited chan struct{} // closed after the process has been waited for
	output bytes.Buffer  // read only after exited
}

// Start starts redis-server and returns when it answers. Nothing is persisted unless args say so, for example
// "--appendonly", "yes", "--appendfsync", "always". The server is stopped when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), args: args}
	s.startAnywhere(nil)
	return s
}

// startAnywhere starts the server on a free port. prepare, if there is one, completes it when its port is known.
func (s *Server) startAnywhere(prepare func()) {
	s.t.Helper()
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			s.t.Fatalf("%s is not installed: apt-get install redis-server, or brew install redis", program)
		}
	}
	s.t.Cleanup(s.Kill)
	var err error
	for range 5 { // a port that was free may be taken by the time redis-server wants it
		s.port = freeport.Must(s.t, 1)[0]
		if prepare != nil {
			prepare()
		}
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatal(err)
}

// URL is the address in the form that programs take, redis://127.0.0.1:PORT/0.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Port is the port that the server listens on.
func (s *Server) Port() int { return s.port }

// Addr is 127.0.0.1:PORT.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Kill ends the server by SIGKILL, as a crash would, and returns when it is gone. A server that is gone stays so.
func (s *Server) Kill() {
	if s.proc == nil {
		return
	}
	_ = syscall.Kill(s.proc.pid, syscall.SIGKILL)
	<-s.proc.exited
	s.proc = nil
}

// Restart kills the server if it still runs and starts it again on the same port and directory.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the server's clock (SIGSTOP): connections stay open and nothing answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.proc == nil {
		s.t.Fatalf("redis-server on %s is not running", s.Addr())
	}
	if err := syscall.Kill(s.proc.pid, sig); err != nil {
		s.t.Fatalf("redis-server on %s: %v", s.Addr(), err)
	}
}

// CLI runs one command by redis-cli and returns what it prints, without the last line feed: one line for each
// element of the answer. A command that Redis refuses fails the test.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.cli(args...)
	if err != nil {
		s.t.Fatalf("redis-cli %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (s *Server) cli(args ...string) (string, error) {
	out, err := exec.Command("redis-cli", slices.Concat([]string{"-e", "-p", strconv.Itoa(s.port)}, s.cliArgs, args)...).CombinedOutput()
	text := strings.TrimSuffix(string(out), "\n")
	if err != nil {
		return text, fmt.Errorf("%w: %s", err, text)
	}
	return text, nil
}

func (s *Server) start() error {
	args := s.file
	if args == nil {
		args = []string{
			"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no",
			"--repl-diskless-sync-delay", "0",
		} // a replica need not wait for others
		args = append(args, s.args...)
	}
	cmd := exec.Command("redis-server", args...)
	cmd.SysProcAttr = dieWithParent()
	p := &process{exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal is tied to the thread that forked, which must outlive the server
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	p.pid = cmd.Process.Pid
	s.proc = p
	return s.awaitAnswer()
}

// awaitAnswer polls until the server answers and is ours, not a stranger's who took the port before it.
func (s *Server) awaitAnswer() error {
	ours := "process_id:" + strconv.Itoa(s.proc.pid)
	deadline := time.Now().Add(startTimeout)
	for {
		pong, err := s.cli("PING")
		if err == nil && pong == "PONG" {
			info, _ := s.cli("INFO", "server")
			if strings.Contains(info, ours+"\r\n") {
				return nil
			}
		}
		select {
		case <-s.proc.exited:
			out := s.proc.output.String()
			s.proc = nil
			return fmt.Errorf("redis-server ended at once: %s", out)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Kill()
			return fmt.Errorf("redis-server on %s did not answer in %v: %w", s.Addr(), startTimeout, os.ErrDeadlineExceeded)
		}
	}
}

// await polls until done says that it is so, and fails the test when it is not within startTimeout.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); !done(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, startTimeout)
		}
	}
}
