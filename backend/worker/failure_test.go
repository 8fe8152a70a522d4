package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

func newTestBed(t *testing.T, args ...string) (*bed, *redistest.Server) {
	t.Helper()
	t.Parallel()
	return newSerialBed(t, args...)
}

func newSerialBed(t *testing.T, args ...string) (*bed, *redistest.Server) {
	t.Helper()
	s := redistest.Start(t, args...)
	return &bed{t: t, addr: s.Addr()}, s
}

// TestEffectsHappenOnce: whatever handlers do and workers die of, each publication comes out once.
func TestEffectsHappenOnce(t *testing.T) { onRedis(t, effectsHappenOnce) }

func effectsHappenOnce(b *bed) {
	b.t.Helper()
	const entries = 400
	unreliable := map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
		e.Publish(e.Channel, e.Data)
		switch rand.N(12) {
		case 0:
			return errors.New("unlucky")
		case 1:
			panic("unlucky")
		}
		return nil
	}}
	quick := func(c *Config) { // no bad luck is that long
		c.ClaimAfter, c.Batch, c.RetryAfter, c.MaxAttempts = 20*time.Millisecond, 8, time.Millisecond, 1000
	}
	workers := []*testWorker{b.start(unreliable, quick), b.start(unreliable, quick)}
	for i := range entries {
		e := stream.Event{Kind: stream.KindPub, Channel: fmt.Sprint("echo:", i%5), Data: fmt.Sprint(i)}
		if i%3 == 0 {
			e.ID = fmt.Sprint("k", i)
			b.add(e)
		}
		b.add(e)
		if i%100 == 50 {
			workers[0].stop()
			workers = append(workers[1:], b.start(unreliable, quick))
		}
	}
	b.wantDone()
	seen := map[string]int{}
	for ch := range 5 {
		for _, p := range b.out(fmt.Sprint("echo:", ch)) {
			seen[p.Data]++
		}
	}
	for i := range entries {
		wantEqual(b.t, fmt.Sprintf("publications of %d", i), seen[fmt.Sprint(i)], 1)
	}
}

// TestCommitWhoseAnswerIsLost: the connection breaks when Redis has the commit and the worker has no answer yet.
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	b, _ := newTestBed(t)
	proxy := newTestProxy(t, b.addr)
	w := b.start(map[string]Handler{"echo": echo}, func(c *Config) { c.Redis = "redis://" + proxy.addr + "/0" })
	for i := range 5 {
		proxy.cut.Store(true)
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: fmt.Sprint(i)})
		b.wantDone()
		eventually(t, "the commit is confirmed", func() bool { return w.metrics.settled.Get() == uint64(i+1) })
	}
	wantEqual(t, "publications", len(b.out("echo:a")), 5)
	wantEqual(t, "outages", w.metrics.outages.Get(), 5)
}

// testProxy stands between a worker and Redis.
type testProxy struct {
	addr string
	cut  atomic.Bool // break the connection on which the next commit for echo:a is sent, after Redis has answered it
}

func newTestProxy(t *testing.T, upstream string) *testProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &testProxy{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				client.Close()
				continue
			}
			go p.relay(client, server)
		}
	}()
	return p
}

func (p *testProxy) relay(client, server net.Conn) {
	var cutting atomic.Bool
	go func() {
		defer client.Close()
		for buf := make([]byte, 64<<10); ; {
			n, err := server.Read(buf)
			if err != nil || cutting.Load() {
				return
			}
			client.Write(buf[:n])
		}
	}()
	defer server.Close()
	for buf := make([]byte, 64<<10); ; {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("echo:a")) && p.cut.CompareAndSwap(true, false) {
			cutting.Store(true)
		}
		server.Write(buf[:n])
	}
}

