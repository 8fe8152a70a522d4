package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

func (g *testGateway) post(path, body string) (status int, answer string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "http://"+g.Admin().String()+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// A kick reaches every connection of its user on every gateway, however it is written: to the user's partition, as our worker and /api/kick do, to any one, or
// to all; and whether or not there is a subscription.
func TestKickReachesEveryGateway(t *testing.T) {
	server := redistest.Start(t)
	one := newTestGatewayOn(t, server, Config{Auth: "jwt", JWTSecret: testSecret})
	two := newTestGatewayOn(t, server, Config{Auth: "jwt", JWTSecret: testSecret})
	ann := client.Options{Token: token(t, "ann", time.Hour, everything)}
	bob := one.connect(client.Options{Token: token(t, "bob", time.Hour, everything)})
	bob.ask("sub 1 echo:x", "ok 1") // one partition is read by a lane
	kick := func(p int) { one.add(stream.Keys{}.Out(p), "kind", "kick", "user", "ann", "data", "enough") }
	for name, write := range map[string]func(){
		"the user's partition": func() { kick(stream.Partition("ann", stream.DefaultPartitions)) },
		"one that is read":     func() { kick(stream.Partition("echo:x", stream.DefaultPartitions)) },
		"any one":              func() { kick(3) },
		"all": func() {
			for p := range stream.DefaultPartitions {
				kick(p)
			}
		},
		"/api/kick": func() {
			if status, answer := two.post("/api/kick", `{"user":"ann","text":"enough"}`); status != 200 || !strings.Contains(answer, `"entry"`) {
				t.Fatalf("%d %s", status, answer)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := one.connect(ann), two.connect(ann)
			start := time.Now()
			write()
			for _, c := range []*testConn{a, b} {
				c.want("bye 4102 0")
			}
			took := time.Since(start)
			for _, c := range []*testConn{a, b} {
				if bye := c.wantClosed(4102); bye == nil || bye.Text != "enough" {
					t.Errorf("%+v", bye)
				}
			}
			t.Logf("both have heard it after %v", took.Round(100*time.Microsecond))
		})
	}
	bob.ask("ping 2", "pong 2")
	eventually(t, "the kicks are counted", func() bool { return one.routers[0].Stats().Kicked >= 5 })
}

// What was granted is forgotten with a revoke, also by gateways that do not read the partition.
func TestRevokeEndsWhatWasGranted(t *testing.T) {
	server := redistest.Start(t)
	one := newTestGatewayOn(t, server, Config{Auth: "jwt", JWTSecret: testSecret, Namespaces: rooms()})
	two := newTestGatewayOn(t, server, Config{Auth: "jwt", JWTSecret: testSecret, Namespaces: rooms()})
	ann := client.Options{Token: token(t, "ann", time.Hour)}
	n := 0
	grant := func(g *testGateway, c *testConn) {
		t.Helper()
		c.write("sub 1 room:a")
		n++
		e := g.event("room:a", n)
		g.answer("kind", "grant", "conn", e.Conn, "ref", "1", "data", `{"ttl_ms":60000}`)
		c.want("ok 1")
	}
	a, b := one.connect(ann), two.connect(ann)
	grant(one, a)
	grant(two, b)
	b.ask("unsub 2 room:a", "ok 2")
	b.ask("sub 3 room:a", "ok 3") // remembered
	b.ask("unsub 4 room:a", "ok 4")
	if status, answer := two.post("/api/revoke", `{"user":"ann","channel":"room:a"}`); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	a.want("revoke room:a 403")
	eventually(t, "both have forgotten it", func() bool {
		return one.routers[0].Stats().Grants == 0 && two.routers[0].Stats().Grants == 0
	})
	grant(two, b) // asked anew
	grant(one, a)
	if status, _ := one.post("/api/kick", `{"user":"ann"}`); status != 200 {
		t.Fatal(status)
	}
	a.wantClosed(4102)
	b.wantClosed(4102)
	c := two.connect(ann)
	grant(two, c) // a kick, too, ends what was granted
}

func TestOrdersThatAreNone(t *testing.T) {
	g := newTestGateway(t, Config{})
	for _, c := range []struct {
		path, body, want string
		status           int
	}{
		{"/api/kick", `{}`, "user", 400},
		{"/api/kick", `{"user":"a b"}`, "without spaces", 400},
		{"/api/kick", `{"user":"` + strings.Repeat("a", 257) + `"}`, "256", 400},
		{"/api/kick", `{"user":"a","channel":"b"}`, "/api/revoke", 400},
		{"/api/kick", `{"user":"a","user_id":"b"}`, "user_id", 400},
		{"/api/kick", `{"user":"a"} {"user":"b"}`, "behind", 400},
		{"/api/kick", `user=a`, "invalid character", 400},
		{"/api/kick", `{"user":"a","text":"` + strings.Repeat("a", 513) + `"}`, "512", 400},
		{"/api/kick", strings.Repeat(" ", 5000), "too large", 400},
		{"/api/revoke", `{"user":"a"}`, "channel", 400},
		{"/api/revoke", `{"user":"a","channel":"$x"}`, "system", 400},
		{"/api/revoke", `{"user":"a","channel":"a:b"}`, "entry", 200},
	} {
		if status, answer := g.post(c.path, c.body); status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s %.40s: %d %s", c.path, c.body, status, answer)
		}
	}
	for header, status := range map[string]int{"": 415, "Content-Type: text/plain": 415, "Origin: http://evil": 403} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.Admin().String()+"/api/kick", strings.NewReader(`{"user":"a"}`))
		if name, value, ok := strings.Cut(header, ": "); ok {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != status {
			t.Errorf("%s: %v %v", header, res.Status, err)
		}
	}
	res, err := http.Get(fmt.Sprintf("http://%s/api/kick", g.Admin()))
	if err != nil || res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %v %v", res.Status, err)
	}
	g.server.Kill()
	eventually(t, "Redis is gone", func() bool { return g.Ready() != nil })
	if status, answer := g.post("/api/kick", `{"user":"a"}`); status != 503 {
		t.Errorf("without Redis: %d %s", status, answer)
	}
}

// In a Cluster one command cannot wait for all partitions: the others are looked at ten times a second.
func TestKickInACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0)
	ctx, stop := context.WithCancel(t.Context())
	g, err := New(Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Redis: cluster.URL(), Auth: "jwt", JWTSecret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- g.Run(ctx) }()
	defer func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the gateway is ready", func() bool { return g.Ready() == nil })
	tg := &testGateway{Gateway: g, t: t}
	var worst time.Duration
	for n := range 10 {
		user := fmt.Sprint("u", n)
		c := tg.connect(client.Options{Token: token(t, user, time.Hour, everything)})
		start := time.Now()
		if status, answer := tg.post("/api/kick", `{"user":"`+user+`"}`); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		c.want("bye 4102 0")
		worst = max(worst, time.Since(start))
		c.Abort()
	}
	t.Logf("the slowest of 10 kicks took %v", worst.Round(time.Millisecond))
}
