package gateway

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millracehq/millrace/gateway/internal/route"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
)

const (
	drainTick     = 20 * time.Millisecond  // how often it is seen whether all are gone
	progressEvery = 2 * time.Second        // between log lines
	hurryTime     = 300 * time.Millisecond // for everybody to be told at once
	writeTime     = 2 * time.Second        // the relay has at least this long to write what is left
	writeHurry    = 300 * time.Millisecond // the same, in a hurry
)

const (
	drainText = "this gateway is stopping: come back, another one takes over"
	lostText  = "the streams are lost: come back later"
)

// signal is closed once, by whoever comes first.
type signal struct {
	once sync.Once
	c    chan struct{}
}

func (s *signal) send() { s.once.Do(func() { close(s.c) }) }

// Hurry has a Run that is stopping, or will be, tell everybody at once and end within a second. Run returns as it would have.
func (g *Gateway) Hurry() { g.hurry.send() }

// farewell is what clients are told by plan p, which has begun.
func farewell(code protocol.Code, text string, p plan, begun time.Time) route.Farewell {
	return route.Farewell{Code: code, Text: text, Delay: func(f float64) time.Duration {
		return p.delay(f, time.Since(begun)) + rand.N(byeJitter)
	}}
}

// drain sends every connection away, paced by what the others take in, and returns when all are gone, at the latest after
// Config.DrainTimeout. Handshakes are refused from now on.
func (g *Gateway) drain(loops []*loop.Loop, begun time.Time) {
	log := g.cfg.Logger
	n := g.onLoops(loops, (*route.Router).Connections)
	rate := g.fleet.elsewhere()
	p := newPlan(n, rate, g.cfg.DrainTimeout)
	log.Info("draining: no new connections, bye to the others", "connections", n, "gateways", g.fleet.seen.Load().gateways, "rate", rate, "byes", p.spread, "arrivals", p.total)
	f := farewell(protocol.CloseDrain, drainText, p, begun)
	g.onLoops(loops, func(r *route.Router) int { r.Drain(f); return 0 })

	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	hurry, end, said := g.hurry.c, begun.Add(g.cfg.DrainTimeout), begun
	for {
		due := p.due(time.Since(begun))
		left := g.onLoops(loops, func(r *route.Router) int { r.Due(due); return r.Connections() })
		now := time.Now()
		switch {
		case left == 0:
			return
		case now.After(end):
			log.Info("drain: closing connections that have not closed in time", "left", left)
			return
		case now.Sub(said) >= progressEvery:
			said = now
			log.Info("draining", "left", left, "for", now.Sub(begun).Round(time.Second))
		}
		select {
		case <-tick.C:
		case <-hurry:
			log.Info("stopping at once: asked a second time", "left", left)
			g.onLoops(loops, func(r *route.Router) int { r.Hurry(); return 0 })
			hurry, end = nil, time.Now().Add(hurryTime)
		}
	}
}

// onLoops runs f on every loop and returns the sum of what it says. It waits for as long as a turn of the loops takes.
func (g *Gateway) onLoops(loops []*loop.Loop, f func(r *route.Router) int) (sum int) {
	answers := make(chan int, len(loops))
	asked := 0
	for i, l := range loops {
		if l.Post(func() { answers <- f(g.routers[i]) }) {
			asked++
		}
	}
	for range asked {
		sum += <-answers
	}
	return sum
}

// awaitStreams waits until the relay has written what was taken and the fleet knows that this gateway is gone, for what is left of the
// drain's time. Then the streams are closed under them: a Redis that stands still would hold the process for longer. What it had not written was not acknowledged.
func (g *Gateway) awaitStreams(done <-chan struct{}, begun time.Time) {
	limit := time.NewTimer(max(writeTime, g.cfg.DrainTimeout-time.Since(begun)))
	defer limit.Stop()
	for hurry := g.hurry.c; ; {
		select {
		case <-done:
			return
		case <-hurry:
			hurry = nil
			limit.Reset(writeHurry)
			continue
		case <-limit.C:
		}
		g.cfg.Logger.Warn("the streams do not answer: what was not acknowledged may be unwritten", "entries", g.relay.Stats().Ring)
		_ = g.streams.Close()
		g.relay.Abandon()
		<-done
		return
	}
}
