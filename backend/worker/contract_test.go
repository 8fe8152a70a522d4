package worker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

func echo(_ context.Context, e *Event) error {
	if e.Kind == stream.KindReq {
		e.Reply(e.Data)
	} else {
		e.Publish(e.Channel, e.Data)
	}
	return nil
}

func TestRequestIsAnswered(t *testing.T) { onRedis(t, requestIsAnswered) }

func requestIsAnswered(b *bed) {
	b.t.Helper()
	b.openNode("n1")
	b.start(map[string]Handler{
		"echo": echo,
		"no": func(_ context.Context, e *Event) error {
			e.ReplyError(409, "stale")
			e.Reply([]byte("never"))
			return nil
		},
	})
	b.add(stream.Event{Kind: stream.KindReq, Channel: "echo:a", Ref: "1", Binary: true, Data: "\xff\n\x00"})
	b.wantDone()
	b.add(stream.Event{Kind: stream.KindReq, Channel: "no:a", Ref: "2"})
	b.add(stream.Event{Kind: stream.KindReq, Channel: "echo:a", Ref: "-"})
	b.add(stream.Event{Kind: stream.KindReq, Channel: "echo:a", Ref: "3", Node: "gone"})
	b.wantDone()
	got := b.answers("n1")
	wantEqual(b.t, "answers", len(got), 2)
	wantEqual(b.t, "answer", got[0], stream.Answer{Kind: stream.KindRes, Conn: "conn1", Ref: "1", Binary: true, Data: "\xff\n\x00"})
	wantEqual(b.t, "answer", got[1], stream.Answer{Kind: stream.KindErr, Conn: "conn1", Ref: "2", Code: 409, Data: "stale"})
	wantEqual(b.t, "EXISTS", b.do("EXISTS", b.keys.Node("gone")).(int), 0)
}

func TestPublicationCarriesItsOrigin(t *testing.T) { onRedis(t, publicationCarriesItsOrigin) }

func publicationCarriesItsOrigin(b *bed) {
	b.t.Helper()
	b.start(map[string]Handler{"chat": func(_ context.Context, e *Event) error {
		e.Publish(e.Channel, e.Data)
		e.Publish("other", []byte("2"), Skip(e.Conn), ID("own"), Binary(true))
		e.Publish("other", []byte("\xff"))
		return nil
	}})
	b.add(stream.Event{Kind: stream.KindPub, Channel: "chat", ID: "k1", At: 1700000000123, Trace: "00-1-2-01", Data: "hi"})
	b.wantDone()
	got := append(b.out("chat"), b.out("other")...)
	want := []stream.Publication{
		{Kind: stream.KindPub, Channel: "chat", ID: "k1", At: 1700000000123, Trace: "00-1-2-01", Data: "hi"},
		{Kind: stream.KindPub, Channel: "other", ID: "own", At: 1700000000123, Trace: "00-1-2-01", Skip: "conn1", Binary: true, Data: "2"},
		{Kind: stream.KindPub, Channel: "other", ID: "k1", At: 1700000000123, Trace: "00-1-2-01", Binary: true, Data: "\xff"},
	}
	for i := range want {
		wantEqual(b.t, "publication", got[i], want[i])
	}
}

func TestSendGoesToOneConnection(t *testing.T) { onRedis(t, sendGoesToOneConnection) }

func sendGoesToOneConnection(b *bed) {
	b.t.Helper()
	b.openNode("n1")
	b.openNode("n2")
	b.start(map[string]Handler{"chat": func(_ context.Context, e *Event) error {
		e.Send("chat:a", []byte("own"))
		e.Send("chat:a", []byte("other"), To("n2", "conn2"))
		return nil
	}})
	b.add(stream.Event{Kind: stream.KindPub, Channel: "chat:a"})
	b.wantDone()
	wantEqual(b.t, "push", b.answers("n1")[0], stream.Answer{Kind: stream.KindMsg, Conn: "conn1", Channel: "chat:a", Data: "own"})
	wantEqual(b.t, "push", b.answers("n2")[0], stream.Answer{Kind: stream.KindMsg, Conn: "conn2", Channel: "chat:a", Data: "other"})
}

func TestOrderWithinChannels(t *testing.T) { onRedis(t, orderWithinChannels) }

func orderWithinChannels(b *bed) {
	b.t.Helper()
	const entries = 300
	for i := range entries {
		b.add(stream.Event{Kind: stream.KindPub, Channel: fmt.Sprint("echo:", i%3), Data: fmt.Sprint(i)})
	}
	b.start(map[string]Handler{"echo": echo}, func(c *Config) { c.Batch = 7 })
	b.wantDone()
	for ch := range 3 {
		got := b.out(fmt.Sprint("echo:", ch))
		wantEqual(b.t, "publications", len(got), entries/3)
		for i, p := range got {
			wantEqual(b.t, "publication", p.Data, fmt.Sprint(3*i+ch))
		}
	}
}

