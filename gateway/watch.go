package gateway

import (
	"context"
	"time"

	"github.com/millracehq/millrace/gateway/internal/route"
	"github.com/millracehq/millrace/gateway/protocol"
)

// watchEvery is how often it is seen whether the streams are up.
const watchEvery = 500 * time.Millisecond

// outage tells a Redis that stumbles from one that is lost.
type outage struct {
	since time.Time // of the first look that found it down; zero: it is up
	lost  bool      // for longer than the limit
}

// step takes one look and reports whether the streams became lost by it, or are back after they were lost.
func (o *outage) step(now time.Time, up bool, limit time.Duration) (lost, back bool) {
	switch {
	case up:
		back = o.lost
		*o = outage{}
	case o.since.IsZero():
		o.since = now
	case !o.lost && now.Sub(o.since) >= limit:
		o.lost, lost = true, true
	}
	return lost, back
}

// watch beats for the fleet while the streams are up, and sends all connections away when they have been down for too long,
// until ctx is done. A drain that begins meanwhile takes over.
func (g *Gateway) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var o outage
	var beat time.Time
	var leaving *plan
	var begun time.Time
	for ctx.Err() == nil {
		now, up := time.Now(), !g.relay.Lost()
		lost, back := o.step(now, up, g.cfg.LostAfter)
		switch {
		case lost:
			p := g.lose(now)
			leaving, begun = &p, now
			tick.Reset(byeEvery)
		case back:
			g.regain()
			leaving = nil
			tick.Reset(watchEvery)
		}
		if leaving != nil {
			due := leaving.due(time.Since(begun))
			g.onLoops(g.loops, func(r *route.Router) int { r.Due(due); return 0 })
		}
		if up && now.Sub(beat) >= beatEvery {
			beat = now
			g.fleet.beat(ctx, g.connections())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lose begins to send everybody away. The pace is this gateway's own accept rate: whoever has lost the same Redis does
// the same, and all come back to all of them.
func (g *Gateway) lose(now time.Time) plan {
	g.lost.Store(true)
	n := g.onLoops(g.loops, (*route.Router).Connections)
	p := newPlan(n, g.cfg.AcceptRate, g.cfg.DrainTimeout)
	g.cfg.Logger.Warn("the streams are lost: bye 4003 to everybody, no new connections until they are back", "after", g.cfg.LostAfter, "connections", n, "byes", p.spread, "arrivals", p.total)
	f := farewell(protocol.CloseStreamLost, lostText, p, now)
	g.onLoops(g.loops, func(r *route.Router) int { r.Lose(f); return 0 })
	return p
}

func (g *Gateway) regain() {
	g.lost.Store(false)
	left := g.onLoops(g.loops, func(r *route.Router) int { r.Regain(); return r.Connections() })
	g.cfg.Logger.Info("the streams are back: connections are taken in again", "connections", left)
}
