package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

// testGateway is a gateway in this process, on a real Redis, and the other end of its streams.
type testGateway struct {
	*Gateway
	t       *testing.T
	server  *redistest.Server
	streams *redis.Client
	stop    context.CancelFunc
	stopped chan error
}

func newTestGateway(t *testing.T, cfg Config) *testGateway {
	t.Helper()
	return newTestGatewayOn(t, redistest.Start(t), cfg)
}

func newTestGatewayOn(t *testing.T, server *redistest.Server, cfg Config) *testGateway {
	t.Helper()
	cfg.Listen, cfg.Admin, cfg.Redis = "127.0.0.1:0", "127.0.0.1:0", server.URL()
	cfg.Loops = cmp.Or(cfg.Loops, 1) // several gateways in one process would want a processor for each loop
	if testing.Verbose() && cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := redis.New(redis.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	tg := &testGateway{Gateway: g, t: t, server: server, streams: streams, stop: stop, stopped: make(chan error, 1)}
	go func() { tg.stopped <- g.Run(ctx) }()
	t.Cleanup(func() {
		tg.wantStopped()
		_ = streams.Close()
	})
	eventually(t, "the gateway is ready", func() bool { return g.Ready() == nil })
	return tg
}

func (g *testGateway) wantStopped() {
	g.t.Helper()
	g.stop()
	select {
	case err := <-g.stopped:
		if err != nil {
			g.t.Errorf("Run: %v", err)
		}
		g.stopped <- nil
	case <-time.After(30 * time.Second):
		g.t.Fatal("the gateway does not stop")
	}
}

func (g *testGateway) url() string { return "ws://" + g.Addr().String() + "/ws" }

// connect is a raw connection, hello read.
func (g *testGateway) connect(opts client.Options) *testConn {
	g.t.Helper()
	raw, err := client.DialRaw(g.t.Context(), g.url(), opts)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(raw.Abort)
	c := &testConn{t: g.t, Raw: raw}
	if c.hello = c.read(); c.hello.Verb() != "hello" {
		g.t.Fatalf("first frame %q", c.hello.Head)
	}
	return c
}

// entries reads a stream from its beginning.
func (g *testGateway) entries(key string) []stream.Entry {
	g.t.Helper()
	all, err := g.streams.Read(g.t.Context(), []stream.Cursor{{Key: key}}, 10_000, time.Millisecond)
	if err != nil {
		g.t.Fatal(err)
	}
	if len(all) == 0 {
		return nil
	}
	return all[0].Entries
}

func (g *testGateway) add(key string, values ...any) {
	g.t.Helper()
	if err := g.streams.Append(g.t.Context(), []stream.Add{{Key: key, Values: values}})[0]; err != nil {
		g.t.Fatal(err)
	}
}

func out(channel string) string {
	return stream.Keys{}.Out(stream.Partition(channel, stream.DefaultPartitions))
}

func in(channel string) string {
	return stream.Keys{}.In(stream.Partition(channel, stream.DefaultPartitions))
}

// events are those of a channel; its partition may have those of others, and of connections.
func (g *testGateway) events(channel string) (all []stream.Event) {
	g.t.Helper()
	for _, entry := range g.entries(in(channel)) {
		e, err := stream.DecodeEvent(entry.Fields)
		if err != nil {
			g.t.Fatal(err)
		}
		if e.Channel == channel {
			all = append(all, e)
		}
	}
	return all
}

// event waits for the n-th event of a channel.
func (g *testGateway) event(channel string, n int) stream.Event {
	g.t.Helper()
	var all []stream.Event
	eventually(g.t, fmt.Sprintf("%d events of %s", n, channel), func() bool {
		all = g.events(channel)
		return len(all) >= n
	})
	return all[n-1]
}

type testConn struct {
	t *testing.T
	*client.Raw
	hello client.Frame
}

func (c *testConn) session() string { return strings.Fields(c.hello.Head)[1] }

func (c *testConn) write(frame string) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), false, []byte(frame)); err != nil {
		c.t.Fatalf("write %.60q: %v", frame, err)
	}
}

func (c *testConn) read() client.Frame {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	f, err := c.Read(ctx)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

// want reads a frame whose head begins so, and returns it.
func (c *testConn) want(head string) client.Frame {
	c.t.Helper()
	f := c.read()
	if !strings.HasPrefix(f.Head+" ", head+" ") {
		c.t.Fatalf("got %q, want %q", f.Head, head)
	}
	return f
}

// ask writes and wants the answer.
func (c *testConn) ask(frame, head string) client.Frame {
	c.t.Helper()
	c.write(frame)
	return c.want(head)
}

// wantClosed reads until the end, which must have that close code, and returns the bye before it.
func (c *testConn) wantClosed(code int) *client.Bye {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, err := c.Read(ctx)
		var closed *client.Closed
		if !errors.As(err, &closed) {
			if err != nil {
				c.t.Fatal(err)
			}
			continue
		}
		if closed.Code != code {
			c.t.Fatalf("%v, want code %d", closed, code)
		}
		return closed.Bye
	}
}

