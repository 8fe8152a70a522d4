package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

func TestZeroConfigIsValid(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Partitions: 2}.withDefaults()
	wantEqual(t, "concurrency of two partitions", cfg.Concurrency, 2)
	if other := (Config{}).withDefaults(); other.Consumer == cfg.Consumer {
		t.Fatalf("two consumers are called %s", cfg.Consumer)
	}
}

func TestValidateReportsAllFaults(t *testing.T) {
	err := Config{
		Redis: "http://x", Concurrency: -1, Batch: 10_001, ClaimAfter: time.Millisecond, DedupeWindow: -1, StopTimeout: -1,
		MaxAttempts: -1, RetryAfter: time.Hour, DeadLetters: -1,
	}.Validate()
	for _, fault := range []string{"redis address", "concurrency", "batch", "claim after", "dedupe window", "stop timeout", "max attempts", "retry after", "dead letters"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("no fault %q in: %v", fault, err)
		}
	}
	if _, err := New(Config{Partitions: -1}); err == nil || !strings.Contains(err.Error(), "partitions") {
		t.Errorf("New: %v", err)
	}
}

func TestHandlePanicsOnMistakes(t *testing.T) {
	w, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("taken", echo)
	for _, namespace := range []string{"", "a:b", "taken", "nil"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Handle(%q) does not panic", namespace)
				}
			}()
			h := echo
			if namespace == "nil" {
				h = nil
			}
			w.Handle(namespace, h)
		}()
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		for i, most := 0, firstWait; i < 12; i, most = i+1, min(2*most, maxWait) {
			start := time.Now()
			if err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < most/2 || took > most {
				t.Fatalf("wait %d took %v, want %v to %v", i, took, most/2, most)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("wait: %v", err)
		}
	})
}

func TestThrottle(t *testing.T) {
	th := throttle{every: time.Minute}
	now := time.Now()
	wantEqual(t, "the first", th.allow("a", now), true)
	wantEqual(t, "a second later", th.allow("a", now.Add(time.Second)), false)
	wantEqual(t, "another", th.allow("b", now), true)
	wantEqual(t, "a minute later", th.allow("a", now.Add(time.Minute)), true)
	for i := range 10 * maxThrottled { // names that a client made up
		th.allow(fmt.Sprint(i), now)
	}
	if len(th.last) > maxThrottled {
		t.Fatalf("%d names are remembered", len(th.last))
	}
	wantEqual(t, "a new one after the flood", th.allow("c", now.Add(2*time.Minute)), true)
}

func TestOutageIsLoggedOnce(t *testing.T) {
	log := &logBuffer{}
	l := &link{addr: "r:1", log: slog.New(slog.NewTextHandler(log, nil)), outages: metrics.NewSet().NewCounter("x")}
	for range 2 {
		l.failed(errors.New("EOF"))
		l.failed(errors.New("EOF"))
		l.restored()
		if err := l.ready(); err == nil {
			t.Fatal("ready while one caller has no Redis")
		}
		l.restored()
		if err := l.ready(); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, "starts", log.count("no service from redis"), 2)
	wantEqual(t, "ends", log.count("redis is back"), 2)
	wantEqual(t, "outages", l.outages.Get(), 2)
}

func TestReplyErrorCodes(t *testing.T) {
	for code, want := range map[int]int{100: 100, 4999: 4999, 99: 500, 5000: 500, -1: 500} {
		e := &Event{Kind: stream.KindReq, ref: "1"}
		e.ReplyError(code, "")
		wantEqual(t, fmt.Sprint(code), e.answers[0].Code, want)
	}
}

// FuzzEvent decodes what a stranger may have written, fields separated by line feeds, and handles it.
func FuzzEvent(f *testing.F) {
	f.Add("kind\npub\nch\nchat:a\nuser\nu\nid\nk\nenc\nb\ndata\nx")
	f.Add("kind\nreq\nch\n:\nref\n-\nat\n-1")
	f.Add("kind\nopen\nconn")
	w, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	w.Handle("chat", echo)
	f.Fuzz(func(t *testing.T, text string) {
		entry := redis.Delivery{Fields: strings.Split(text, "\n")}
		items := []item{{d: entry}}
		w.decode(items)
		e := items[0].e
		if e == nil {
			return
		}
		if err := w.dispatch(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		o := e.outcome()
		if n := len(o.Publications) + len(o.Answers); n > 1 {
			t.Fatalf("%d effects of an echo", n)
		}
		if (o.Seen != "") != (e.ID != "" && e.Namespace() == "chat") {
			t.Fatalf("seen %q for ID %q in %q", o.Seen, e.ID, e.Namespace())
		}
	})
}
