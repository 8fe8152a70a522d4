package swarm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func randomLoad(rng *rand.Rand, top float64) Load {
	l := Load{}
	from := math.Floor(rng.Float64() * top)
	for range 1 + rng.IntN(4) {
		r := Ramp{Length: time.Duration(rng.IntN(3000)) * time.Millisecond, From: from, To: math.Floor(rng.Float64() * top)}
		switch rng.IntN(4) {
		case 0:
			r.To = from
		case 1:
			r.To = 0
		}
		from = r.To
		l.Ramps = append(l.Ramps, r)
	}
	return l
}

// area is how many iterations a load is to begin until a time, summed up in small steps.
func area(l *Load, until time.Duration) (sum float64) {
	const step = 100 * time.Microsecond
	for at := step / 2; at < until; at += step {
		sum += l.rate(at) * step.Seconds()
	}
	return sum
}

// TestArrivalsFollowTheRamps checks when iterations are due against the sum of the rate.
func TestArrivalsFollowTheRamps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		l := randomLoad(rng, 200)
		total, last, n := area(&l, l.Length()), time.Duration(0), int64(0)
		for ; ; n++ {
			at, ok := l.due(n)
			if !ok {
				break
			}
			if at < last || at > l.Length() {
				t.Fatalf("%+v: iteration %d is due at %s, after one at %s", l.Ramps, n, at, last)
			}
			if n%50 == 0 && math.Abs(area(&l, at)-float64(n)) > 0.5 {
				t.Fatalf("%+v: iteration %d is due at %s, where %.2f should have begun", l.Ramps, n, at, area(&l, at))
			}
			last = at
		}
		if math.Abs(float64(n)-total) > 1.5 {
			t.Fatalf("%+v: %d iterations, want %.1f", l.Ramps, n, total)
		}
	}
	l := Load{Ramps: []Ramp{{Length: 3 * time.Second, From: 100, To: 100}}}
	for n := range int64(300) {
		if at, ok := l.due(n); !ok || (at-time.Duration(n)*10*time.Millisecond).Abs() > time.Microsecond {
			t.Fatalf("iteration %d is due at %s, %v", n, at, ok)
		}
	}
	if _, ok := l.due(300); ok {
		t.Fatal("one more than 100/s for 3 s")
	}
}

// TestUsersFollowTheRamps checks that the number of virtual users changes only when it was said to, by one on a slope, and is never a whole one off.
func TestUsersFollowTheRamps(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		l := randomLoad(rng, 30)
		for at := time.Duration(0); at < l.Length(); {
			users, next := l.wanted(at)
			if next <= at {
				t.Fatalf("%+v: at %s the next change is at %s", l.Ramps, at, next)
			}
			if off := math.Abs(float64(users) - l.rate(at)); off > 1+1e-3 {
				t.Fatalf("%+v: %d users at %s, want %.3f", l.Ramps, users, at, l.rate(at))
			}
			if between, _ := l.wanted(at + (next-at)/2); between != users && next-at > time.Millisecond {
				t.Fatalf("%+v: %d users at %s and %d before %s", l.Ramps, users, at, between, next)
			}
			at = next
		}
		if users, _ := l.wanted(l.Length()); users != int(l.Ramps[len(l.Ramps)-1].To) {
			t.Fatalf("%+v: %d users in the end", l.Ramps, users)
		}
	}
}

func TestParseCheck(t *testing.T) {
	for expr, want := range map[string]bool{
		"msg.latency<50": true, " msg.latency <= 50 && msg.size === 128 ": true, "connect.status==101": true, "res.code!=0": true,
		"": false, "msg.latency": false, "msg.latency<": false, "msg.latency=<5": false, "msg.speed<5": false, "msg.latency<5&&": false,
		"msg.latency<5 && ack.code==0": false, "msg.latency<x": false,
	} {
		if _, err := ParseCheck("name", expr); (err == nil) != want {
			t.Errorf("%q: %v", expr, err)
		}
	}
	for _, name := range []string{"", "a,b", "a{b", "a\nb"} {
		if _, err := ParseCheck(name, "msg.size==1"); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

func FuzzParseCheck(f *testing.F) {
	f.Add("msg.latency<50 && msg.size==128")
	f.Add("ack.code!=0")
	f.Fuzz(func(t *testing.T, expr string) {
		c, err := ParseCheck("name", expr)
		if err == nil && (c.event >= checkEvents || len(c.terms) == 0) {
			t.Fatalf("%q reads as %+v", expr, c)
		}
	})
}

// TestPlanWithWriters checks that the feeds of virtual users have lines and numbers of their own.
func TestPlanWithWriters(t *testing.T) {
	for _, n := range [][5]int{{10, 4, 2, 9, 3}, {7, 3, 3, 0, 5}, {0, 2, 1, 0, 1}, {15, 5, 1, 5, 11}} {
		c := testConfig(n[0], n[1], n[2], n[3])
		if n[3] == 0 {
			c.Rate = 0
		}
		p := newPlan(c, n[4])
		lines, numbers := map[int]bool{}, map[int64]bool{}
		for feed := range uint32(p.feeds + p.writers) {
			for seq := range uint32(4) {
				k := p.publication(feed, seq)
				if f, q := p.feed(k); f != feed || q != seq || numbers[k] || (k >= p.total) != (int(feed) >= p.feeds) {
					t.Fatalf("%v: number %d of feed %d is publication %d, which is number %d of feed %d", n, seq, feed, k, q, f)
				}
				numbers[k] = true
			}
			for sub := range n[0] * n[2] {
				if p.channel(sub) != p.channelOf(feed) {
					continue
				}
				line := p.line(sub, feed)
				if lines[line] || line >= n[0]*n[2]*p.lanes {
					t.Fatalf("%v: line %d of subscription %d and feed %d", n, line, sub, feed)
				}
				lines[line] = true
			}
		}
	}
}
