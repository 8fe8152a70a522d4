package gateway

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	f := func(n, rate int, limit, total, spread time.Duration) {
		t.Helper()
		if p := newPlan(n, rate, limit); p.total != total || p.spread != spread {
			t.Errorf("%d connections at %d/s within %v: arrivals in %v and byes in %v, want %v and %v", n, rate, limit, p.total, p.spread, total, spread)
		}
	}
	const s, ms = time.Second, time.Millisecond
	f(0, 1000, 20*s, 0, 0)
	f(1, 1000, 20*s, 0, 0)
	f(4, 1000, 20*s, 3*ms, 3*ms)
	f(5001, 1000, 20*s, 5*s, 5*s)        // in time: everybody stays until there is a place
	f(15_001, 1000, 20*s, 15*s, 10*s)    // not in time: the last ones stay away for 5 s
	f(15_001, 3000, 20*s, 5*s, 5*s)      // more gateways
	f(15_001, 1000, 2*s, 15*s, 1*s)      // a short drain changes nothing elsewhere
	f(1_000_001, 1000, 20*s, 70*s, 10*s) // too many for 60 s: evenly over what there is
	f(101, 0, 20*s, 70*s, 10*s)          // no rate counts as 1
	f(100_001, 1_000_000, s, 100*ms, 100*ms)
}

func TestPlanByesInBatches(t *testing.T) {
	p := newPlan(1001, 1000, 20*time.Second) // 1 s
	for elapsed, want := range map[time.Duration]float64{
		0: .1, 99 * time.Millisecond: .1, 100 * time.Millisecond: .2, 850 * time.Millisecond: .9, 900 * time.Millisecond: 1, time.Hour: 1,
	} {
		if got := p.due(elapsed); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %v: %v are due, want %v", elapsed, got, want)
		}
	}
	if got := newPlan(3, 1000, time.Second).due(0); got != 1 {
		t.Errorf("three connections: %v are due at once, want all", got)
	}
}

// Whatever the numbers: everybody is told in time, nobody is sent away for longer than 60 s, and in no second more arrive than
// the rate, with what late ticks, up to two batches apart, and the jitter blur; unless there are too many for 60 s, and then they come evenly.
func TestPlanKeepsTheRate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 1 + random.IntN(20_000)
		rate := 1 + random.IntN(5000)
		limit := time.Second + time.Duration(random.Int64N(int64(60*time.Second)))
		p := newPlan(n, rate, limit)
		arrivals := play(t, p, n, random)
		if p.spread > limit/2 {
			t.Fatalf("n %d, rate %d, limit %v: byes take %v", n, rate, limit, p.spread)
		}
		most := max(float64(rate), float64(n)/(p.spread+maxDelay).Seconds())
		for _, window := range []time.Duration{100 * time.Millisecond, time.Second, 7 * time.Second} {
			bound := int(most*(window+2*byeEvery+byeJitter).Seconds()) + 2
			for i := bound; i < n; i++ {
				if arrivals[i]-arrivals[i-bound] < window {
					t.Fatalf("n %d, rate %d, limit %v: more than %d arrive within %v", n, rate, limit, bound, window)
				}
			}
		}
	}
}

// play lets a drain happen with ticks that come late at random, and returns when clients arrive, in order.
func play(t *testing.T, p plan, n int, random *rand.Rand) []time.Duration {
	t.Helper()
	arrivals := make([]time.Duration, 0, n)
	for now := time.Duration(0); len(arrivals) < n; now += time.Duration(random.Int64N(int64(2 * byeEvery))) {
		if now > p.spread+2*byeEvery {
			t.Fatalf("%d of %d are still there at %v", n-len(arrivals), n, now)
		}
		for upTo := int(math.Ceil(p.due(now) * float64(n))); len(arrivals) < upTo; {
			f := float64(len(arrivals)) / float64(max(n-1, 1))
			delay := p.delay(f, now)
			if delay < 0 || delay > maxDelay {
				t.Fatalf("a delay of %v", delay)
			}
			arrivals = append(arrivals, now+delay+time.Duration(random.Int64N(int64(byeJitter))))
		}
	}
	slices.Sort(arrivals)
	return arrivals
}
