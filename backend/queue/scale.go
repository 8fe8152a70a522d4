package queue

import "time"

// calm is how many looks without lag it takes to shrink.
const calm = 5

// scale is how much of a worker is in use. It is a function of what it has seen, one look a second.
type scale struct {
	hands, batch       int
	minBatch, maxBatch int
	maxHands           int
	slow               time.Duration
	quiet              int // looks without lag in a row
}

func newScale(c *Config) scale {
	return scale{hands: 1, batch: c.Batch, minBatch: c.Batch, maxBatch: c.MaxBatch, maxHands: c.MaxHands, slow: c.SlowCount}
}

// look takes in how many entries nobody has begun with, and how long a transaction took of late.
func (s *scale) look(lag int64, count time.Duration) {
	if count > s.slow && s.batch > s.minBatch {
		s.batch = max(s.batch/2, s.minBatch)
	}
	if lag > int64(2*s.batch*s.hands) {
		s.quiet = 0
		switch {
		case s.hands < s.maxHands:
			s.hands = min(2*s.hands, s.maxHands)
		case s.batch < s.maxBatch && 2*count <= s.slow:
			s.batch = min(2*s.batch, s.maxBatch)
		}
		return
	}
	if lag > int64(s.batch) {
		s.quiet = 0
		return
	}
	if s.quiet++; s.quiet < calm {
		return
	}
	if s.batch > s.minBatch {
		s.batch = max(s.batch/2, s.minBatch)
	} else if s.hands > 1 {
		s.hands--
	}
}
