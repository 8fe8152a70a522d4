// Package rewards_test runs the real workers of rewards on real servers, breaks all of them, and compares what was counted with what an
// oracle in memory counts. By hand: make faults-rewards, make rewards-load.
package rewards_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/postgres"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/pgtest"
	"github.com/millracehq/millrace/internal/redistest"
)

var (
	eventCount  = flag.Int("events", 3000, "events to be counted while everything breaks")
	poisonEvery = flag.Int("poison", 1000, "one in so many of them cannot be counted")
	faultEvery  = flag.Duration("fault-every", 700*time.Millisecond, "about how often something breaks")
	loadRate    = flag.Int("rate", 0, "events a second of the load test; 0: no load test")
	rateStep    = flag.Int("rate-step", 0, "so many more a second, again and again, until that is too much")
	loadFor     = flag.Duration("load-for", time.Minute, "how long that takes")
	workers     = flag.Int("workers", 2, "processes that count")
)

const (
	partitions = 16
	patience   = 5 * time.Minute
)

// program is bin/backend of this tree.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "rewards")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "backend")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../backend/cmd/backend")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// bed is Redis, PostgreSQL, and workers.
type bed struct {
	t       *testing.T
	redis   *redistest.Server
	db      *pgtest.Server
	url     string // of the database, for the workers
	client  *redis.Client
	queue   *redis.Queue
	workers []*worker

	unanswered int       // events in calls that did not succeed: the queue may have them
	said       time.Time // when progress was told last
}

// settings are PostgreSQL's for TestLoad, as docs/REWARDS.md advises.
func settings() []string {
	if *loadRate == 0 {
		return nil
	}
	return []string{"-c", "fsync=on", "-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB", "-c", "wal_compression=lz4"}
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, redis: redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"), db: pgtest.Start(t, settings()...)}
	b.db.SQL("postgres", "CREATE ROLE owner LOGIN CREATEROLE; CREATE ROLE app LOGIN")
	b.db.SQL("postgres", "CREATE DATABASE boards OWNER owner")
	b.run("migrate", "up", "--database", b.db.URL("owner", "boards"))
	b.db.SQL("boards", "GRANT millrace_app, millrace_rewards TO app")
	b.url = b.db.URL("app", "boards") + "&default_query_exec_mode=cache_statement" // as without a PgBouncer between
	var err error
	if b.client, err = redis.New(redis.Config{URL: b.redis.URL(), Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Close() })
	b.queue = b.client.Queue(queue.Name, "test")
	b.try("create the groups", func(ctx context.Context) error { return b.queue.Create(ctx) })
	return b
}

// run runs the program to its end, and returns what it prints.
func (b *bed) run(args ...string) string {
	b.t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("backend %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// streams are the flags that say where the queue is.
func (b *bed) streams() []string {
	return []string{"--redis", b.redis.URL(), "--partitions", fmt.Sprint(partitions)}
}

// try does something until it succeeds: servers come and go.
func (b *bed) try(what string, f func(context.Context) error) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		err = f(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	b.t.Errorf("%s: not within %v: %v", what, patience, err)
}

// settled waits until nothing is to be done.
func (b *bed) settled() {
	b.t.Helper()
	b.try("the queue is done", func(ctx context.Context) error {
		s, err := b.queue.State(ctx)
		if err == nil && s.Lag+s.Pending+s.Waiting > 0 {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}

// behind is how many events wait; 0 while Redis does not say.
func (b *bed) behind() int64 {
	s, err := b.queue.State(b.t.Context())
	if err != nil {
		return 0
	}
	return s.Lag
}

// add adds events until Redis has said that it has them: some of them twice, then.
func (b *bed) add(events []queue.Event) {
	b.t.Helper()
	b.try("add events", func(ctx context.Context) error {
		err := queue.Add(ctx, b.client, events)
		if err != nil {
			b.unanswered += len(events)
		}
		return err
	})
}

// worker is a process that counts, and is started again when it has died.
type worker struct {
	b    *bed
	name string
	args []string
	addr string

	mu      sync.Mutex
	cmd     *exec.Cmd
	stopped bool
	done    chan struct{}
	log     bytes.Buffer // of the last life
}

func (b *bed) start(n int, more ...string) {
	b.t.Helper()
	for range n {
		w := &worker{b: b, name: fmt.Sprint("w", len(b.workers)), addr: freeport.MustAddr(b.t), done: make(chan struct{})}
		w.args = append(append([]string{
			"rewards", "--database", b.url, "--listen", w.addr, "--consumer", w.name, "--claim-after", "2s", "--retry-after", "20ms", "--log-level", "error",
		}, b.streams()...), more...)
		b.workers = append(b.workers, w)
		go w.live()
		b.t.Cleanup(w.stop)
	}
	for _, w := range b.workers {
		b.try(w.name+" is ready", func(context.Context) error {
			code, body := w.get("/readyz")
			if code != http.StatusOK {
				return errors.New(body)
			}
			return nil
		})
	}
}

// live starts the process again and again, until it is stopped.
func (w *worker) live() {
	defer close(w.done)
	for {
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return
		}
		w.log.Reset()
		cmd := exec.Command(program, w.args...)
		cmd.Stderr = &w.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is killed, and cleans up nothing
		err := cmd.Start()
		w.cmd = cmd
		w.mu.Unlock()
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			<-time.After(50 * time.Millisecond)
		}
	}
}

func (w *worker) signal(sig syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd != nil && w.cmd.Process != nil {
		_ = w.cmd.Process.Signal(sig)
	}
}

func (w *worker) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.signal(syscall.SIGTERM)
	stuck := time.AfterFunc(20*time.Second, func() { w.signal(syscall.SIGKILL) })
	defer stuck.Stop()
	<-w.done
	if w.b.t.Failed() {
		w.b.t.Logf("%s: %s", w.name, w.log.String())
	}
}

func (w *worker) get(path string) (code int, body string) {
	client := http.Client{Timeout: 10 * time.Second} // a worker may be stopped
	resp, err := client.Get("http://" + w.addr + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// compare wants the database to have for each user what the oracle has.
func (b *bed) compare(oracle reward.Desk, users int) {
	b.t.Helper()
	counted := b.desk()
	var sum reward.XP
	for i := range users {
		name := userName(i)
		want, err := oracle.Account(b.t.Context(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		got, err := counted.Account(b.t.Context(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		sum += got.XP
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			b.t.Errorf("%s has %+v, want %+v", name, got, want)
		}
	}
	b.t.Logf("%d users have %v points together, each as the oracle says", users, sum)
}

func userName(i int) string { return fmt.Sprint("user", i) }

// counter is what the workers count in.
func (b *bed) counter() *postgres.Store {
	b.t.Helper()
	s, err := postgres.Open(b.t.Context(), b.url, reward.BuiltIn())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { s.Close() })
	return s
}

// desk is what users are answered from.
func (b *bed) desk() reward.Desk {
	b.t.Helper()
	d, err := postgres.OpenDesk(b.t.Context(), b.url, "", reward.BuiltIn())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(d.Close)
	return d
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Statements that make events of some users violate a constraint, and that mend it.
const (
	poisonOn  = "ALTER TABLE reward.facts ADD CONSTRAINT poison CHECK (user_id NOT LIKE 'poison-%')"
	poisonOff = "ALTER TABLE reward.facts DROP CONSTRAINT poison"
)