// TestKilledBetweenHandlerAndCommit runs a worker in a process of its own, which kills itself in the second handler of
// a batch: the first handler has returned, and nothing is committed.
func TestKilledBetweenHandlerAndCommit(t *testing.T) {
	if addr := os.Getenv("WORKER_TEST_REDIS"); addr != "" {
		b := &bed{t: t, addr: addr}
		b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
			if string(e.Data) == "1" {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return echo(ctx, e)
		}})
		select {}
	}
	b, _ := newTestBed(t)
	for i := range 3 {
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", ID: fmt.Sprint("k", i), Data: fmt.Sprint(i)})
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "WORKER_TEST_REDIS="+b.addr)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the worker was not killed: %v\n%s", err, out)
	}
	wantEqual(t, "publications of the dead worker", len(b.out("echo:a")), 0)
	wantEqual(t, "backlog", b.backlog(), 3)

	b.start(map[string]Handler{"echo": echo})
	b.wantDone()
	got := b.out("echo:a")
	wantEqual(t, "publications", len(got), 3)
	for i, p := range got {
		wantEqual(t, "publication", p.Data, fmt.Sprint(i))
	}
}

func TestRedisIsKilledAndComesBack(t *testing.T) {
	b, s := newTestBed(t, "--appendonly", "yes", "--appendfsync", "always")
	w := b.start(map[string]Handler{"echo": echo})
	const rounds, each = 3, 20
	for round := range rounds {
		for i := range each {
			b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: fmt.Sprint(round*each + i)})
		}
		s.Kill()
		eventually(t, "the worker is not ready", func() bool { return w.Ready() != nil })
		if err := w.Ready(); !strings.Contains(err.Error(), b.addr) {
			t.Fatalf("not ready: %v, which does not name Redis", err)
		}
		s.Restart()
		eventually(t, "the worker is ready again", func() bool { return w.Ready() == nil })
	}
	b.wantDone()
	seen := map[string]int{}
	for _, p := range b.out("echo:a") {
		seen[p.Data]++
	}
	for i := range rounds * each {
		wantEqual(t, fmt.Sprintf("publications of %d", i), seen[fmt.Sprint(i)], 1)
	}
	wantEqual(t, "outages logged", w.log.count("no service from redis"), rounds)
	wantEqual(t, "their ends logged", w.log.count("redis is back"), rounds)
}

func TestRedisStopsAnswering(t *testing.T) {
	b, s := newTestBed(t)
	w := b.start(map[string]Handler{"echo": echo})
	s.Pause()
	eventually(t, "the worker is not ready", func() bool { return w.Ready() != nil })
	s.Continue()
	b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: "x"})
	b.wantDone()
	eventually(t, "the worker is ready again", func() bool { return w.Ready() == nil })
	wantEqual(t, "publications", len(b.out("echo:a")), 1)
}

// TestAnotherInstallation: Redis comes back as one with other partitions.
func TestAnotherInstallation(t *testing.T) {
	b, s := newTestBed(t)
	w := b.start(map[string]Handler{"echo": echo})
	s.CLI("EVAL", "redis.call('FLUSHALL') redis.call('HSET', KEYS[1], 'version', 1, 'partitions', 128) return 1", "1", b.keys.Meta())
	<-w.done
	if !errors.Is(w.err, redis.ErrMismatch) || !strings.Contains(w.err.Error(), "128") || !strings.Contains(w.err.Error(), fmt.Sprint(testPartitions)) {
		t.Fatalf("Run: %v, want both partition counts", w.err)
	}
	if err := w.Ready(); !errors.Is(err, errStopped) {
		t.Fatalf("Ready after Run: %v", err)
	}
}

func TestWrongPartitionsAtStart(t *testing.T) {
	b, s := newTestBed(t)
	s.CLI("HSET", b.keys.Meta(), "version", "1", "partitions", "128")
	w, err := New(Config{Redis: s.URL(), Partitions: testPartitions})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := w.Run(t.Context()); !errors.Is(err, redis.ErrMismatch) || time.Since(start) > connectTimeout/2 {
		t.Fatalf("Run: %v after %v, want ErrMismatch at once", err, time.Since(start))
	}
}
