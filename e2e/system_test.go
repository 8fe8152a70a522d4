// Package e2e tests the real binaries against a real Redis: what is acknowledged survives the death of any process.
package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

var bin string // where the binaries are

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "millrace-e2e"); err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(bin) }()
		build := exec.Command("go", "build", "-o", bin+"/", "../gateway/cmd/gateway", "../backend/cmd/backend", "../loadtest/cmd/loadtest")
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

// process is one of our binaries, running; it can be killed and started again with the same arguments.
type process struct {
	t     *testing.T
	name  string
	args  []string
	ready string // URL that answers 200

	mu  sync.Mutex
	cmd *exec.Cmd
	out bytes.Buffer
}

// system is a Redis, a gateway and a backend.
type system struct {
	redis   *redistest.Server
	gateway *process
	backend *process
	url     string
}

func newTestSystem(t *testing.T, redisArgs ...string) *system {
	t.Helper()
	s := &system{redis: redistest.Start(t, redisArgs...)}
	listen, admin, health := freeport.MustAddr(t), freeport.MustAddr(t), freeport.MustAddr(t)
	s.url = "ws://" + listen + "/ws"
	s.backend = start(t, "http://"+health+"/readyz", "backend", "--redis", s.redis.URL(), "--listen", health)
	s.gateway = start(t, "http://"+admin+"/readyz", "gateway", "--redis", s.redis.URL(), "--listen", listen, "--admin", admin)
	return s
}

func start(t *testing.T, ready, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, args: args, ready: ready}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.mu.Lock()
	p.cmd = exec.Command(filepath.Join(bin, p.name), p.args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := p.cmd.Start()
	p.mu.Unlock()
	if err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, p.name+" is ready", func() bool {
		res, err := http.Get(p.ready)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

// stop is the end of the test: it must stop when asked, and say nothing of panics and races.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	stuck := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	if !stuck.Stop() || err != nil {
		p.t.Errorf("%s did not stop cleanly: %v", p.name, err)
	}
	if out := p.out.String(); p.t.Failed() || strings.Contains(out, "panic") {
		p.t.Errorf("output of %s:\n%s", p.name, out)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
