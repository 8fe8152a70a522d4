package main

import (
	"errors"
	"testing"
)

func TestSearch(t *testing.T) {
	for _, c := range []struct{ capacity, low, high float64 }{
		{0, 0, 0},
		{100, 0, 0}, // below a sixteenth of the start
		{3000, 2800, 3000},
		{20_000, 18_800, 20_000},
		{94_000, 88_000, 94_000},
		{1e12, 160_000, 160_000}, // stops at the end
	} {
		tried := 0
		got, err := search(20_000, 160_000, precision, func(rate float64) (bool, error) {
			tried++
			return rate <= c.capacity, nil
		})
		if err != nil || got < c.low || got > c.high || tried > 14 {
			t.Errorf("capacity %.0f: found %.0f after %d tries (%v), want %.0f to %.0f", c.capacity, got, tried, err, c.low, c.high)
		}
	}
}

func TestSearchStopsAtError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := search(1, 100, precision, func(rate float64) (bool, error) { return rate < 4, map[bool]error{true: broken}[rate >= 4] }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}
