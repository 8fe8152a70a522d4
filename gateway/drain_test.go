package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

// parting is how a connection ended, as its client saw it.
type parting struct {
	bye *client.Bye
	at  time.Time // when bye was read
	err error     // how it ended, if not by a Close frame
}

// partings reads connections until they end; n of them come over the channel.
func partings(conns []*testConn) <-chan parting {
	out := make(chan parting, len(conns))
	for _, c := range conns {
		go func() {
			var p parting
			for {
				f, err := c.Read(context.Background())
				if f.Verb() == "bye" {
					p.at = time.Now()
				}
				var closed *client.Closed
				if errors.As(err, &closed) && closed.Bye != nil {
					p.bye = closed.Bye
				} else {
					p.err = err
				}
				if err != nil {
					out <- p
					return
				}
			}
		}()
	}
	return out
}

func (g *testGateway) connectMany(n int) []*testConn {
	g.t.Helper()
	conns := make([]*testConn, n)
	for i := range conns {
		conns[i] = g.connect(client.Options{})
	}
	return conns
}

// wantPartings collects n of them, each with that code, and returns when their clients are to arrive elsewhere.
func wantPartings(t *testing.T, from <-chan parting, n int, code protocol.Code) (arrivals []time.Time, delays []time.Duration) {
	t.Helper()
	for range n {
		var p parting
		select {
		case p = <-from:
		case <-time.After(40 * time.Second):
			t.Fatalf("%d of %d have ended", len(arrivals), n)
		}
		if p.bye == nil || p.bye.Code != int(code) {
			t.Fatalf("a connection ended with %+v and %v, want bye %d", p.bye, p.err, code)
		}
		arrivals = append(arrivals, p.at.Add(p.bye.Delay))
		delays = append(delays, p.bye.Delay)
	}
	slices.SortFunc(arrivals, time.Time.Compare)
	return arrivals, delays
}

// A drain sends its connections to the other gateway no faster than that takes them in, although it has to tell them faster.
func TestDrainKeepsThePaceOfTheOthers(t *testing.T) {
	const n, rate = 200, 80
	server := redistest.Start(t)
	g := newTestGatewayOn(t, server, Config{Loops: 2, AcceptRate: 1_000_000, DrainTimeout: 2 * time.Second})
	other := newTestGatewayOn(t, server, Config{AcceptRate: rate})
	conns := g.connectMany(n)
	eventually(t, "they know of each other", func() bool { return g.fleet.elsewhere() == rate && other.fleet.elsewhere() == 1_000_000 })
	ended := partings(conns)
	begun := time.Now()
	g.stop()
	eventually(t, "it says that it drains", func() bool {
		code, _ := g.get("/readyz")
		_, metrics := g.get("/metrics")
		return code == http.StatusServiceUnavailable && strings.Contains(metrics, "\nmillrace_draining 1\n")
	})
	eventually(t, "it takes no connection any more", func() bool {
		raw, err := client.DialRaw(t.Context(), g.url(), client.Options{})
		if err == nil {
			raw.Abort()
		}
		return err != nil
	})
	arrivals, delays := wantPartings(t, ended, n, protocol.CloseDrain)
	g.wantStopped()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the drain took %v, want about 1 s", took)
	}
	if span := arrivals[n-1].Sub(arrivals[0]); span < 2*time.Second {
		t.Errorf("%d arrive within %v, at %d a second", n, span, rate)
	}
	const most = rate * 3 / 2 // a second: the test's own readers may be late
	for i := most; i < n; i++ {
		if span := arrivals[i].Sub(arrivals[i-most]); span < time.Second {
			t.Fatalf("more than %d arrive within %v, at %d a second", most, span, rate)
		}
	}
	if longest := slices.Max(delays); longest < time.Second {
		t.Errorf("the longest delay is %v: the byes were not ahead of the arrivals", longest)
	}
	eventually(t, "the other one is alone", func() bool { return other.fleet.elsewhere() == rate && other.fleet.seen.Load().gateways == 0 })
	if names := server.CLI("HKEYS", stream.Keys{}.Gateways()); names != other.Node() {
		t.Errorf("the fleet is %q", names)
	}
}

