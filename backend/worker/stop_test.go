package worker

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// consumers counts the consumers of the group on all partitions.
func (b *bed) consumers() (n int) {
	b.t.Helper()
	for p := range testPartitions {
		n += len(b.do("XINFO", "CONSUMERS", b.keys.In(p), "backend").([]any))
	}
	return n
}

func TestStopFinishesWhatWasRead(t *testing.T) {
	onRedis(t, func(b *bed) {
		began, release := make(chan struct{}, 3), make(chan struct{})
		for _, data := range []string{"0", "1", "2"} {
			b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: data})
		}
		w := b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
			began <- struct{}{}
			<-release
			if err := ctx.Err(); err != nil {
				return err
			}
			return echo(ctx, e)
		}}, func(c *Config) { c.Batch = 2 })
		<-began
		w.cancel()
		close(release)
		w.stop()
		wantEqual(b.t, "publications", len(b.out("echo:a")), 2) // one read of two
		wantEqual(b.t, "backlog", b.backlog(), 1)               // never read
		wantEqual(b.t, "consumers", b.consumers(), 0)
	})
}

func TestStopTimeoutEndsHandlers(t *testing.T) {
	onRedis(t, func(b *bed) {
		began := make(chan struct{}, 1)
		w := b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
			began <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}}, func(c *Config) { c.StopTimeout = time.Millisecond })
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a"})
		<-began
		w.stop()
		wantEqual(b.t, "backlog", b.backlog(), 1)
		wantEqual(b.t, "consumers", b.consumers(), 1) // where the entry is pending
	})
}

func TestStopWhileRedisIsGone(t *testing.T) {
	b, s := newTestBed(t)
	began, release := make(chan struct{}, 1), make(chan struct{})
	w := b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
		began <- struct{}{}
		<-release
		return echo(ctx, e)
	}}, func(c *Config) { c.StopTimeout = 100 * time.Millisecond })
	b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a"})
	<-began
	s.Kill()
	close(release)
	w.stop()
	wantEqual(t, "entries said to stay pending", w.log.count("entries stay pending"), 1)
}

// TestNothingIsLeftBehind is not parallel: it counts goroutines.
func TestNothingIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("run", func(t *testing.T) {
		b, s := newSerialBed(t)
		w := b.start(map[string]Handler{"echo": echo}, func(c *Config) { c.StopTimeout = 100 * time.Millisecond })
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a"})
		b.wantDone()
		s.Kill()
		eventually(t, "the worker is not ready", func() bool { return w.Ready() != nil })
		w.stop()
	})
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestRunOnlyOnce(t *testing.T) {
	b, _ := newTestBed(t)
	w := b.start(nil)
	w.stop()
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Fatalf("second Run: %v", err)
	}
}

func TestStopBeforeRedisAnswers(t *testing.T) {
	w, err := New(Config{Redis: "redis://127.0.0.1:1/0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
}
