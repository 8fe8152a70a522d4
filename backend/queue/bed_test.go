package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

const (
	partitions = 4
	patience   = 30 * time.Second
)

// ledger is a Counter in memory, in which things go wrong.
type ledger struct {
	mu      sync.Mutex
	counted map[string]int // transactions that have counted an ID: once, or it is broken
	users   map[string]int
	fails   int                    // so many calls fail and pass
	refuse  func(e *Event) string  // why not; "" if it can be counted
	calls   []int                  // sizes of the batches that were counted
	gate    func(context.Context)  // called by each call, without the lock
	levels  func(e *Event) []int64 // that gains say
}

func newLedger() *ledger {
	return &ledger{counted: make(map[string]int), users: make(map[string]int)}
}

func (l *ledger) Count(ctx context.Context, events []Event) (c reward.Counted, err error) {
	if l.gate != nil {
		l.gate(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		return c, errors.New("the database is away")
	}
	for i := range events {
		if l.refuse == nil {
			continue
		}
		if why := l.refuse(&events[i]); why == "panic" {
			panic("no such thing")
		} else if why != "" {
			return c, &reward.DataError{Err: errors.New(why)}
		}
	}
	l.calls = append(l.calls, len(events))
	for i := range events {
		e := &events[i]
		if l.counted[e.ID] > 0 {
			c.Duplicates++
			continue
		}
		l.counted[e.ID]++
		l.users[e.User]++
		if l.levels != nil {
			for _, level := range l.levels(e) {
				c.Gains = append(c.Gains, reward.Gain{User: e.User, LevelUp: level > 1, Level: level, Event: e.ID, At: e.At})
			}
		}
	}
	return c, nil
}

func (l *ledger) Known(_ context.Context, ids []string) ([]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]bool, len(ids))
	for i, id := range ids {
		out[i] = l.counted[id] > 0
	}
	return out, nil
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.counted)
}

func (l *ledger) sums() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.users)
}

// bed is a Redis, a client of it, and workers.
type bed struct {
	t      *testing.T
	redis  *redistest.Server
	client *redis.Client
	queue  *redis.Queue
	ledger *ledger
	alerts chan Alert
	sets   []*metrics.Set
}

func newBed(t *testing.T) *bed {
	t.Helper()
	t.Parallel()
	b := &bed{t: t, redis: redistest.Start(t), ledger: newLedger(), alerts: make(chan Alert, 10_000)}
	var err error
	if b.client, err = redis.New(redis.Config{URL: b.redis.URL(), Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Close() })
	if err := b.client.Connect(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	b.queue = b.client.Queue(Name, "test")
	if err := b.queue.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// worker starts one, and returns what stops it.
func (b *bed) worker(cfg Config) (w *Worker, stop func()) {
	b.t.Helper()
	cfg.Counter, cfg.Redis = b.ledger, redis.Config{URL: b.redis.URL(), Partitions: partitions}
	cfg.Metrics = metrics.NewSet()
	cfg.Alert = func(a Alert) { b.alerts <- a }
	b.sets = append(b.sets, cfg.Metrics)
	w, err := New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(stop)
	return w, stop
}

func (b *bed) add(events ...Event) {
	b.t.Helper()
	if err := Add(b.t.Context(), b.client, events); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) state() redis.QueueState {
	b.t.Helper()
	s, err := b.queue.State(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// settled waits until nothing is to be done any more.
func (b *bed) settled() {
	b.t.Helper()
	b.eventually("the queue is done", func() bool {
		s := b.state()
		return s.Lag == 0 && s.Pending == 0 && s.Waiting == 0
	})
}

func (b *bed) letters() (out []redis.DeadLetter) {
	b.t.Helper()
	for p := range partitions {
		letters, err := b.queue.DeadLetters(b.t.Context(), p, zeroID, 10_000)
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, letters...)
	}
	return out
}

func (b *bed) eventually(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// wantMetric wants a line of the last worker's metrics.
func (b *bed) wantMetric(lines ...string) {
	b.t.Helper()
	var text strings.Builder
	b.sets[len(b.sets)-1].WritePrometheus(&text)
	for _, line := range lines {
		if !strings.Contains("\n"+text.String(), "\n"+line) {
			b.t.Errorf("no %q in\n%s", line, text.String())
		}
	}
}

func event(id int, user string) Event {
	return Event{ID: fmt.Sprint("e", id), Kind: "completed", User: user, At: time.Now().UnixMilli()}
}

type ctx = context.Context

func (b *bed) redisConfig() redis.Config {
	return redis.Config{URL: b.redis.URL(), Partitions: partitions}
}

// run runs something until stop is called.
func (b *bed) run(f func(ctx)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	b.t.Cleanup(stop)
	return stop
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
