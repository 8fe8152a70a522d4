// Package plan draws what goes wrong, and when: a schedule of faults as a pure function of a seed.
//
//	seed ──▶ New ──▶ 12.3s kill backend-2 for 1.4s, 14.0s stall client-gateway-1 …
//
// It knows names of targets, not processes. It refuses two faults on one target at a time, and, where a replica is what makes
// acknowledgements safe, two faults on Redis close together: two copies bear one loss at a time, and a third does not come from wishing.
// The last ten seconds of each minute are calm, so that what never recovers is seen as such.
package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Mode is how Redis runs.
type Mode string

// The modes.
const (
	Single   Mode = "single"   // one server, append-only file
	Sentinel Mode = "sentinel" // a master, a replica, three sentinels
)

// Kind of fault.
type Kind string

// The kinds.
const (
	Kill     Kind = "kill"     // SIGKILL, and started again after For
	Pause    Kind = "pause"    // SIGSTOP, and SIGCONT after For
	Drain    Kind = "drain"    // SIGTERM, and started again For after its end
	Cut      Kind = "cut"      // all connections of a link reset, once
	Refuse   Kind = "refuse"   // the same, and new ones too, for For
	Stall    Kind = "stall"    // bytes are held back, in one or both directions, and come after For
	Slow     Kind = "slow"     // Rate bytes a second each way, Latency more each way
	Bite     Kind = "bite"     // each connection reset after Bytes more bytes, in the middle of whatever that is
	Failover Kind = "failover" // a sentinel is told to make the replica the master
)

// Direction of a stalled link.
type Direction string

// The directions.
const (
	Both Direction = "both"
	Up   Direction = "up"   // to the server
	Down Direction = "down" // to the client
)

// Fault is one thing that goes wrong.
type Fault struct {
	Number    int           `json:"number"`
	At        time.Duration `json:"at"` // since the beginning of the faults
	Kind      Kind          `json:"kind"`
	Target    string        `json:"target"`
	For       time.Duration `json:"for,omitempty"`
	Direction Direction     `json:"direction,omitempty"`
	Bytes     int           `json:"bytes,omitempty"`
	Rate      int           `json:"rate,omitempty"`
	Latency   time.Duration `json:"latency,omitempty"`
}

// String is the fault without its time, as logs have it.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.Kind, f.Target)
	switch f.Kind {
	case Stall:
		fmt.Fprintf(&b, " (%s)", f.Direction)
	case Slow:
		fmt.Fprintf(&b, " (%d KB/s, +%v)", f.Rate/1000, f.Latency)
	case Bite:
		fmt.Fprintf(&b, " (after %d bytes)", f.Bytes)
	default:
	}
	if f.For > 0 {
		fmt.Fprintf(&b, " for %v", f.For)
	}
	return b.String()
}

// Redis reports whether the fault is one of Redis itself rather than of the programs around it or one's way to it.
func (f Fault) Redis() bool { return isRedis(f.Target) }

func isRedis(target string) bool { return strings.HasPrefix(target, "redis") }

// Names of targets. A role is looked up when its fault is due; a link is called CLIENT>SERVER.
const (
	Redis        = "redis"
	RedisMaster  = "redis-master"
	RedisReplica = "redis-replica"
)

// Options of a schedule.
type Options struct {
	Mode   Mode
	Length time.Duration // of the time in which faults begin
	Faults int           // how many
}

// New draws the schedule, in the order of time.
func New(seed uint64, o Options) []Fault {
	d := drawer{
		r: rand.New(rand.NewPCG(seed, uint64(len(o.Mode)))), o: o, choices: choices(o.Mode), busy: map[string]time.Duration{},
	}
	calm := calmTime(o.Length)
	slot := (o.Length - calm) / time.Duration(max(o.Faults, 1))
	faults := make([]Fault, 0, o.Faults)
	var before time.Duration
	for i := range o.Faults {
		at := time.Duration(i)*slot + time.Duration(d.r.Int64N(int64(slot)*3/4+1))
		if i > 0 && d.r.IntN(6) == 0 { // several at once, now and then
			at = before + d.between(0, 300*time.Millisecond)
		}
		at = max(at, before)
		before = at
		faults = append(faults, d.draw(stretch(at, o.Length)))
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i := range faults {
		faults[i].Number = i + 1
	}
	return faults
}

// A minute ends in calm.
const (
	minute = time.Minute
	quiet  = 10 * time.Second
)

func calmTime(length time.Duration) time.Duration { return length.Truncate(minute) / (minute / quiet) }

// stretch is the time at which so much time without calm has passed.
func stretch(at, length time.Duration) time.Duration {
	calm := at.Truncate(minute-quiet) / ((minute - quiet) / quiet)
	return at + min(calm, calmTime(length))
}

// untilCalm is how long a fault that begins at t may last.
func untilCalm(t time.Duration) time.Duration {
	return max(minute-quiet-t%minute, 200*time.Millisecond)
}

// round keeps logs readable.
func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
