package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock reads CLOCK_MONOTONIC, which all processes of a machine share, at the price of Go's own clock: the two are
// paired once, because asking the kernel by unix.ClockGettime costs ten times as much.
type clock struct {
	start time.Time
	base  int64
}

func newClock() clock {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return clock{start: time.Now(), base: ts.Nano()}
}

// now is CLOCK_MONOTONIC in nanoseconds.
func (c clock) now() int64 { return c.base + int64(time.Since(c.start)) }