func TestNamespaces(t *testing.T) {
	onRedis(t, func(b *bed) {
		b.openNode("n1")
		reply := func(text string) Handler {
			return func(_ context.Context, e *Event) error { e.Reply([]byte(text + " " + string(e.Kind))); return nil }
		}
		w := b.start(map[string]Handler{"chat": reply("chat")})
		for ref, channel := range []string{"chat", "chat:a:b", "chats:a", "Chat", ":chat"} {
			b.add(stream.Event{Kind: stream.KindReq, Channel: channel, Ref: fmt.Sprint(ref)})
			b.wantDone()
		}
		b.add(stream.Event{Kind: stream.KindPub, Channel: "chats:b"})
		b.addRaw(0, "kind", "open", "node", "n1", "conn", "c", "user", "u", "ref", "-", "at", 1, "enc", "t", "data", "")
		b.wantDone()
		for i, a := range b.answers("n1") {
			want := stream.Answer{Kind: stream.KindErr, Conn: "conn1", Ref: fmt.Sprint(i), Code: 404, Data: "no backend for this namespace"}
			if i < 2 {
				want.Kind, want.Code, want.Data = stream.KindRes, 0, "chat req"
			}
			wantEqual(b.t, "answer", a, want)
		}
		wantEqual(b.t, "entries without a handler", w.metrics.noHandler.Get(), 5)
		wantEqual(b.t, "warnings about chats", w.log.count("namespace=chats"), 1)
		w.stop()

		var opened atomic.Int64
		b.start(map[string]Handler{"chat": reply("chat"), Any: func(_ context.Context, e *Event) error {
			if e.Kind == stream.KindOpen {
				opened.Add(1)
			}
			e.Reply([]byte("any"))
			return nil
		}})
		b.add(stream.Event{Kind: stream.KindReq, Channel: "chats:a", Ref: "9"})
		b.addRaw(0, "kind", "open", "node", "n1", "conn", "c", "user", "u", "ref", "-", "at", 1, "enc", "t", "data", "")
		b.wantDone()
		wantEqual(b.t, "answer", b.answers("n1")[5].Data, "any")
		wantEqual(b.t, "opened", opened.Load(), 1)
	})
}

func TestWhatIsNoEntryIsAcknowledged(t *testing.T) {
	onRedis(t, func(b *bed) {
		w := b.start(map[string]Handler{"echo": echo})
		b.addRaw(0, "x", "y")
		b.addRaw(0, "kind", "pub")
		b.addRaw(0, "kind", "pub", "ch", "echo:a", "at", "yesterday")
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: "good"})
		b.wantDone()
		wantEqual(b.t, "undecodable", w.metrics.undecodable.Get(), 3)
		wantEqual(b.t, "publications", len(b.out("echo:a")), 1)
	})
}

func TestRepeatedIDIsHandledOnce(t *testing.T) { onRedis(t, repeatedIDIsHandledOnce) }

func repeatedIDIsHandledOnce(b *bed) {
	b.t.Helper()
	b.openNode("n1")
	var calls atomic.Int64
	counted := func(ctx context.Context, e *Event) error { calls.Add(1); return echo(ctx, e) }
	pub := stream.Event{Kind: stream.KindPub, Channel: "echo:a", ID: "k1", Data: "x"}
	b.add(pub) // these two come in one batch
	b.add(pub)
	w := b.start(map[string]Handler{"echo": counted})
	b.wantDone()
	b.add(pub)
	req := stream.Event{Kind: stream.KindReq, Channel: "echo:a", ID: "k2", Ref: "1"}
	b.add(req)
	b.wantDone()
	req.Ref = "2"
	b.add(req)
	b.wantDone()
	wantEqual(b.t, "calls", calls.Load(), 2)
	wantEqual(b.t, "publications", len(b.out("echo:a")), 1)
	want := stream.Answer{Kind: stream.KindRes, Conn: "conn1", Ref: "1"}
	wantEqual(b.t, "answer", b.answers("n1")[0], want)
	want.Ref = "2"
	wantEqual(b.t, "the same answer again", b.answers("n1")[1], want)
	wantEqual(b.t, "duplicates", w.metrics.duplicates.Get(), 3)

	pub.User = "bob" // another user's k1 is another publication
	b.add(pub)
	b.wantDone()
	wantEqual(b.t, "publications", len(b.out("echo:a")), 2)
}

func TestFailedPublicationIsHandledAgain(t *testing.T) { onRedis(t, failedPublicationIsHandledAgain) }

func failedPublicationIsHandledAgain(b *bed) {
	b.t.Helper()
	var calls atomic.Int64
	w := b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
		e.Publish(e.Channel, []byte("of a failed attempt"))
		switch calls.Add(1) {
		case 1:
			return fmt.Errorf("database is away")
		case 2:
			panic("oops")
		}
		e.publications = nil
		return echo(ctx, e)
	}})
	b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", ID: "k", Data: "x"})
	b.wantDone()
	got := b.out("echo:a")
	wantEqual(b.t, "publications", len(got), 1)
	wantEqual(b.t, "publication", got[0].Data, "x")
	wantEqual(b.t, "calls", calls.Load(), 3)
	wantEqual(b.t, "retries", w.metrics.retries.Get(), 2)
	for _, text := range []string{"attempt=1", "attempt=2", `error="database is away"`, `error="panic: oops"`, "contract_test.go"} {
		wantEqual(b.t, text+" in the log", w.log.count(text), 1)
	}
	wantEqual(b.t, "errors and panics", w.metrics.handlerErrors.Get()*10+w.metrics.panics.Get(), 11)
}

