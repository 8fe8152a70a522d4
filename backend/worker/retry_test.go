package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

func TestLaterEntriesOfTheChannelWait(t *testing.T) {
	onRedis(t, func(b *bed) {
		var away atomic.Bool
		away.Store(true)
		w := b.start(map[string]Handler{"echo": func(_ context.Context, e *Event) error {
			if e.Channel == "echo:bad" && string(e.Data) == "0" && away.Load() {
				return errors.New("database is away")
			}
			e.Publish(e.Channel, e.Data)
			return nil
		}}, func(c *Config) { c.RetryAfter, c.MaxAttempts = 10*time.Millisecond, 1<<20 })
		good := sibling(b, "echo:bad")
		order := &ledger{}
		for range 10 {
			order.add(b, "echo:bad")
			order.add(b, good)
		}
		eventually(t, "the other channel is done", func() bool { return len(b.out(good)) == 10 })
		eventually(t, "the rest waits", func() bool { return w.metrics.waiting.Load() == 10 })
		wantEqual(t, "publications behind a failing entry", len(b.out("echo:bad")), 0)
		away.Store(false)
		b.wantDone()
		order.check(b)
		wantEqual(t, "waiting", w.metrics.waiting.Load(), 0)
	})
}

// sibling is a channel of the same partition.
func sibling(b *bed, channel string) string {
	for i := 0; ; i++ {
		if other := fmt.Sprint("echo:", i); b.partition(other) == b.partition(channel) {
			return other
		}
	}
}

func TestWaitingEntriesAreBounded(t *testing.T) {
	onRedis(t, func(b *bed) {
		var away atomic.Bool
		away.Store(true)
		w := b.start(map[string]Handler{"echo": func(_ context.Context, e *Event) error {
			if away.Load() {
				return errors.New("database is away")
			}
			e.Publish(e.Channel, e.Data)
			return nil
		}}, func(c *Config) { c.RetryAfter, c.MaxAttempts = 10*time.Millisecond, 1<<20 })
		order := &ledger{}
		for range maxWaiting + 3*defaultBatch {
			order.add(b, "echo:a")
		}
		eventually(t, "the partition is full", func() bool { return w.metrics.waiting.Load() >= maxWaiting })
		<-time.After(100 * time.Millisecond) // time enough to read on
		if n := w.metrics.waiting.Load(); n >= maxWaiting+defaultBatch {
			t.Fatalf("%d entries wait", n)
		}
		away.Store(false)
		b.wantDone()
		order.check(b)
	})
}

func TestEntryIsGivenUp(t *testing.T) {
	onRedis(t, func(b *bed) {
		b.openNode("n1")
		w := b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
			switch string(e.Data) {
			case "never":
				e.Publish(e.Channel, e.Data)
				return errors.New("database is\naway")
			case "wrong":
				return fmt.Errorf("wrapped: %w", Permanent(errors.New("no such board")))
			}
			return echo(ctx, e)
		}}, quick, func(c *Config) { c.RetryAfter, c.MaxAttempts = time.Millisecond, 3 })
		for _, data := range []string{"never", "wrong", "fine"} {
			b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", ID: data, Data: data})
		}
		p := b.partition("echo:a")
		b.addRaw(p, "kind", "nonsense", "x", "y")
		b.wantDone()
		wantEqual(t, "publications", len(b.out("echo:a")), 1)
		reasons := map[string]string{}
		for _, fields := range b.entries(b.keys.Dead(p, "backend")) {
			d := fields[len(fields)-10:]
			reasons[d[3]] = d[5]
			wantEqual(t, "names", d[0]+d[2]+d[4]+d[6]+d[8], "dead_entrydead_reasondead_attemptsdead_atdead_consumer")
		}
		wantEqual(t, "dead letters", len(reasons), 3)
		wantEqual(t, "attempts", reasons["database is away"], "3")
		wantEqual(t, "attempts at what is hopeless", reasons["wrapped: no such board"], "1")
		wantEqual(t, "attempts at what is no entry", reasons[`bad stream entry: unknown kind "nonsense"`], "1")
		wantEqual(t, "given up, in the log", w.log.count("gave up an entry"), 3)
		eventually(t, "the metrics", func() bool {
			var text strings.Builder
			w.cfg.Metrics.WritePrometheus(&text)
			return strings.Contains(text.String(), `millrace_backend_dead_letters{group="backend"} 3`) &&
				strings.Contains(text.String(), `millrace_backend_dead_letters_total{reason="attempts"} 1`)
		})
		wantEqual(t, "seen marks", b.do("EXISTS", b.keys.Seen(p, "ann", "never")).(int), 0)
	})
}

