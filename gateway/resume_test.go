package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

// position is the POSITION in an answer to sub, a msg or a gap: always the third token.
func position(f client.Frame) string { return strings.Fields(f.Head)[2] }

// wantBodies reads publications of direct:x and returns the position behind the last.
func (c *testConn) wantBodies(bodies ...string) (at string) {
	c.t.Helper()
	for _, want := range bodies {
		f := c.want("msg direct:x")
		if string(f.Body) != want {
			c.t.Fatalf("got %q, want %q", f.Body, want)
		}
		at = position(f)
	}
	return at
}

func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func (g *testGateway) publish(bodies ...string) {
	for _, b := range bodies {
		g.add(out("direct:x"), "ch", "direct:x", "data", b)
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	start := position(c.ask("sub 1 direct:x", "ok 1"))
	other := g.connect(client.Options{})
	other.ask("sub 1 direct:x "+start, "ok 1 "+start) // nothing is missing
	other.ask("ping 2", "pong 2")
	g.publish(numbers(0, 10)...)
	third := c.wantBodies(numbers(0, 3)...)
	c.wantBodies(numbers(3, 10)...)

	late := g.connect(client.Options{})
	late.ask("sub 1 direct:x "+third, "ok 1 "+third)
	late.wantBodies(numbers(3, 10)...)
	first := g.connect(client.Options{})
	first.ask("sub 1 direct:x "+start, "ok 1 "+start)
	first.wantBodies(numbers(0, 10)...)
	g.publish("live")
	for _, c := range []*testConn{late, first} {
		c.wantBodies("live")
	}
}

// What the window does not hold any more comes from the stream, for a gateway that has been running and for a new one.
func TestResumeFromTheStream(t *testing.T) {
	t.Parallel()
	const n = 700 // several reads
	server := redistest.Start(t)
	g := newTestGatewayOn(t, server, Config{WindowBytes: 64 << 10})
	c := g.connect(client.Options{})
	c.ask("sub 1 direct:x", "ok 1")
	g.publish("first")
	at := c.wantBodies("first")
	g.publish(numbers(0, n)...)
	c.wantBodies(numbers(0, n)...)
	for _, on := range []*testGateway{g, newTestGatewayOn(t, server, Config{WindowBytes: 64 << 10}), newTestGatewayOn(t, server, Config{})} {
		late := on.connect(client.Options{})
		late.ask("sub 1 direct:x "+at, "ok 1 "+at)
		late.wantBodies(numbers(0, n)...)
		late.ask("ping 2", "pong 2")
	}
	if g.relay.Stats().Older == 0 {
		t.Error("nothing was read from the stream")
	}
}

// A client moves between gateways of which one may be ahead of the other.
func TestResumeOnAnotherGateway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	gateways := []*testGateway{newTestGatewayOn(t, server, Config{}), newTestGatewayOn(t, server, Config{Loops: 2})}
	for _, g := range gateways {
		for range 4 { // on each loop, so that all read before there is anything
			g.connect(client.Options{}).ask("sub 1 direct:x", "ok 1")
		}
	}
	c := gateways[0].connect(client.Options{})
	c.ask("sub 1 direct:x", "ok 1")
	for i := range 60 {
		gateways[0].publish(fmt.Sprint(i))
		at := c.wantBodies(fmt.Sprint(i))
		c.Abort()
		c = gateways[(i+1)%2].connect(client.Options{})
		c.ask("sub 1 direct:x "+at, "ok 1 "+at)
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	start := position(c.ask("sub 1 direct:x", "ok 1"))
	g.publish("1", "2")
	c.wantBodies("1", "2")
	late := g.connect(client.Options{})
	for i, bad := range []string{"nonsense", "0-0", "99999999999999-0.0", strings.Split(start, ".")[0] + ".abc", strings.Repeat("9", 64)} {
		channel := fmt.Sprintf("direct:%d", i)
		now := position(late.ask(fmt.Sprintf("sub %d %s %s", i+1, channel, bad), fmt.Sprintf("ok %d", i+1)))
		if gap := position(late.want("gap " + channel)); gap != now {
			t.Errorf("%s: ok at %s, gap at %s", bad, now, gap)
		}
	}
	// A position of the right epoch that nobody can have had, since it is ahead of all: live goes on, in the end.
	epoch := start[strings.IndexByte(start, '.'):]
	late.ask("sub 9 direct:x 99999999999999-0"+epoch, "ok 9")
	late.want("gap direct:x")
	g.publish("3")
	late.wantBodies("3")
}

// The stream is deleted, or flushed, under subscribers: all are told without doing anything, and live goes on.
func TestStreamLostUnderSubscribers(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{})
	a, b := g.connect(client.Options{}), g.connect(client.Options{})
	a.ask("sub 1 direct:x", "ok 1")
	b.ask("sub 1 direct:x", "ok 1")
	b.ask("sub 2 direct:other-partition", "ok 2")
	g.publish("1")
	old := a.wantBodies("1")
	b.wantBodies("1")
	for _, lose := range [][]string{{"DEL", out("direct:x")}, {"FLUSHALL"}} {
		g.server.CLI(lose...)
		a.want("gap direct:x")
		if f := b.read(); f.Verb() != "gap" {
			t.Fatalf("%+v", f)
		}
		if lose[0] == "FLUSHALL" {
			if f := b.read(); f.Verb() != "gap" {
				t.Fatalf("%+v", f)
			}
		}
		g.publish("2")
		a.wantBodies("2")
		b.wantBodies("2")
	}
	late := g.connect(client.Options{})
	late.ask("sub 1 direct:x "+old, "ok 1")
	late.want("gap direct:x")
}

