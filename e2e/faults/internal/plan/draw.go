package plan

import (
	"math/rand/v2"
	"time"
)

// choice is one thing that may be drawn, with its weight.
type choice struct {
	kind   Kind
	target string
	weight int
}

// choices are what can go wrong in a mode.
func choices(mode Mode) []choice {
	var list []choice
	add := func(weight int, target string, kinds ...Kind) {
		for _, k := range kinds {
			list = append(list, choice{k, target, weight})
		}
	}
	for _, program := range []string{"gateway-1", "gateway-2", "backend-1", "backend-2"} {
		add(4, program, Kill, Pause)
		add(2, program, Drain)
	}
	for _, gateway := range []string{"gateway-1", "gateway-2"} {
		add(2, "client>"+gateway, Cut, Refuse, Stall, Slow, Bite)
	}
	if mode == Sentinel {
		add(6, RedisMaster, Kill, Pause, Failover)
		add(2, RedisMaster+"-link", Cut, Refuse, Stall, Bite)
		add(3, RedisReplica, Kill, Pause)
		add(1, RedisReplica+"-link", Cut, Stall, Slow, Bite)
		return list
	}
	add(7, Redis, Kill, Pause)
	for _, program := range []string{"gateway-1", "gateway-2", "backend-1", "backend-2"} {
		add(1, program+">redis", Cut, Refuse, Stall, Slow, Bite)
	}
	return list
}

// Rests of Redis between two faults: what a restart takes, and with a replica its resynchronisation too.
const (
	restSingle   = 3 * time.Second
	restSentinel = 12 * time.Second
)

// drawer draws the faults of one schedule.
type drawer struct {
	r       *rand.Rand
	o       Options
	choices []choice
	busy    map[string]time.Duration // until when, by target; all of Redis is one target
}

func (d *drawer) draw(at time.Duration) Fault {
	c := d.choose(at)
	f := Fault{At: round(at), Kind: c.kind, Target: c.target}
	switch c.kind {
	case Kill:
		f.For = d.between(100*time.Millisecond, 3*time.Second)
		if c.target == RedisMaster && d.r.IntN(2) == 0 {
			f.For = d.between(5*time.Second, 8*time.Second) // long enough for the sentinels
		}
	case Drain:
		f.For = d.between(0, 2*time.Second)
	case Pause:
		f.For = d.between(200*time.Millisecond, 8*time.Second)
	case Refuse:
		f.For = d.between(300*time.Millisecond, 4*time.Second)
	case Stall:
		f.For = d.between(500*time.Millisecond, 8*time.Second)
		f.Direction = []Direction{Both, Up, Down}[d.r.IntN(3)]
	case Slow:
		f.For = d.between(2*time.Second, 8*time.Second)
		f.Rate = 1000 * (20 + d.r.IntN(180))
		f.Latency = round(d.between(0, 150*time.Millisecond))
	case Bite:
		f.For = d.between(500*time.Millisecond, 2*time.Second)
		f.Bytes = 1 + d.r.IntN(3000)
	case Cut, Failover:
	}
	f.For = round(min(f.For, untilCalm(at)))
	d.occupy(c, at+f.For)
	return f
}

// choose draws among what is free. When nothing is, a cut of a link to the clients does no harm to whatever else goes on there.
func (d *drawer) choose(at time.Duration) choice {
	total := 0
	for _, c := range d.choices {
		if d.free(c, at) {
			total += c.weight
		}
	}
	if total == 0 {
		return choice{Cut, "client>gateway-1", 1}
	}
	n := d.r.IntN(total)
	for _, c := range d.choices {
		if !d.free(c, at) {
			continue
		}
		if n -= c.weight; n < 0 {
			return c
		}
	}
	panic("BUG: the weights do not add up")
}

func (d *drawer) free(c choice, at time.Duration) bool { return d.busy[busyName(c)] <= at }

func busyName(c choice) string {
	if isRedis(c.target) {
		return Redis
	}
	return c.target
}

func (d *drawer) occupy(c choice, end time.Duration) {
	rest := 500 * time.Millisecond
	switch {
	case isRedis(c.target) && d.o.Mode == Sentinel:
		rest = restSentinel
	case isRedis(c.target):
		rest = restSingle
	}
	name := busyName(c)
	d.busy[name] = max(d.busy[name], end+rest)
}

func (d *drawer) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.r.Int64N(int64(to-from)+1))
}