func TestBacklogIsMeasured(t *testing.T) {
	onRedis(t, func(b *bed) {
		began, release := make(chan struct{}), make(chan struct{})
		w := b.start(map[string]Handler{"echo": func(context.Context, *Event) error {
			select {
			case <-began:
			default:
				close(began)
				<-release
			}
			return nil
		}}, quick, func(c *Config) { c.Batch, c.Concurrency = 2, 1 })
		defer close(release)
		for range 5 {
			b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a"})
		}
		<-began
		m := &w.metrics.backlog
		eventually(t, "the backlog is measured", func() bool {
			return m.pending.Load()+m.lag.Load() == 5 && m.pendingMax.Load() == m.pending.Load() && m.pending.Load() > 0 && m.oldest.Load() > 0
		})
	})
}

func TestRetryAfterGrowsToItsBound(t *testing.T) {
	for attempt, most := int64(1), 100*time.Millisecond; attempt < 70; attempt, most = attempt+1, min(2*most, maxRetryAfter) {
		if d := retryAfter(100*time.Millisecond, attempt); d < most/2-1 || d > most {
			t.Fatalf("attempt %d: %v, want %v to %v", attempt, d, most/2, most)
		}
	}
}

func TestPermanentOfNothing(t *testing.T) {
	if Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
}

func TestKeptAnswers(t *testing.T) {
	for kept, want := range map[string]stream.Answer{
		keptAnswer(&stream.Answer{Kind: stream.KindRes, Data: "a\nb"}):                         {Kind: stream.KindRes, Data: "a\nb"},
		keptAnswer(&stream.Answer{Kind: stream.KindRes, Binary: true}):                         {Kind: stream.KindRes, Binary: true},
		keptAnswer(&stream.Answer{Kind: stream.KindErr, Code: 404, Data: "x"}):                 {Kind: stream.KindErr, Code: 404, Data: "x"},
		keptAnswer(&stream.Answer{Kind: stream.KindRes, Data: strings.Repeat("x", maxKept+1)}): {Kind: stream.KindErr, Code: 409, Data: "already done, and the answer is not kept"},
		keptAnswer(nil) + "\n": {Kind: stream.KindErr, Code: 409, Data: "already done, and the answer is not kept"},
	} {
		e := &Event{Kind: stream.KindReq, ref: "1"}
		e.repeatAnswer(kept)
		want.Ref = "1"
		wantEqual(t, kept, e.answers[0].Answer, want)
	}
}

func TestCloseRevokeKick(t *testing.T) {
	onRedis(t, func(b *bed) {
		b.openNode("n1")
		b.start(map[string]Handler{"echo": func(_ context.Context, e *Event) error {
			e.Close(4003, "enough")
			e.Close(7, "")
			e.Revoke("echo:b", "eve")
			e.Kick("eve")
			return nil
		}})
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a"})
		b.wantDone()
		got := b.answers("n1")
		wantEqual(t, "close", got[0], stream.Answer{Kind: stream.KindClose, Conn: "conn1", Code: 4003, Data: "enough"})
		wantEqual(t, "close", got[1], stream.Answer{Kind: stream.KindClose, Conn: "conn1", Code: 4102})
		wantEqual(t, "revoke", b.out("echo:b")[0], stream.Publication{Kind: stream.KindRevoke, Channel: "echo:b", User: "eve"})
		all := b.entries(b.keys.Out(stream.Partition("eve", testPartitions)))
		wantEqual(t, "kick", strings.Join(all[len(all)-1], " "), "kind kick user eve data ")
	})
}