func TestFailedRequestIsAnswered(t *testing.T) {
	onRedis(t, func(b *bed) {
		b.openNode("n1")
		var calls atomic.Int64
		w := b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
			if calls.Add(1) == 1 {
				e.Reply([]byte("half an answer"))
				e.Publish(e.Channel, nil)
				panic("secret")
			}
			return echo(ctx, e)
		}})
		req := stream.Event{Kind: stream.KindReq, Channel: "echo:a", ID: "k", Ref: "1", Data: "x"}
		b.add(req)
		b.wantDone()
		req.Ref = "2" // the client tries the same again, and may
		b.add(req)
		b.wantDone()
		got := b.answers("n1")
		wantEqual(b.t, "answers", len(got), 2)
		wantEqual(b.t, "answer", got[0], stream.Answer{Kind: stream.KindErr, Conn: "conn1", Ref: "1", Code: 500, Data: "backend failed"})
		wantEqual(b.t, "answer", got[1], stream.Answer{Kind: stream.KindRes, Conn: "conn1", Ref: "2", Data: "x"})
		wantEqual(b.t, "publications", len(b.out("echo:a")), 0)
		wantEqual(b.t, "stacks in the log", w.log.count("contract_test.go"), 1)
	})
}

func TestClaimsFromDeadConsumer(t *testing.T) { onRedis(t, claimsFromDeadConsumer) }

func claimsFromDeadConsumer(b *bed) {
	b.t.Helper()
	for p := range testPartitions {
		b.do("XGROUP", "CREATE", b.keys.In(p), "backend", 0, "MKSTREAM")
	}
	for i := range 9 {
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: fmt.Sprint(i)})
	}
	b.do("XREADGROUP", "GROUP", "backend", "dead", "STREAMS", b.keys.In(b.partition("echo:a")), ">")
	w := b.start(map[string]Handler{"echo": echo}, func(c *Config) { c.Batch = 2 })
	b.wantDone()
	for i, p := range b.out("echo:a") {
		wantEqual(b.t, "publication", p.Data, fmt.Sprint(i))
	}
	wantEqual(b.t, "claims", w.metrics.claims.Get(), 9)
}

func TestSlowHandlerIsNotRobbed(t *testing.T) {
	onRedis(t, func(b *bed) {
		began, release := make(chan struct{}), make(chan struct{})
		b.start(map[string]Handler{"echo": func(ctx context.Context, e *Event) error {
			if string(e.Data) == "0" {
				close(began)
				<-release
			}
			return echo(ctx, e)
		}})
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: "0"})
		<-began
		robber := b.start(map[string]Handler{"echo": echo})
		<-time.After(6 * testClaimAfter) // time enough to rob
		wantEqual(b.t, "claims", robber.metrics.claims.Get(), 0)
		close(release)
		b.wantDone()
		wantEqual(b.t, "publications", len(b.out("echo:a")), 1)
	})
}

func TestFlushedStreamsAreMadeAgain(t *testing.T) {
	onRedis(t, func(b *bed) {
		w := b.start(map[string]Handler{"echo": echo})
		b.do("FLUSHALL")
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", Data: "x"})
		eventually(b.t, "the entry is handled", func() bool { return len(b.out("echo:a")) == 1 })
		b.wantDone()
		wantEqual(b.t, "partitions", b.do("HGET", b.keys.Meta(), "partitions").(string), fmt.Sprint(testPartitions))
		wantEqual(b.t, "outages", w.metrics.outages.Get(), 0)
		if err := w.Ready(); err != nil {
			b.t.Fatal(err)
		}
	})
}

func TestMetricsAreWritten(t *testing.T) {
	onRedis(t, func(b *bed) {
		w := b.start(map[string]Handler{"echo": echo})
		b.add(stream.Event{Kind: stream.KindPub, Channel: "echo:a", At: time.Now().UnixMilli()})
		b.wantDone()
		var text strings.Builder
		w.cfg.Metrics.WritePrometheus(&text)
		for _, line := range []string{
			`millrace_backend_entries_total{kind="pub"} 1`, `millrace_backend_entries_total{kind="req"} 0`,
			"millrace_backend_batch_entries_count 1", "millrace_backend_lag_seconds_count 1",
			`millrace_backend_handler_seconds_count{namespace="echo"} 1`, "millrace_backend_settled_elsewhere_total 0",
		} {
			if !strings.Contains(text.String(), line+"\n") {
				b.t.Errorf("no %q in\n%s", line, text.String())
			}
		}
	})
}
