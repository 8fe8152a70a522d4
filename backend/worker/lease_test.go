package worker

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// quick has leases end soon, so that a test need not wait for it.
func quick(c *Config) { c.lease = 500 * time.Millisecond }

func (r *testWorker) leases() int { return int(r.metrics.leases.Load()) }

func TestWorkersShareThePartitions(t *testing.T) { onRedis(t, workersShareThePartitions) }

func workersShareThePartitions(b *bed) {
	b.t.Helper()
	first := b.start(map[string]Handler{"echo": echo}, quick)
	wantEqual(b.t, "leases of one worker", first.leases(), testPartitions)
	second := b.start(map[string]Handler{"echo": echo}, quick)
	eventually(b.t, "they share", func() bool { return first.leases() == 2 && second.leases() == 2 })
	wantEqual(b.t, "leases lost", first.metrics.leaseLosses.Get(), 0)
	for i := range 40 {
		b.add(stream.Event{Kind: stream.KindPub, Channel: fmt.Sprint("echo:", i)})
	}
	b.wantDone()
	for _, w := range []*testWorker{first, second} {
		if w.metrics.entries[stream.KindPub].Get() == 0 {
			b.t.Error("a worker has had nothing to do")
		}
	}
	second.stop()
	eventually(b.t, "one has all again", func() bool { return first.leases() == testPartitions })
	eventually(b.t, "the other has left the group", func() bool { return b.consumers() <= testPartitions })
}

// TestHandOverFinishesWhatIsInHand: a partition is given up behind the handler that runs, not before.
func TestHandOverFinishesWhatIsInHand(t *testing.T) {
	onRedis(t, func(b *bed) {
		began, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		order := &ledger{}
		handler := func(_ context.Context, e *Event) error {
			once.Do(func() { close(began); <-release })
			e.Publish(e.Channel, e.Data)
			return nil
		}
		one := func(c *Config) { quick(c); c.Concurrency = 1 }
		first := b.start(map[string]Handler{"echo": handler}, one)
		for ch := range 8 {
			order.add(b, fmt.Sprint("echo:", ch))
		}
		<-began
		second := b.start(map[string]Handler{"echo": handler}, one)
		for ch := range 8 {
			order.add(b, fmt.Sprint("echo:", ch))
		}
		<-time.After(3 * first.cfg.lease) // time enough to take what is not given
		wantEqual(t, "leases of the second", second.leases(), 0)
		close(release)
		eventually(t, "they share", func() bool { return second.leases() == 2 })
		b.wantDone()
		order.check(b)
		wantEqual(t, "entries taken over", second.metrics.claims.Get(), 0)
	})
}

// ledger is what was added, and in which order.
type ledger struct{ next map[string]int }

func (l *ledger) add(b *bed, channel string) {
	b.t.Helper()
	if l.next == nil {
		l.next = make(map[string]int)
	}
	b.add(stream.Event{Kind: stream.KindPub, Channel: channel, Data: strconv.Itoa(l.next[channel])})
	l.next[channel]++
}

// check wants each channel's entries published once and in order.
func (l *ledger) check(b *bed) {
	b.t.Helper()
	for channel, n := range l.next {
		got := b.out(channel)
		for i, p := range got {
			if p.Data != strconv.Itoa(i) {
				b.t.Fatalf("%s: publication %d is %s of %d", channel, i, p.Data, n)
			}
		}
		wantEqual(b.t, "publications of "+channel, len(got), n)
	}
}

// chaosLink is the way of one worker to Redis, which can freeze, as for a process that is stopped, and break.
type chaosLink struct {
	listener net.Listener

	mu       sync.Mutex // held while nothing gets through
	upstream string
	conns    map[net.Conn]bool
}

func newChaosLink(t *testing.T, upstream string) *chaosLink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &chaosLink{upstream: upstream, listener: l, conns: make(map[net.Conn]bool)}
	t.Cleanup(c.kill)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			server, err := net.Dial("tcp", c.upstream)
			if err != nil {
				c.mu.Unlock()
				client.Close()
				continue
			}
			c.conns[client], c.conns[server] = true, true
			c.mu.Unlock()
			go c.pump(client, server)
			go c.pump(server, client)
		}
	}()
	return c
}

