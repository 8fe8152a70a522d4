package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/client"
)

// One compression a publication, however many connections, loops and gateways' clients take it; none for those that need none.
func TestOneCompressionForAll(t *testing.T) {
	off := false
	g := newTestGateway(t, Config{Loops: 2, Compression: true, Namespaces: map[string]Namespace{
		"direct": {Publish: "direct"}, "plain": {Publish: "direct", Compress: &off},
	}})
	var taking, plain []*testConn
	for i := range 20 {
		c := g.connect(client.Options{Compress: i%4 > 0})
		c.ask("sub 1 direct:x", "ok 1")
		c.ask("sub 2 plain:x", "ok 2")
		if i%4 > 0 {
			taking = append(taking, c)
		} else {
			plain = append(plain, c)
		}
	}
	quiet := g.connect(client.Options{})
	quiet.ask("sub 1 direct:quiet", "ok 1")
	body := strings.Repeat("of all that is published ", 100)
	everyone := append(append([]*testConn(nil), taking...), plain...)
	publish := func(channel, body string, to []*testConn) {
		t.Helper()
		to[0].write("pub - " + channel + "\n" + body)
		for _, c := range to {
			if f := c.want("msg " + channel); string(f.Body) != body {
				t.Fatalf("%q", f.Body)
			}
		}
	}
	counted := func(n int) {
		t.Helper()
		if made := int(g.relay.Stats().Packed); made != n {
			t.Fatalf("%d compressions, want %d", made, n)
		}
	}
	for i := range 10 {
		publish("direct:x", fmt.Sprint(i, body), everyone)
		counted(i + 1)
	}
	publish("direct:x", "short", everyone)
	publish("plain:x", body, everyone)
	publish("direct:quiet", body, []*testConn{quiet})
	counted(10)
	s := g.relay.Stats()
	if s.PackedFrom < 10*2500 || s.PackedTo*10 > s.PackedFrom {
		t.Errorf("%d bytes became %d", s.PackedFrom, s.PackedTo)
	}

	// Who resumes gets the form that is there, and has none made.
	hello := taking[0].ask("sub 3 direct:quiet", "ok 3")
	quiet.write("pub - direct:quiet\n" + body)
	taking[0].want("msg direct:quiet")
	quiet.want("msg direct:quiet")
	counted(11)
	late := g.connect(client.Options{Compress: true})
	late.ask("sub 1 direct:quiet "+strings.Fields(hello.Head)[2], "ok 1")
	if f := late.want("msg direct:quiet"); string(f.Body) != body {
		t.Fatalf("%q", f.Body)
	}
	counted(11)
	eventually(t, "the metrics show it", func() bool {
		_, m := g.get("/metrics")
		return strings.Contains(m, "\nmillrace_compressions_total 11\n") && strings.Contains(m, "\nmillrace_connections_compressed 16\n")
	})
	late.write("ping 7\n" + body) // what clients send may be compressed, too
	late.want("pong 7")
}

func TestCompressionSettings(t *testing.T) {
	for key, cfg := range map[string]Config{
		"compression_level":     {CompressionLevel: 10},
		"compression_threshold": {CompressionThreshold: -1},
		"origins":               {Origins: []string{"app.example"}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	var cfg Config
	if err := ParseConfig([]byte("origins: [https://app.example]\ncompression: true\ncompression_level: 6\ncompression_threshold: 100\nnamespaces:\n  a: {compress: false}\n  b: {}\n"), &cfg); err != nil {
		t.Fatal(err)
	}
	c := cfg.compression()
	if c.Level != 6 || c.Threshold != 100 || c.Wanted("a:x") || c.Wanted("a") || !c.Wanted("b:x") || len(cfg.Origins) != 1 {
		t.Errorf("%+v", cfg)
	}
	if cfg.Compression = false; cfg.compression().Level != 0 {
		t.Error("it is not off")
	}
}
