package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
)

// answer writes to the node's stream, as a backend does that knows STREAMS.md alone.
func (g *testGateway) answer(values ...any) {
	g.t.Helper()
	g.add(stream.Keys{}.Node(g.Node()), values...)
}

// opened is a connection of which hello has not been read.
func (g *testGateway) opened(opts client.Options) *testConn {
	g.t.Helper()
	raw, err := client.DialRaw(g.t.Context(), g.url(), opts)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(raw.Abort)
	return &testConn{t: g.t, Raw: raw}
}

// openEvent waits for the n-th event of all partitions that has no channel.
func (g *testGateway) openEvent(n int) (e stream.Event) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%d events without a channel", n), func() bool {
		var found []stream.Event
		var ranges []stream.Range
		for p := range stream.DefaultPartitions {
			ranges = append(ranges, stream.Range{Key: stream.Keys{}.In(p), To: stream.Last, Count: 100})
		}
		all, err := g.streams.Ranges(g.t.Context(), ranges)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, entries := range all {
			for _, entry := range entries {
				if e, err := stream.DecodeEvent(entry.Fields); err == nil && e.Channel == "" {
					found = append(found, e)
				}
			}
		}
		if len(found) >= n {
			e = found[len(found)-1]
			for _, other := range found {
				if other.At > e.At {
					e = other
				}
			}
		}
		return len(found) >= n
	})
	return e
}

func rooms(notify ...string) map[string]Namespace {
	return map[string]Namespace{"room": {Authorize: "backend", Notify: notify}, "echo": {Authorize: "anyone"}}
}

func TestSubscribingIsAskedOfTheBackend(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret, RequestTimeout: 2 * time.Second, Namespaces: rooms()})
	ann := g.connect(client.Options{Token: token(t, "ann", time.Hour)})
	ann.write("sub 7 room:a")
	e := g.event("room:a", 1)
	if e.Kind != stream.KindSub || e.User != "ann" || e.Ref != "7" || e.Conn != ann.session() || e.Node != g.Node() {
		t.Fatalf("%+v", e)
	}
	ann.ask("sub 8 room:a", "err 8 409") // a second one while the first waits
	ann.ask("req 7 echo:x", "err 7 409") // the REF is in use
	ann.ask("ping 9", "pong 9")          // nothing else waits
	g.answer("kind", "res", "conn", e.Conn, "ref", "7", "data", "no answer to a sub")
	g.answer("kind", "grant", "conn", e.Conn, "ref", "7", "data", `{"ttl_ms":60000}`)
	ann.want("ok 7")
	g.answer("kind", "grant", "conn", e.Conn, "ref", "7") // twice
	g.add(out("room:a"), "ch", "room:a", "data", "hi")
	ann.want("msg room:a")
	ann.ask("unsub 10 room:a", "ok 10")
	ann.ask("sub 11 room:a", "ok 11") // remembered
	again := g.connect(client.Options{Token: token(t, "ann", time.Hour)})
	again.ask("sub 1 room:a", "ok 1") // for the user
	ann.ask("auth 12 "+token(t, "ann", time.Hour), "ok 12")
	ann.ask("ping 13", "pong 13") // no revoke: the token says nothing about it

	bob := g.connect(client.Options{Token: token(t, "bob", time.Hour, everything)})
	bob.write("sub 1 room:a")
	e = g.event("room:a", 2)
	g.answer("kind", "err", "conn", e.Conn, "ref", "1", "code", "403", "data", "members only")
	if f := bob.want("err 1 403"); f.Head != "err 1 403 members only" {
		t.Fatalf("%q", f.Head)
	}
	bob.write("sub 2 room:a") // a no is not remembered
	e = g.event("room:a", 3)
	g.answer("kind", "err", "conn", e.Conn, "ref", "2")
	bob.want("err 2 403")
	bob.write("sub 3 room:a")
	bob.want("err 3 408") // nobody answers
	g.answer("kind", "grant", "conn", e.Conn, "ref", "3")
	bob.ask("unsub 4 room:a", "err 4 404") // a yes that comes too late is none

	bob.write("sub - room:a")
	e = g.event("room:a", 5)
	if e.Ref != "9007199254740993" {
		t.Fatalf("ref %q", e.Ref)
	}
	g.answer("kind", "grant", "conn", e.Conn, "ref", e.Ref)
	eventually(t, "bob is subscribed", func() bool {
		bob.write("sub 20 room:a")
		return bob.want("err 20").Head == "err 20 409 already subscribed"
	})
}