// eventually polls, since what is waited for happens in other processes and goroutines.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (g *testGateway) get(path string) (int, string) {
	g.t.Helper()
	res, err := http.Get("http://" + g.Admin().String() + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestDirectPublication(t *testing.T) {
	g := newTestGateway(t, Config{})
	a, b := g.connect(client.Options{}), g.connect(client.Options{})
	a.ask("sub 1 direct:x", "ok 1")
	b.ask("sub 1 direct:x", "ok 1")
	b.ask("sub 2 direct:y", "ok 2")
	if err := b.Write(t.Context(), true, []byte("pub 3 direct:x key\n\x00\xff")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*testConn{a, b} {
		f := c.read()
		if f.Verb() == "ok" { // its order to the publication is not promised
			f = c.read()
		}
		if f.Verb() != "msg" || !f.Binary || string(f.Body) != "\x00\xff" {
			t.Fatalf("%+v", f)
		}
		position := strings.Fields(f.Head)[2]
		if _, err := stream.ParsePosition([]byte(position)); err != nil {
			t.Fatalf("position %q", position)
		}
	}
	e := g.entries(out("direct:x"))
	p, err := stream.DecodePublication(e[0].Fields)
	if err != nil || p.Channel != "direct:x" || p.ID != "key" || p.At == 0 || !p.Binary {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestBackendGetsEverythingItNeeds(t *testing.T) {
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	c.ask("pub 7 echo:x key-1\nhello", "ok 7")
	e := g.event("echo:x", 1)
	if e.At == 0 || time.Since(time.UnixMilli(e.At)) > time.Minute {
		t.Errorf("at %d", e.At)
	}
	e.At = 0
	want := stream.Event{Kind: stream.KindPub, Channel: "echo:x", Node: g.Node(), Conn: c.session(), User: "anonymous", Ref: "7", ID: "key-1", Data: "hello"}
	if e != want {
		t.Errorf("got  %+v\nwant %+v", e, want)
	}
	c.write("req 8 echo:x\nquestion")
	if e := g.event("echo:x", 2); e.Kind != stream.KindReq || e.Ref != "8" || e.ID != "" {
		t.Errorf("%+v", e)
	}
	node := stream.Keys{}.Node(g.Node())
	g.add(node, "kind", "res", "conn", c.session(), "ref", "8", "data", "answer")
	if f := c.want("res 8"); string(f.Body) != "answer" || f.Binary {
		t.Errorf("%+v", f)
	}
	c.write("req 9 echo:x")
	g.event("echo:x", 3)
	g.add(node, "kind", "err", "conn", c.session(), "ref", "9", "code", 409, "data", "two\nlines")
	c.want("err 9 409 two lines")
	g.add(node, "kind", "res", "conn", c.session(), "ref", "9", "data", "late: must not arrive")
	g.add(node, "kind", "nonsense")
	g.add(node, "kind", "msg", "conn", c.session(), "data", "\xff", "ch", "echo:x")
	if f := c.want("msg echo:x -"); !f.Binary {
		t.Error("bytes that are not UTF-8 went out as text")
	}
	g.add(node, "kind", "msg", "conn", c.session(), "data", "hi")
	c.want("msg $conn -")
	g.add(node, "kind", "close", "conn", c.session(), "data", "go away")
	if bye := c.wantClosed(4102); bye == nil || bye.Code != 4102 || bye.Text != "go away" {
		t.Errorf("%+v", bye)
	}
}

func TestSubscribeUnsubscribe(t *testing.T) {
	g := newTestGateway(t, Config{MaxSubscriptions: 3})
	c, other := g.connect(client.Options{}), g.connect(client.Options{})
	other.ask("sub 1 direct:x", "ok 1")
	c.ask("sub 1 direct:x", "ok 1")
	c.ask("sub 2 direct:x", "err 2 409")
	c.ask("unsub 3 direct:x", "ok 3")
	c.ask("unsub 4 direct:x", "err 4 404")
	g.add(out("direct:x"), "ch", "direct:x", "data", "only the other hears this")
	other.want("msg direct:x")
	c.write("sub - direct:x")
	c.ask("ping 5", "pong 5")
	c.ask("sub 6 direct:a", "ok 6")
	c.ask("sub 7 direct:b", "ok 7")
	c.ask("sub 8 direct:c", "err 8 403")
	g.add(out("direct:x"), "ch", "direct:x", "data", "heard")
	if f := c.want("msg direct:x"); string(f.Body) != "heard" {
		t.Fatalf("%q", f.Body)
	}
}

func TestSkipRevokeKick(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret})
	ann := g.connect(client.Options{Token: token(t, "ann", time.Hour, everything)})
	bob := g.connect(client.Options{Token: token(t, "bob", time.Hour, everything)})
	for _, c := range []*testConn{ann, bob} {
		c.ask("sub 1 echo:x", "ok 1")
	}
	g.add(out("echo:x"), "ch", "echo:x", "data", "1", "skip", ann.session())
	g.add(out("echo:x"), "ch", "echo:x", "data", "2")
	if f := ann.want("msg echo:x"); string(f.Body) != "2" {
		t.Fatalf("ann got %q", f.Body)
	}
	bob.want("msg echo:x")
	bob.want("msg echo:x")
	g.add(out("echo:x"), "kind", "revoke", "ch", "echo:x", "user", "ann")
	ann.want("revoke echo:x 403")
	g.add(out("echo:x"), "ch", "echo:x", "data", "3")
	bob.want("msg echo:x")
	ann.ask("ping 2", "pong 2")
	g.add(out("echo:x"), "kind", "kick", "user", "bob", "data", "enough")
	if bye := bob.wantClosed(4102); bye == nil || bye.Text != "enough" {
		t.Fatalf("%+v", bye)
	}
	ann.ask("ping 3", "pong 3")
}

func TestRequestTimesOut(t *testing.T) {
	g := newTestGateway(t, Config{RequestTimeout: time.Second, MaxRequests: 2})
	c := g.connect(client.Options{})
	c.write("req 1 echo:x")
	c.ask("req 1 echo:x", "err 1 409")
	c.write("req 2 echo:x")
	c.ask("req 3 echo:x", "err 3 429 retry_ms=1000")
	c.want("err 1 408")
	c.want("err 2 408")
	c.write("req 3 echo:x")
	c.ask("ping 4", "pong 4")
}

func TestNamespaces(t *testing.T) {
	g := newTestGateway(t, Config{Namespaces: map[string]Namespace{
		"news": {Publish: "deny"}, "small": {Publish: "direct", MaxBody: 3}, "lobby": {Publish: "direct"},
	}})
	c := g.connect(client.Options{})
	c.ask("sub 1 news:x", "ok 1")
	c.ask("pub 2 news:x\nhi", "err 2 403")
	c.ask("req 3 news:x\nhi", "err 3 403")
	c.ask("pub 4 small:x\nabcd", "err 4 413")
	c.ask("pub 5 small:x\nabc", "ok 5")
	c.ask("sub 6 other:x", "err 6 403")
	c.ask("sub 7 lobby", "ok 7")
	c.ask("who 8 lobby", "err 8 404")
	c.ask("sub 9 small:x - presence", "err 9 404")
}

func TestMetricsAndHealth(t *testing.T) {
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	c.ask("sub 1 direct:x", "ok 1")
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/debug/gc": "heap in use", "/debug/pprof/goroutine?debug=1": "goroutine profile"} {
		if code, body := g.get(path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.80q", path, code, body)
		}
	}
	eventually(t, "the metrics show the connection", func() bool {
		_, body := g.get("/metrics")
		return strings.Contains(body, "\nmillrace_connections 1\n") && strings.Contains(body, `millrace_commands_total{verb="sub"} 1`) &&
			strings.Contains(body, "go_goroutines")
	})
	res, err := http.Get("http://" + g.Addr().String() + "/")
	if err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("plain HTTP on the port: %v, %v", res, err)
	}
	_ = res.Body.Close()
	res, err = http.Get("http://" + g.Addr().String() + "/ws")
	if err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("plain HTTP at /ws: %v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestStopSaysBye(t *testing.T) {
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	c.ask("pub 1 echo:x\nlast words", "ok 1")
	g.stop()
	bye := c.wantClosed(4000)
	if bye == nil || bye.Code != 4000 {
		t.Fatalf("%+v", bye)
	}
	g.wantStopped()
	if n := len(g.events("echo:x")); n != 1 {
		t.Fatalf("%d events", n)
	}
}

func TestCannotStart(t *testing.T) {
	server := redistest.Start(t)
	f := func(cfg Config, want ...string) {
		t.Helper()
		cfg.Listen, cfg.Admin = "127.0.0.1:0", "127.0.0.1:0"
		g, err := New(cfg)
		if err == nil {
			err = g.Run(t.Context())
		}
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Fatalf("%v, want %q in it", err, w)
			}
		}
	}
	f(Config{Redis: "redis://127.0.0.1:1/0", RedisWait: 300 * time.Millisecond}, "127.0.0.1:1", "refused", "--redis")
	f(Config{Redis: "http://x"}, "redis address")
	newTestGatewayOn(t, server, Config{})
	f(Config{Redis: server.URL(), Partitions: 32}, "64", "32")
	f(Config{Auth: "jwt"}, "--jwt-secret")
	f(Config{Auth: "magic", Loops: 99}, "magic", "99")
}
