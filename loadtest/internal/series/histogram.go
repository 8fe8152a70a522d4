package series

import (
	"math"
	"math/bits"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram counts microseconds in 32 steps to each doubling, without the empty ones.
type histogram []bar

type bar struct {
	step int32
	n    int64
}

const (
	stepBits = 5 // 32 steps to each doubling: 3 %
	steps    = 1 << stepBits
)

// stepOf is the step that a value falls in: below 32 each has its own.
func stepOf(us int64) int32 {
	if us < steps {
		return int32(us)
	}
	double := bits.Len64(uint64(us)) - stepBits - 1
	return int32((double+1)<<stepBits | int(us>>double)&(steps-1))
}

// top is the highest value of a step.
func top(step int32) int64 {
	if step < steps {
		return int64(step)
	}
	double := step>>stepBits - 1
	return (int64(step&(steps-1)|steps)+1)<<double - 1
}

// newHistogram reads an HDR histogram of three digits and units of 1: its counts are of 2048 values one by one, then of 1024 in twos, in
// fours and so on. (Its own Distribution would be clearer, and takes ten times as long.)
func newHistogram(from *hdrhistogram.Histogram) (h histogram) {
	const half = 1024
	left := from.TotalCount()
	for i, n := range from.Export().Counts {
		if n == 0 {
			continue
		}
		us := int64(i)
		if i >= 2*half {
			us = int64(i%half+half) << (i/half - 1)
		}
		step := stepOf(us)
		if last := len(h) - 1; last >= 0 && h[last].step == step {
			h[last].n += n
		} else {
			h = append(h, bar{step, n})
		}
		if left -= n; left == 0 {
			break
		}
	}
	return h
}

func (h histogram) join(other histogram) histogram {
	out := make(histogram, 0, max(len(h), len(other)))
	for len(h) > 0 && len(other) > 0 {
		switch {
		case h[0].step < other[0].step:
			out, h = append(out, h[0]), h[1:]
		case h[0].step > other[0].step:
			out, other = append(out, other[0]), other[1:]
		default:
			out = append(out, bar{h[0].step, h[0].n + other[0].n})
			h, other = h[1:], other[1:]
		}
	}
	return append(append(out, h...), other...)
}

// percentile is the value at or below which percent of 100 values are, at most 3 % above it.
func (h histogram) percentile(percent float64) int64 {
	var total int64
	for _, b := range h {
		total += b.n
	}
	rank := max(int64(math.Ceil(percent/100*float64(total))), 1)
	for _, b := range h {
		if rank -= b.n; rank <= 0 {
			return top(b.step)
		}
	}
	return 0
}
