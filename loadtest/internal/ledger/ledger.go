// Package ledger keeps account of deliveries: which publications each subscriber has, which it has twice, which came late and
// which never came.
//
//	feed   one publisher's publications to one channel, numbered 0, 1, 2, …
//	line   one subscriber's account of one feed
//
//	high ──────────────▶ next number if all goes well
//	0 1 2 3 [4 5] 6 7    hole: passed over, may still come (late) or never (lost)
//
// A line is 4 bytes and a delivery in order is one comparison and one addition; only a line with holes has more, in a side map:
// 12 bytes a hole. Nothing is allocated while all is in order. The ledger judges the line, not the clock: what is lost is asked
// at the end, when the caller says how far each feed went. Not safe for concurrent use.
//
// A gap excuses what lies between the last delivery before it and the first one behind it, and nothing else: what is missing
// behind that first one is lost again.
package ledger

import "slices"

// Outcome is what a delivery was to its line.
type Outcome uint8

// The outcomes. Each delivery is exactly one of them.
const (
	InOrder   Outcome = iota // first time, nothing later came before it
	Late                     // first time, after a later one: the line was out of order
	Announced                // first time, late, but a gap had been announced over it: nobody was misled
	Duplicate                // again
)

// Ledger is the account of a fixed number of lines.
type Ledger struct {
	high  []uint32
	holes map[int][]hole
	gaps  map[int]uint32 // lines with a gap that no delivery has followed yet: it can reach up to, not including, this number
}

// hole is the numbers from first to last that a line passed over.
type hole struct {
	first, last uint32
	announced   bool
}

// New makes a ledger of n lines, all at 0.
func New(n int) *Ledger {
	return &Ledger{high: make([]uint32, n), holes: make(map[int][]hole), gaps: make(map[int]uint32)}
}

// Receive enters the delivery of number seq to a line.
func (l *Ledger) Receive(line int, seq uint32) Outcome {
	switch high := l.high[line]; {
	case seq == high:
		l.high[line] = high + 1
		if len(l.gaps) > 0 {
			delete(l.gaps, line)
		}
		return InOrder
	case seq > high:
		l.passOver(line, high, seq)
		l.high[line] = seq + 1
		return InOrder
	}
	return l.fill(line, seq)
}

// passOver enters the hole from high up to, not including, seq: as far as a gap can reach it was announced.
func (l *Ledger) passOver(line int, high, seq uint32) {
	if reach := min(l.gaps[line], seq); high < reach {
		l.holes[line] = append(l.holes[line], hole{first: high, last: reach - 1, announced: true})
		high = reach
	}
	if high < seq {
		l.holes[line] = append(l.holes[line], hole{first: high, last: seq - 1})
	}
	delete(l.gaps, line)
}

// fill enters a delivery below high: the filling of a hole, or a duplicate.
func (l *Ledger) fill(line int, seq uint32) Outcome {
	holes := l.holes[line]
	i, _ := slices.BinarySearchFunc(holes, seq, func(h hole, seq uint32) int {
		if h.last < seq {
			return -1
		}
		return 1
	})
	if i == len(holes) || seq < holes[i].first {
		return Duplicate
	}
	h := &holes[i]
	outcome := Late
	if h.announced {
		outcome = Announced
	}
	switch {
	case h.first == h.last:
		holes = slices.Delete(holes, i, i+1)
	case seq == h.first:
		h.first++
	case seq == h.last:
		h.last--
	default:
		rest := *h
		rest.first, h.last = seq+1, seq-1
		holes = slices.Insert(holes, i+1, rest)
	}
	if len(holes) == 0 {
		delete(l.holes, line)
	} else {
		l.holes[line] = holes
	}
	return outcome
}

// Announce enters a gap: the subscriber was told that publications are missing. It covers what the line passes over at its next
// delivery, of the feed's first sent numbers (those below sent): no later one can be meant.
func (l *Ledger) Announce(line int, sent uint32) {
	if l.high[line] < sent {
		l.gaps[line] = sent
	}
}

// Begin starts a line anew: numbers below next are none of its business, and whatever it had is forgotten.
func (l *Ledger) Begin(line int, next uint32) {
	l.high[line] = next
	delete(l.holes, line)
	delete(l.gaps, line)
}

// Next is the number that a line would have next if nothing were missing.
func (l *Ledger) Next(line int) uint32 { return l.high[line] }

// Missing calls yield with each run of numbers below sent, first to last, that the line never had, in rising order.
func (l *Ledger) Missing(line int, sent uint32, yield func(first, last uint32, announced bool)) {
	for _, h := range l.holes[line] {
		if h.first >= sent {
			return
		}
		yield(h.first, min(h.last, sent-1), h.announced)
	}
	high := l.high[line]
	if reach := min(l.gaps[line], sent); high < reach {
		yield(high, reach-1, true)
		high = reach
	}
	if high < sent {
		yield(high, sent-1, false)
	}
}