func (c *chaosLink) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		_, err = to.Write(buf[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// freeze lets nothing through for a while; what was sent meanwhile arrives late.
func (c *chaosLink) freeze(d time.Duration) {
	c.mu.Lock()
	<-time.After(d)
	c.mu.Unlock()
}

// cut breaks all connections.
func (c *chaosLink) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

// lead breaks all connections; new ones are to another server.
func (c *chaosLink) lead(upstream string) {
	c.mu.Lock()
	c.upstream = upstream
	c.mu.Unlock()
	c.cut()
}

// kill breaks them for good: for Redis the worker is dead.
func (c *chaosLink) kill() {
	c.listener.Close()
	c.cut()
}

// TestOrderSurvivesAnything: workers come, go, die, freeze beyond their leases and lose their connections, and handlers fail;
// each channel comes out in order and once.
func TestOrderSurvivesAnything(t *testing.T) {
	onRedis(t, func(b *bed) {
		rounds := 24
		if testing.Short() {
			rounds = 10
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		dice := rand.New(rand.NewPCG(seed, 0))
		handlers := map[string]Handler{"echo": func(_ context.Context, e *Event) error {
			e.Publish(e.Channel, e.Data)
			if rand.N(40) == 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}}
		type linked struct {
			*testWorker
			link *chaosLink
		}
		start := func() linked {
			link := newChaosLink(t, b.addr)
			return linked{b.start(handlers, quick, func(c *Config) {
				c.Redis, c.Batch, c.RetryAfter, c.MaxAttempts = "redis://"+link.listener.Addr().String()+"/0", 8, 5*time.Millisecond, 1000
				c.StopTimeout = 50 * time.Millisecond
			}), link}
		}
		workers := []linked{start(), start(), start()}
		order := &ledger{}
		for round := range rounds {
			for range 60 {
				order.add(b, fmt.Sprint("echo:", dice.IntN(12)))
			}
			i := dice.IntN(len(workers))
			w := workers[i]
			switch dice.IntN(4) {
			case 0:
				w.stop()
				workers[i] = start()
			case 1:
				w.link.kill()
				w.cancel()
				workers[i] = start()
			case 2:
				go w.link.freeze(time.Duration(dice.IntN(1500)) * time.Millisecond)
			case 3:
				w.link.cut()
			}
			if round%4 == 3 {
				<-time.After(time.Duration(dice.IntN(400)) * time.Millisecond)
			}
		}
		b.wantDone()
		order.check(b)
		total := 0
		for _, n := range order.next {
			total += n
		}
		wantEqual(t, "entries", total, 60*rounds)
	})
}

// TestDeadOwnerIsSucceeded has a worker in a process of its own die over its entries, with leases as they are in real life.
func TestDeadOwnerIsSucceeded(t *testing.T) {
	if addr := os.Getenv("WORKER_TEST_HEIR"); addr != "" {
		b := &bed{t: t, addr: addr}
		b.start(map[string]Handler{"echo": func(context.Context, *Event) error {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}})
		select {}
	}
	if testing.Short() {
		t.Skip("waits for leases to end")
	}
	b, _ := newTestBed(t)
	order := &ledger{}
	for range 5 {
		order.add(b, "echo:a")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "WORKER_TEST_HEIR="+b.addr)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the worker was not killed: %v\n%s", err, out)
	}
	died := time.Now()
	order.add(b, "echo:a")
	heir := b.start(map[string]Handler{"echo": echo})
	b.wantDone()
	if took := time.Since(died); took > 20*time.Second {
		t.Errorf("taken over after %v", took)
	} else {
		t.Logf("taken over after %v", took)
	}
	order.check(b)
	wantEqual(t, "entries taken over", heir.metrics.claims.Get(), 5)
	eventually(t, "the name of the dead is gone", func() bool { return b.consumers() <= testPartitions })
}

// TestEntryThatKillsIsGivenUp: what has had its attempts, by the count of Redis, is not given another one; its neighbours are.
func TestEntryThatKillsIsGivenUp(t *testing.T) {
	if addr := os.Getenv("WORKER_TEST_POISON"); addr != "" {
		b := &bed{t: t, addr: addr}
		b.start(map[string]Handler{"echo": func(_ context.Context, e *Event) error {
			if string(e.Data) == "poison" {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			e.Publish(e.Channel, e.Data)
			return nil
		}}, quick, func(c *Config) { c.MaxAttempts = 2 })
		select {}
	}
	b, _ := newTestBed(t)
	for _, data := range []string{"0", "poison", "1", "2"} {
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: data})
	}
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "WORKER_TEST_POISON="+b.addr)
		if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the worker was not killed: %v\n%s", err, out)
		}
	}
	w := b.start(map[string]Handler{"echo": echo}, quick, func(c *Config) { c.MaxAttempts = 2 })
	b.wantDone()
	wantEqual(t, "dead letters", w.metrics.dead[causeKilled].Get(), 1)
	wantEqual(t, "publications", len(b.out("echo:a")), 3)
	dead := b.entries(b.keys.Dead(b.partition("echo:a"), "backend"))
	wantEqual(t, "dead letter's body", dead[0][len(dead[0])-11], "poison")
}
