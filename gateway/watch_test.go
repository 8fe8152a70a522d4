package gateway

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/redistest"
)

func TestOutage(t *testing.T) {
	var o outage
	now := time.Unix(0, 0)
	f := func(after time.Duration, up bool, wantLost, wantBack bool) {
		t.Helper()
		now = now.Add(after)
		if lost, back := o.step(now, up, 5*time.Second); lost != wantLost || back != wantBack {
			t.Errorf("at %v: lost %v, back %v", now.Sub(time.Unix(0, 0)), lost, back)
		}
	}
	f(0, true, false, false)
	f(time.Hour, false, false, false)
	f(4*time.Second, false, false, false)
	f(0, true, false, false) // a stumble
	f(time.Second, false, false, false)
	f(5*time.Second-1, false, false, false)
	f(1, false, true, false)
	f(time.Hour, false, false, false) // told once
	f(time.Second, true, false, true)
	f(time.Second, true, false, false)
	f(time.Second, false, false, false)
}

// A gateway without Redis keeps its connections for a while, then sends them away and takes none until Redis is back.
func TestLostStreams(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	const limit = 5 * time.Second
	g := newTestGatewayOn(t, server, Config{LostAfter: limit, AcceptRate: 5, DrainTimeout: 2 * time.Second})
	c := g.connect(client.Options{})
	rest := g.connectMany(10)
	eventually(t, "Redis is there", func() bool { return g.Ready() == nil })
	killed := time.Now()
	server.Kill()
	eventually(t, "it has noticed", func() bool { return g.Ready() != nil })
	c.ask("pub 1 direct:x\nx", "err 1 503")
	g.connect(client.Options{}).ask("ping 2", "pong 2") // still taken in
	arrivals, _ := wantPartings(t, partings(append(rest, c)), len(rest)+1, protocol.CloseStreamLost)
	// A machine that stalls shows Redis as down shortly before the kill, too; TestOutage has the exact limit.
	if first := arrivals[0].Sub(killed); first < limit/2 {
		t.Errorf("somebody was sent away %v after Redis was gone", first)
	}
	if span := arrivals[len(arrivals)-1].Sub(arrivals[0]); span < time.Second {
		t.Errorf("%d arrive within %v, at 5 a second", len(arrivals), span)
	}
	_, err := client.DialRaw(t.Context(), g.url(), client.Options{})
	if refused, ok := errors.AsType[*client.Refused](err); !ok || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("a handshake while the streams are lost: %v", err)
	}
	server.Restart()
	eventually(t, "connections are taken in again", func() bool {
		raw, err := client.DialRaw(t.Context(), g.url(), client.Options{})
		if err == nil {
			raw.Abort()
		}
		return err == nil
	})
	g.connect(client.Options{}).ask("pub 1 direct:x\nx", "ok 1")
}
