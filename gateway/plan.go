package gateway

import "time"

const (
	byeEvery   = 100 * time.Millisecond // from one batch of byes to the next
	maxDelay   = 60 * time.Second       // no client is told to stay away for longer
	byeJitter  = 10 * time.Millisecond  // added to each delay, so that clients told the same do not come in step
	maxDismiss = 2                      // the byes take at most one part in so many of the time there is
)

// plan says when each of n connections is told bye, and how long it is to stay away, so that no more of them arrive elsewhere in a
// second than can be taken in there. Connections stand in a random order; the one at the fraction f of it arrives after
// f × total, however early its bye has to be.
//
//	arrivals elsewhere  |·······································|  total: n / rate, at most spread + 60 s
//	byes here           |··|··|··|··|                              spread: all of total if there is time, in batches
//	delay                  f × total less the time of the bye
//
// It is a value; all its methods are pure.
type plan struct {
	total  time.Duration // from the beginning to the last arrival
	spread time.Duration // from the beginning to the last batch of byes
}

// newPlan is the plan for n connections, where rate a second are taken in elsewhere (at least 1) and everything has to be over
// here within limit. Beyond rate × (spread + 60 s) connections the arrivals are still even, but faster than rate.
func newPlan(n, rate int, limit time.Duration) plan {
	spread := limit / maxDismiss
	total := time.Duration(float64(max(n-1, 0)) / float64(max(rate, 1)) * float64(time.Second))
	total = min(total, spread+maxDelay)
	return plan{total: total, spread: min(spread, total)}
}

// due is the fraction of the connections whose bye is due when elapsed has passed. It grows with each batch, and is 1 from
// spread on.
func (p plan) due(elapsed time.Duration) float64 {
	next := elapsed.Truncate(byeEvery) + byeEvery // a batch takes those that are to go until the next one
	if next >= p.spread {
		return 1
	}
	return float64(next) / float64(p.spread)
}

// delay is how long the connection at fraction f, of 0 to 1, is to stay away when its bye goes out after elapsed. A bye that is late
// has the less delay: the arrival stays where it was.
func (p plan) delay(f float64, elapsed time.Duration) time.Duration {
	return min(max(0, time.Duration(f*float64(p.total))-elapsed), maxDelay)
}
