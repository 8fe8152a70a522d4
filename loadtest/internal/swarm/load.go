package swarm

import (
	"math"
	"time"
)

// Exec is what an iteration of a load is.
type Exec uint8

// What virtual users can do.
const (
	ExecPublish Exec = iota // a publication on its own connection, to its ok
	ExecRequest             // a request on its own connection, to its res
	ExecSession             // a connection of its own: connect, subscribe, hold, close
)

// Load is work for virtual users on a schedule, as k6's scenarios are. Each of them has a client of its own, beyond Config.Connections.
type Load struct {
	Name     string
	Tags     map[string]string
	Exec     Exec
	Start    time.Duration // from the beginning of the steady phase
	Graceful time.Duration // how long iterations may go on when its time is over
	VUs      int           // most virtual users
	Ready    int           // of them there from the start; the others of an open load come when they are wanted

	Open     bool          // Ramps say how many iterations are due per second; else how many virtual users loop
	Ramps    []Ramp        // one after the other
	Shared   int64         // iterations of all virtual users together; 0: as many as there is time for
	Each     int64         // iterations of each virtual user; 0: as many as there is time for
	RampDown time.Duration // how long an iteration may go on when its virtual user is not wanted any more

	Hold   time.Duration // length of a session; 0: until its virtual user has to stop
	AtWork time.Duration // least time from the beginning of an iteration to that of the next by the same virtual user; closed loads
}

// Ramp goes from one value to another, evenly.
type Ramp struct {
	Length   time.Duration
	From, To float64
}

// Length is how long a load goes on, without Start and Graceful.
func (l *Load) Length() (sum time.Duration) {
	for _, r := range l.Ramps {
		sum += r.Length
	}
	return sum
}

// due is when iteration n of an open load is due, from its start: when n iterations should have begun before. ok is false when that is never.
func (l *Load) due(n int64) (at time.Duration, ok bool) {
	left := float64(n)
	for _, r := range l.Ramps {
		length := r.Length.Seconds()
		area := (r.From + r.To) / 2 * length
		if left >= area {
			left -= area
			at += r.Length
			continue
		}
		var t float64
		if slope := (r.To - r.From) / length; math.Abs(slope) < 1e-12 {
			t = left / r.From
		} else { // from·t + slope·t²/2 = left, in the form that does not cancel
			t = 2 * left / (r.From + math.Sqrt(max(r.From*r.From+2*slope*left, 0)))
		}
		if math.IsNaN(t) { // nothing is left, and the rate is 0 here
			t = 0
		}
		return at + time.Duration(t*float64(time.Second)), true
	}
	return 0, false
}

// wanted is how many virtual users of a closed load loop at a time after its start, and when that changes next.
func (l *Load) wanted(at time.Duration) (users int, next time.Duration) {
	const slack = 1e-6 // of a user: what divisions lose
	begin := time.Duration(0)
	for _, r := range l.Ramps {
		end := begin + r.Length
		if at >= end {
			begin, users = end, int(r.To)
			continue
		}
		slope := (r.To - r.From) / r.Length.Seconds()
		now := r.From + slope*(at-begin).Seconds()
		crossing := func(level float64) time.Duration {
			return min(max(begin+time.Duration((level-r.From)/slope*float64(time.Second)), at+1), end)
		}
		switch {
		case slope > 0:
			level := math.Floor(now + slack)
			return int(level), crossing(level + 1)
		case slope < 0:
			level := math.Ceil(now - slack)
			return int(level), crossing(level - 1)
		}
		return int(now), end
	}
	return users, begin
}

// rate is how many iterations an open load is to begin per second at a time after its start.
func (l *Load) rate(at time.Duration) float64 {
	for _, r := range l.Ramps {
		if at < r.Length {
			return r.From + (r.To-r.From)*at.Seconds()/r.Length.Seconds()
		}
		at -= r.Length
	}
	return 0
}