func TestUnsubAndCloseWhileTheBackendIsAsked(t *testing.T) {
	g := newTestGateway(t, Config{Namespaces: rooms("unsub"), MaxSubscriptions: 2, MaxRequests: 3, RequestTimeout: 2 * time.Second})
	c := g.connect(client.Options{})
	c.write("sub 1 room:a")
	e := g.event("room:a", 1)
	c.write("unsub 2 room:a")
	c.want("err 1 409")
	c.want("ok 2")
	if told := g.event("room:a", 2); told.Kind != stream.KindUnsub || told.Ref != "-" {
		t.Fatalf("%+v", told)
	}
	g.answer("kind", "grant", "conn", e.Conn, "ref", "1", "data", `{"ttl_ms":60000}`)
	c.ask("unsub 3 room:a", "err 3 404")
	c.write("sub 4 room:a")
	c.write("sub 5 room:b")
	c.ask("sub 6 room:c", "err 6 403") // what waits counts
	other := g.connect(client.Options{})
	other.write("sub 1 room:d")
	e = g.event("room:d", 1)
	other.Abort()
	eventually(t, "the connection is gone", func() bool { return g.routers[0].Stats().Connections == 1 })
	g.answer("kind", "grant", "conn", e.Conn, "ref", "1")
	c.want("err 4 408")
	c.want("err 5 408")
	c.ask("sub 7 echo:x", "ok 7")
	c.ask("sub 8 echo:y", "ok 8") // they do not count any more
	eventually(t, "nothing waits", func() bool { s := g.routers[0].Stats(); return s.Asking == 0 && s.Requests == 0 })
}

func TestConnectingIsAskedOfTheBackend(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret, RequestTimeout: 2 * time.Second, Authorize: "backend"})
	opts := client.Options{Token: token(t, "ann", time.Hour, everything)}
	c := g.opened(opts)
	c.write("sub 1 echo:x")
	c.write("ping 2")
	e := g.openEvent(1)
	if e.Kind != stream.KindOpen || e.User != "ann" || e.Ref != "9007199254740992" || e.Data != `{"remote":"127.0.0.1"}` {
		t.Fatalf("%+v", e)
	}
	g.answer("kind", "grant", "conn", e.Conn, "ref", e.Ref, "data", `{"ttl_ms":60000}`)
	if hello := c.want("hello"); !strings.HasPrefix(hello.Head, "hello "+e.Conn) {
		t.Fatalf("%q", hello.Head)
	}
	a, b := c.read().Head, c.read().Head // what had been sent meanwhile
	if a != "pong 2" {
		a, b = b, a
	}
	if a != "pong 2" || !strings.HasPrefix(b, "ok 1 ") {
		t.Fatalf("%q %q", a, b)
	}
	g.connect(opts).ask("ping 1", "pong 1") // remembered

	bob := g.opened(client.Options{Token: token(t, "bob", time.Hour)})
	e = g.openEvent(2)
	g.answer("kind", "err", "conn", e.Conn, "ref", e.Ref, "code", "403", "data", "not today")
	if bye := bob.wantClosed(4100); bye.Text != "not today" {
		t.Fatalf("%+v", bye)
	}
	eve := g.opened(client.Options{Token: token(t, "eve", time.Hour)})
	eve.write("pub 1 echo:x\nnever")
	if bye := eve.wantClosed(1011); bye == nil || bye.Delay == 0 { // nobody has answered
		t.Fatalf("%+v", bye)
	}
	if n := len(g.events("echo:x")); n != 0 {
		t.Fatalf("%d events of one that was never let in", n)
	}
}

