package traffic

import "time"

// Window is a time in which something was wrong, since the start.
type Window struct{ From, To time.Duration }

// Silence is the longest time, up to to, in which no publication reached any subscriber: at all, and outside of the windows.
// The resolution is a tenth of a second. What a window interrupts counts as two silences outside.
func (t *Traffic) Silence(from, to time.Duration, windows []Window) (longest, outside time.Duration) {
	return silence(func(i int) bool { return t.heard[i].Load() }, int(from/tick), min(int(to/tick), len(t.heard)), windows)
}

func silence(heard func(i int) bool, from, to int, windows []Window) (longest, outside time.Duration) {
	excused := make([]bool, max(to, 0))
	for _, w := range windows {
		for i := max(int(w.From/tick), 0); i <= int(w.To/tick) && i < to; i++ {
			excused[i] = true
		}
	}
	run, runOutside := 0, 0
	for i := from; i < to; i++ {
		run++
		runOutside++
		if heard(i) {
			run, runOutside = 0, 0
		}
		if excused[i] {
			runOutside = 0
		}
		longest, outside = max(longest, time.Duration(run)*tick), max(outside, time.Duration(runOutside)*tick)
	}
	return longest, outside
}
