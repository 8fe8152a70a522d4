package stack

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/link"
	"github.com/millracehq/millrace/e2e/faults/internal/plan"
	"github.com/millracehq/millrace/e2e/faults/internal/resp"
	"github.com/millracehq/millrace/internal/freeport"
)

// newTestRedis is the Redis of a stack, without gateways and backends.
func newTestRedis(t *testing.T, mode plan.Mode) *Stack {
	t.Helper()
	s := &Stack{
		cfg:   Config{Mode: mode, Dir: t.TempDir(), Fsync: "always", Note: func(text string) { t.Log(text) }},
		links: map[string]*link.Link{}, programs: map[string]*Process{},
	}
	t.Cleanup(s.Close)
	var err error
	if s.ports, err = freeport.Find(20); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: apt-get install redis-server")
	}
	if err := s.startRedis(testContext(t), path); err != nil {
		t.Fatal(err)
	}
	return s
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it gets a yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := testContext(t)
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestSentinelsFailOver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	s := newTestRedis(t, plan.Sentinel)
	ctx := t.Context()
	first, err := s.master(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Once(ctx, s.links[first.Name].Addr(), "SET", "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx); err != nil {
		t.Fatal(err)
	}
	first.Kill()
	var second *server
	eventually(t, "another master", func() bool {
		second, err = s.master(ctx)
		return err == nil && second != first
	})
	first.Start()
	if err := s.Healthy(testContext(t)); err != nil {
		t.Fatalf("the old master has not become a replica: %v", err)
	}
	if v, err := resp.Once(ctx, second.addr, "GET", "k"); err != nil || v != "v" {
		t.Errorf("%v, %v", v, err)
	}
	if err := s.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first is the master again", func() bool {
		m, err := s.master(ctx)
		return err == nil && m == first && s.healthy(ctx) == nil
	})
}

func TestProcessIsKilledPausedAndStartedAgain(t *testing.T) {
	s := newTestRedis(t, plan.Single)
	ctx := testContext(t)
	p, err := s.Process(ctx, plan.Redis)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := s.Master(ctx)
	p.Kill()
	if err := ping(ctx, addr); err == nil {
		t.Fatal("answers after Kill")
	}
	p.Start()
	p.Start() // once is enough
	if err := p.Ready(ctx, readyTimeout); err != nil {
		t.Fatal(err)
	}
	p.Pause()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := resp.Dial(short, addr); err != nil {
		t.Fatalf("the kernel accepts for a paused server: %v", err)
	}
	p.Continue()
	if err := p.Ready(ctx, readyTimeout); err != nil {
		t.Fatal(err)
	}
	p.Drain()
	if starts, deaths := p.Counts(); starts != 2 || deaths != 0 {
		t.Errorf("%d starts, %d deaths", starts, deaths)
	}
	if _, err := s.Process(ctx, plan.RedisMaster); err == nil {
		t.Error("a single server has no role")
	}
}

func TestProcessThatDiesIsStartedAgain(t *testing.T) {
	dir := t.TempDir()
	notes := make(chan string, 100)
	p := &Process{Name: "false", path: "/bin/sh", args: []string{"-c", "echo died; exit 3"}, log: filepath.Join(dir, "log"), note: func(text string) { notes <- text }}
	p.Start()
	for range 2 {
		if note := <-notes; !strings.Contains(note, "exit status 3") {
			t.Errorf("note %q", note)
		}
	}
	p.Kill()
	if _, deaths := p.Counts(); deaths < 2 {
		t.Errorf("%d deaths", deaths)
	}
	if log, err := os.ReadFile(p.log); err != nil || strings.Count(string(log), "died") < 2 {
		t.Errorf("log %q, %v", log, err)
	}
}