func TestBackendIsTold(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret, Namespaces: map[string]Namespace{
		"room": {Notify: []string{"open", "close", "sub", "unsub", "auth"}}, "echo": {},
	}})
	c := g.connect(client.Options{Token: token(t, "ann", time.Hour, everything)})
	c.ask("sub 1 room:a", "ok 1")
	c.ask("sub 2 echo:a", "ok 2")
	c.ask("unsub 3 room:a", "ok 3")
	c.ask("sub 4 room:a", "ok 4")
	c.ask("auth 5 "+token(t, "ann", time.Hour, everything), "ok 5")
	session := c.session()
	c.Abort()
	var kinds []string
	eventually(t, "all is told", func() bool {
		kinds = nil
		for _, e := range g.events("room:a") {
			kinds = append(kinds, string(e.Kind)+e.Ref)
		}
		for _, e := range g.entries(stream.Keys{}.In(stream.Partition(session, stream.DefaultPartitions))) {
			if e, _ := stream.DecodeEvent(e.Fields); e.Conn == session && e.Channel == "" {
				kinds = append(kinds, string(e.Kind)+e.Ref)
			}
		}
		return len(kinds) >= 7
	})
	if got := strings.Join(kinds, " "); got != "sub- unsub- sub- unsub- open- auth- close-" {
		t.Fatal(got)
	}
	if n := len(g.events("echo:a")); n != 0 {
		t.Fatalf("%d events of a namespace that asks for none", n)
	}
}

// Where the backend decides about subscriptions and clients publish directly, who is not subscribed may not.
func TestOnlySubscribersPublishDirectly(t *testing.T) {
	g := newTestGateway(t, Config{Namespaces: map[string]Namespace{"room": {Authorize: "backend", Publish: "direct"}}})
	c := g.connect(client.Options{})
	c.ask("pub 1 room:a\nx", "err 1 403")
	c.write("sub 2 room:a")
	e := g.event("room:a", 1)
	c.ask("pub 3 room:a\nx", "err 3 403") // not yet
	g.answer("kind", "grant", "conn", e.Conn, "ref", "2")
	c.want("ok 2")
	c.write("pub 4 room:a\nx")
	if a, b := c.read().Head, c.read().Head; !strings.HasPrefix(a+b, "ok 4msg room:a ") && !strings.HasPrefix(b+a, "ok 4msg room:a ") {
		t.Fatalf("%q %q", a, b)
	}
	g.add(out("room:a"), "kind", "revoke", "user", "anonymous", "ch", "room:a")
	c.want("revoke room:a 403")
	c.ask("pub 5 room:a\nx", "err 5 403")
}

// A yes that was asked for before a revoke, and comes behind it, counts for nothing, and is not remembered.
func TestRevokeWhileTheBackendIsAsked(t *testing.T) {
	g := newTestGateway(t, Config{Loops: 1, RequestTimeout: time.Minute, Namespaces: rooms()})
	witness := g.connect(client.Options{})
	witness.write("sub 1 room:a")
	g.answer("kind", "grant", "conn", g.event("room:a", 1).Conn, "ref", "1")
	witness.want("ok 1")
	c := g.connect(client.Options{})
	c.write("sub 1 room:a")
	e := g.event("room:a", 2)
	g.add(out("room:a"), "kind", "revoke", "user", "anonymous", "ch", "room:a")
	witness.want("revoke room:a 403") // so c's loop has heard of it
	g.answer("kind", "grant", "conn", e.Conn, "ref", "1", "data", `{"ttl_ms":60000}`)
	c.want("err 1 503")
	c.write("sub 2 room:a")
	e = g.event("room:a", 3) // asked again
	g.answer("kind", "grant", "conn", e.Conn, "ref", "2")
	c.want("ok 2")
}