// A restart of Redis that loses nothing is no gap for anybody.
func TestRestartIsNoGap(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	g := newTestGatewayOn(t, server, Config{})
	c := g.connect(client.Options{})
	c.ask("sub 1 direct:x", "ok 1")
	g.publish("1")
	at := c.wantBodies("1")
	server.Kill()
	server.Restart()
	g.publish("2")
	c.wantBodies("2")
	late := g.connect(client.Options{})
	eventually(t, "ready again", func() bool { return g.Ready() == nil })
	late.ask("sub 1 direct:x "+at, "ok 1 "+at)
	late.wantBodies("2")
}

// Nobody acknowledges what is in `in`: over the bound it is refused, and nothing is trimmed; direct goes on.
func TestBacklog(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{Backlog: 20})
	g.server.CLI("XGROUP", "CREATE", in("echo:x"), "backend", "0", "MKSTREAM")
	c := g.connect(client.Options{})
	for i := range 20 {
		c.ask(fmt.Sprintf("pub %d echo:x\nx", i+1), "ok")
	}
	eventually(t, "refused", func() bool {
		c.write("pub 99 echo:x\nx")
		return strings.HasPrefix(c.read().Head, "err 99 503")
	})
	c.ask("pub 100 direct:x\nx", "ok 100")
	stored := len(g.entries(in("echo:x")))
	if stored < 20 {
		t.Fatalf("%d entries", stored)
	}
	g.server.CLI("XREADGROUP", "GROUP", "backend", "b", "COUNT", "1000", "STREAMS", in("echo:x"), ">")
	for _, e := range g.entries(in("echo:x")) {
		g.server.CLI("XACK", in("echo:x"), "backend", e.ID.String())
	}
	eventually(t, "accepted again", func() bool {
		c.write("pub 101 echo:x\nx")
		return strings.HasPrefix(c.read().Head, "ok 101")
	})
}

// A subscriber that stops reading gets what its namespace says, and the others notice nothing.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	const size, n = 20_000, 200
	for policy, check := range map[string]func(t *testing.T, g *testGateway, slow *testConn, last string){
		"close":       func(_ *testing.T, _ *testGateway, slow *testConn, _ string) { slow.wantClosed(4001) },
		"drop-oldest": func(t *testing.T, _ *testGateway, slow *testConn, last string) { wantGapThen(t, slow, last, false) },
		"latest":      func(t *testing.T, _ *testGateway, slow *testConn, last string) { wantGapThen(t, slow, last, true) },
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			g := newTestGateway(t, Config{OutboxBytes: 300_000, Namespaces: map[string]Namespace{"direct": {Publish: "direct", Slow: policy}}})
			slow, quick := g.connect(client.Options{}), g.connect(client.Options{})
			slow.ask("sub 1 direct:x", "ok 1")
			quick.ask("sub 1 direct:x", "ok 1")
			last := ""
			for i := range n {
				last = fmt.Sprintf("%d %s", i, strings.Repeat("x", size))
				g.publish(last)
				quick.wantBodies(last)
			}
			check(t, g, slow, last)
			if used := g.budget.Used(); used > 400_000 {
				t.Errorf("%d bytes are held", used)
			}
			g.publish("after")
			quick.wantBodies("after")
			if policy != "close" {
				slow.wantBodies("after")
			}
		})
	}
}

// wantGapThen reads to last: in order, with a gap wherever something is missing, and only there.
func wantGapThen(t *testing.T, slow *testConn, last string, newestOnly bool) {
	t.Helper()
	next, gaps, behind := 0, 0, 0
	for {
		f := slow.read()
		if f.Verb() == "gap" {
			if _, err := stream.ParsePosition([]byte(position(f))); err != nil {
				t.Fatal(err)
			}
			gaps++
			behind = 0
			next = -1
			continue
		}
		var i int
		if _, err := fmt.Sscan(string(f.Body[:min(len(f.Body), 8)]), &i); err != nil {
			t.Fatal(err)
		}
		if next >= 0 && i != next {
			t.Fatalf("got %d, want %d", i, next)
		}
		next = i + 1
		if behind++; gaps > 0 && newestOnly && behind > 1 {
			t.Fatalf("%d publications behind the gap", behind)
		}
		if string(f.Body) == last {
			break
		}
	}
	if gaps == 0 {
		t.Error("no gap although not all of it fits")
	}
}

// The canary tells a Redis that answers from one that delivers.
func TestReadyFollowsTheCanary(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{})
	eventually(t, "a canary has come back", func() bool { return g.relay.Stats().Canary < 2*time.Second && g.Ready() == nil })
	g.server.CLI("ACL", "SETUSER", "default", "-xadd")
	eventually(t, "not ready", func() bool { return g.Ready() != nil })
	g.server.CLI("ACL", "SETUSER", "default", "+xadd")
	eventually(t, "ready", func() bool { return g.Ready() == nil })
}
