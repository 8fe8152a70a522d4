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

// Redis dies and comes back: publications are refused meanwhile, connections stay, and whoever is subscribed gets what is
// published afterwards, with nothing missing of what was stored before.
func TestRedisDiesAndComesBack(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	g := newTestGatewayOn(t, server, Config{RequestTimeout: time.Second})
	c := g.connect(client.Options{})
	c.ask("sub 1 direct:x", "ok 1")
	c.write("pub 9 direct:x\nbefore")
	for range 2 { // both, in any order: without ok the kill could come before it
		if f := c.read(); f.Verb() != "ok" && string(f.Body) != "before" {
			t.Fatalf("%+v", f)
		}
	}

	server.Kill()
	eventually(t, "the gateway is not ready", func() bool { code, _ := g.get("/readyz"); return code == 503 })
	c.ask("pub 2 direct:x\nmeanwhile", "err 2 503")
	c.ask("req 3 echo:x\nmeanwhile", "err 3 503")
	c.ask("sub 4 direct:some-other-partition", "err 4 503")
	c.ask("ping 5", "pong 5")
	if code, _ := g.get("/healthz"); code != 200 {
		t.Errorf("healthz says %d: a gateway that waits for Redis must not be restarted", code)
	}

	server.Restart()
	g.add(out("direct:x"), "ch", "direct:x", "data", "while the gateway had not noticed")
	eventually(t, "the gateway is ready", func() bool { return g.Ready() == nil })
	if f := c.want("msg direct:x"); string(f.Body) != "while the gateway had not noticed" {
		t.Fatalf("%q", f.Body)
	}
	c.write("pub 6 direct:x\nafter")
	seen := map[string]bool{}
	for range 2 {
		f := c.read()
		seen[f.Verb()+string(f.Body)] = true
	}
	if !seen["ok"] || !seen["msgafter"] {
		t.Fatalf("%v", seen)
	}
	c.ask("sub 7 direct:some-other-partition", "ok 7")
	c.write("req 8 echo:x\nagain")
	c.want("err 8 408") // no backend here
}

// A Redis that was replaced by an empty one, or one of another installation.
func TestRedisIsAnotherOne(t *testing.T) {
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	c.ask("sub 1 direct:x", "ok 1")
	g.server.Kill()
	g.server.Restart() // kept nothing
	eventually(t, "the gateway is ready", func() bool { return g.Ready() == nil })
	c.want("gap direct:x")
	c.write("pub - direct:x\nto the empty one")
	c.want("msg direct:x")

	persistent := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	g = newTestGatewayOn(t, persistent, Config{})
	persistent.CLI("HSET", "millrace:meta", "partitions", "32")
	persistent.Kill()
	persistent.Restart()
	eventually(t, "the gateway says why it is not ready", func() bool {
		_, body := g.get("/readyz")
		return strings.Contains(body, "32 partitions")
	})
}

// Redis stands still: who publishes is not read any more once the ring is full, and nothing that was taken is lost.
func TestRedisStandsStill(t *testing.T) {
	g := newTestGateway(t, Config{RingBytes: 64 << 10})
	quiet := g.connect(client.Options{})
	quiet.ask("sub 1 direct:x", "ok 1")
	g.server.Pause()
	const pubs, size = 400, 1000
	c := g.connect(client.Options{})
	written := make(chan error, 1)
	go func() {
		for i := range pubs {
			if err := c.Write(t.Context(), false, fmt.Appendf(nil, "pub %d direct:x\n%s", i+1, strings.Repeat("x", size))); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	eventually(t, "the ring is full and the connection paused", func() bool {
		_, body := g.get("/metrics")
		return strings.Contains(body, "\nmillrace_connections_paused 1\n")
	})
	if size := g.relay.Stats().RingBytes; size > 64<<10+2*size {
		t.Errorf("the ring holds %d bytes", size)
	}
	quiet.ask("ping 2", "pong 2") // nobody else notices
	g.server.Continue()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	for i := range pubs {
		c.want(fmt.Sprintf("ok %d", i+1))
	}
	for range pubs {
		quiet.want("msg direct:x")
	}
}

// Somebody empties Redis under a running gateway: its node's stream is there again before long, else no backend could answer.
func TestNodeStreamComesBack(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{})
	node := stream.Keys{}.Node(g.Node())
	if n := g.server.CLI("EXISTS", node); n != "1" {
		t.Fatal("the node's stream is not there from the start")
	}
	g.server.CLI("FLUSHALL")
	eventually(t, "the node's stream is back", func() bool { return g.server.CLI("EXISTS", node) == "1" })
	eventually(t, "the node's stream expires when nobody keeps it", func() bool { return g.server.CLI("TTL", node) != "-1" })
}
