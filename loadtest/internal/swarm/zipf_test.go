package swarm

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// TestPopularityIsAPlan compares the arithmetic with the places written out.
func TestPopularityIsAPlan(t *testing.T) {
	for _, n := range []struct {
		clients, perClient, channels int
		exponent                     float64
	}{
		{1, 1, 1, 1}, {7, 1, 3, 1}, {7, 3, 3, 2}, {6, 2, 5, 0.8}, {10, 4, 50, 1.2}, {100, 1, 400, 1}, {50, 20, 20, 3}, {33, 5, 6, 0.01},
	} {
		name := fmt.Sprintf("%+v", n)
		p := newPopularity(n.clients, n.perClient, n.channels, n.exponent)
		places := make([]int, 0, n.clients*n.perClient)
		for c := range n.channels {
			size := p.first[c+1] - p.first[c]
			if size < 0 || size > n.clients {
				t.Fatalf("%s: channel %d has %d subscribers", name, c, size)
			}
			places = append(places, slices.Repeat([]int{c}, size)...)
		}
		if len(places) != cap(places) {
			t.Fatalf("%s: %d places, want %d", name, len(places), cap(places))
		}
		for i := range n.clients {
			mine := map[int]int{}
			for j := range n.perClient {
				c := p.channel(i, j)
				if want := places[j*n.clients+i]; c != want {
					t.Fatalf("%s: subscription %d of client %d is to %d, want %d", name, j, i, c, want)
				}
				if _, twice := mine[c]; twice {
					t.Fatalf("%s: client %d has channel %d twice", name, i, c)
				}
				mine[c] = j
			}
			for c := range n.channels {
				j, ok := p.subscription(i, c)
				if want, there := mine[c]; ok != there || ok && j != want {
					t.Fatalf("%s: client %d has channel %d as %d, %v; want %d, %v", name, i, c, j, ok, want, there)
				}
			}
		}
	}
}

func TestPopularityFollowsZipf(t *testing.T) {
	const clients, channels = 15_000, 3000
	p := newPopularity(clients, 1, channels, 1)
	harmonic := 0.0
	for r := range channels {
		harmonic += 1 / float64(r+1)
	}
	for _, rank := range []int{1, 2, 10, 100, 1000} {
		want := clients / harmonic / float64(rank)
		if got := p.first[rank] - p.first[rank-1]; math.Abs(float64(got)-want) > 1 {
			t.Errorf("the channel of rank %d has %d subscribers, want %.1f", rank, got, want)
		}
	}
}

// TestBursts: publications of a burst are due together, at the same rate, and a burst is warm-up or steady as a whole.
func TestBursts(t *testing.T) {
	cfg := testConfig(10, 2, 1, 2)
	cfg.Rate, cfg.Burst, cfg.Warmup, cfg.Duration = 200, 50, 1100*time.Millisecond, 3*time.Second
	p := newPlan(cfg, 0)
	if p.warm != 250 || p.total != 850 {
		t.Errorf("warm %d, total %d, want 250 and 850", p.warm, p.total)
	}
	for k, want := range map[int64]time.Duration{0: 0, 49: 0, 50: 250 * time.Millisecond, 99: 250 * time.Millisecond, 849: 4 * time.Second} {
		if got := time.Duration(p.due(k)); got != want {
			t.Errorf("publication %d is due at %v, want %v", k, got, want)
		}
	}
}
