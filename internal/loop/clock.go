package loop

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads CLOCK_MONOTONIC, which all processes of a machine share, at the price of Go's own clock: the two are
// paired once, because asking the kernel by unix.ClockGettime costs ten times as much.
type clock struct {
	start time.Time
	base  int64
}

// clockPairs is how often the clocks are compared: 20 us in all, and 16 pauses in a row do not happen.
const clockPairs = 16

// newClock pairs the two by the closest of some pairs of readings: what lies between the two of a pair, be it a pause of the
// machine, is how far this clock is ahead. It is never behind the kernel's: when a timer has fired, what it was for is due.
func newClock() clock {
	best, least := clock{}, time.Duration(math.MaxInt64)
	for range clockPairs {
		var ts unix.Timespec
		start := time.Now()
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
		if between := time.Since(start); between < least {
			best, least = clock{start: start, base: ts.Nano()}, between
		}
	}
	return best
}

// now is CLOCK_MONOTONIC in nanoseconds.
func (c clock) now() int64 { return c.base + int64(time.Since(c.start)) }