// A few connections are no occasion to wait.
func TestDrainOfFewIsQuick(t *testing.T) {
	g := newTestGateway(t, Config{})
	ended := partings(g.connectMany(5))
	begun := time.Now()
	g.stop()
	_, delays := wantPartings(t, ended, 5, protocol.CloseDrain)
	g.wantStopped()
	if took, longest := time.Since(begun), slices.Max(delays); took > 15*time.Second || longest > 100*time.Millisecond {
		t.Errorf("took %v, longest delay %v", took, longest)
	}
}

func TestHurryEndsADrain(t *testing.T) {
	const n = 50
	g := newTestGateway(t, Config{AcceptRate: 1, DrainTimeout: time.Minute})
	ended := partings(g.connectMany(n))
	g.stop()
	eventually(t, "somebody has gone", func() bool { return len(ended) > 0 })
	if len(ended) == n {
		t.Fatal("there was no pace to end")
	}
	begun := time.Now()
	g.Hurry()
	g.Hurry()
	_, delays := wantPartings(t, ended, n, protocol.CloseDrain)
	g.wantStopped()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v, want well under a second", took)
	}
	if longest := slices.Max(delays); longest < 30*time.Second {
		t.Errorf("longest delay %v: in a hurry they still are not to arrive at once", longest)
	}
}

// With Redis standing still a gateway that is asked twice ends all the same.
func TestHurryDoesNotWaitForRedis(t *testing.T) {
	g := newTestGateway(t, Config{})
	c := g.connect(client.Options{})
	c.ask("pub 1 echo:x\nfirst", "ok 1")
	g.server.Pause()
	c.write("pub 2 echo:x\nnever acknowledged")
	eventually(t, "it is taken", func() bool { return g.relay.Stats().Ring > 0 })
	begun := time.Now()
	g.stop()
	g.Hurry()
	c.wantClosed(int(protocol.CloseDrain))
	g.wantStopped()
	if took := time.Since(begun); took > 4*time.Second { // Redis would be waited for for 5 s
		t.Errorf("took %v", took)
	}
	g.server.Continue()
}

// Publishers go on until they are told bye: what was acknowledged to them is in the stream.
func TestDrainLosesNothingAcknowledged(t *testing.T) {
	const publishers = 20
	g := newTestGateway(t, Config{Loops: 2, AcceptRate: publishers, DrainTimeout: 2 * time.Second})
	acked := make([]map[string]bool, publishers)
	var wg sync.WaitGroup
	for i := range publishers {
		c := g.connect(client.Options{})
		acked[i] = map[string]bool{}
		done := make(chan struct{})
		wg.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for n := 1; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if c.Write(context.Background(), false, fmt.Appendf(nil, "pub %d echo:%d %d\nx", n, i, n)) != nil {
					return
				}
				if n%3 == 0 { // the others come together
					<-tick.C
				}
			}
		})
		wg.Go(func() {
			defer close(done)
			for {
				f, err := c.Read(context.Background())
				if err != nil {
					return
				}
				if ref, ok := strings.CutPrefix(f.Head, "ok "); ok {
					acked[i][ref] = true
				}
			}
		})
	}
	eventually(t, "they are in the middle of it", func() bool { return g.relay.Stats().Appended > 20*publishers })
	g.stop()
	wg.Wait()
	g.wantStopped()
	total, unheard := 0, 0
	for i := range publishers {
		stored := map[string]bool{}
		for _, e := range g.events("echo:" + strconv.Itoa(i)) {
			stored[e.ID] = true
		}
		for ref := range acked[i] {
			if !stored[ref] {
				t.Errorf("publisher %d: %s was acknowledged and is not in the stream", i, ref)
			}
		}
		if len(acked[i]) == 0 {
			t.Errorf("publisher %d got no answer", i)
		}
		total += len(acked[i])
		unheard += len(stored) - len(acked[i])
	}
	t.Logf("%d acknowledged; %d stored whose answer did not come", total, unheard)
}
