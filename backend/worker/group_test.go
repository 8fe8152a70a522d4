package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// startBatch starts a worker with a batch handler.
func (b *bed) startBatch(h Handler, most int, batch BatchHandler, change func(*Config)) *testWorker {
	b.t.Helper()
	return b.startWith(func(w *Worker) {
		w.Handle("echo", h)
		w.HandleBatch("echo", most, batch)
	}, change)
}

// TestBatchHandler: what was there together is handled together, by channel, in order, and a repeated ID ends a batch.
func TestBatchHandler(t *testing.T) {
	onRedis(t, func(b *bed) {
		b.openNode("n1")
		for i, word := range strings.Fields("a b a:x a a:x a a a a") {
			channel, id, _ := strings.Cut(word, ":")
			b.add(stream.Event{Kind: stream.KindReq, Channel: "echo:" + channel, ID: id, Data: fmt.Sprint(i), Ref: fmt.Sprint(i + 1)})
		}
		var mu sync.Mutex
		var calls []string
		note := func(events ...*Event) error {
			mu.Lock()
			defer mu.Unlock()
			var data []string
			for _, e := range events {
				data = append(data, string(e.Data))
				e.Reply(e.Data)
			}
			if events[0].Channel == "echo:a" {
				calls = append(calls, strings.Join(data, ","))
				events[0].Publish("echo:a", []byte(strings.Join(data, ",")))
			}
			return nil
		}
		b.startBatch(func(_ context.Context, e *Event) error { return note(e) }, 3, func(_ context.Context, events []*Event) error { return note(events...) }, nil)
		b.wantDone()
		wantEqual(b.t, "calls", strings.Join(calls, " "), "0,2,3 5,6,7 8") // 4 is 2 again
		var published []string
		for _, p := range b.out("echo:a") {
			published = append(published, p.Data)
		}
		wantEqual(b.t, "publications", strings.Join(published, " "), "0,2,3 5,6,7 8")
		answers := map[string]string{}
		for _, a := range b.answers("n1") {
			answers[a.Ref] += a.Data
		}
		for i := range 9 {
			want := fmt.Sprint(i)
			if i == 4 {
				want = "2"
			}
			wantEqual(b.t, fmt.Sprintf("answer to %d", i), answers[fmt.Sprint(i+1)], want)
		}
	})
}

// TestBatchHandlerThatFails: nothing of it is left, each event is handled by itself, once, and in order.
func TestBatchHandlerThatFails(t *testing.T) {
	onRedis(t, func(b *bed) {
		const entries = 300
		for i := range entries / 2 {
			b.add(stream.Event{Kind: stream.KindPub, Channel: fmt.Sprint("echo:", i%3), Data: fmt.Sprint(i)})
		}
		fate := func(n int) error {
			switch rand.N(n) {
			case 0:
				return errors.New("unlucky")
			case 1:
				panic("unlucky")
			}
			return nil
		}
		w := b.startBatch(func(_ context.Context, e *Event) error {
			e.Publish(e.Channel, e.Data)
			return fate(10)
		}, 10, func(_ context.Context, events []*Event) error {
			for _, e := range events {
				e.Publish(e.Channel, e.Data)
			}
			return fate(4)
		}, func(c *Config) { c.RetryAfter, c.MaxAttempts = time.Millisecond, 1000 })
		for i := entries / 2; i < entries; i++ {
			b.add(stream.Event{Kind: stream.KindPub, Channel: fmt.Sprint("echo:", i%3), Data: fmt.Sprint(i)})
		}
		b.wantDone()
		for ch := range 3 {
			next := ch
			for _, p := range b.out(fmt.Sprint("echo:", ch)) {
				wantEqual(b.t, p.Channel, p.Data, fmt.Sprint(next))
				next += 3
			}
			wantEqual(b.t, "entries", next, entries+ch)
		}
		if w.metrics.batchErrors.Get() == 0 {
			b.t.Error("no batch has failed")
		}
	})
}

func TestHandleBatchPanics(t *testing.T) {
	t.Parallel()
	h := func(context.Context, []*Event) error { return nil }
	for what, f := range map[string]func(w *Worker){
		"no handler": func(w *Worker) { w.HandleBatch("x", 2, h) },
		"twice":      func(w *Worker) { w.HandleBatch("echo", 2, h); w.HandleBatch("echo", 2, h) },
		"one":        func(w *Worker) { w.HandleBatch("echo", 1, h) },
		"nil":        func(w *Worker) { w.HandleBatch("echo", 2, nil) },
	} {
		w, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		w.Handle("echo", func(context.Context, *Event) error { return nil })
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f(w)
		}()
		w.client.Close()
	}
}
