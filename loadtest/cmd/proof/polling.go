package main

import (
	"context"
	"fmt"
)

// pollEvery is the time between two polls of a client, seconds.
const pollEvery = 5

// polling compares clients that subscribe with as many that ask every 5 s, at two rates of publication.
func (b bench) polling(ctx context.Context) (*comparison, error) {
	connections, seconds := b.size.Connections/3, 20
	if b.options.quick {
		seconds = 10
	}
	c := &comparison{
		Title: fmt.Sprintf("Push and polling: %d clients, 50 channels; those that poll ask every %d s on a connection that they keep", connections, pollEvery),
		Ways:  [2]string{"push", "polling"},
	}
	for _, rate := range []int{10, 1} {
		p := &pair{Load: fmt.Sprintf("%d publications/s", rate)}
		for i := range p.Sides {
			env := []string{"CHANNELS=50", "WARMUP=5s", fmt.Sprint("RATE=", rate)}
			s, err := b.side(ctx, load{"polling-baseline.yaml", connections, seconds, env}, func(ctx context.Context, s *stack) (*process, []string, error) {
				if i == 0 {
					return s.gateway, []string{"EVERY=0s"}, nil
				}
				err := s.startPollServer(ctx)
				return s.pollserver, []string{"POLL=" + s.pollURL, fmt.Sprint("EVERY=", pollEvery, "s")}, err
			})
			if err != nil {
				return nil, err
			}
			p.Sides[i] = s
		}
		c.Pairs = append(c.Pairs, p)
	}
	return c, nil
}

func pollingRows() []measure {
	return []measure{
		{"polls", func(s *side) float64 { return s.Polls }, perSecond("polls"), false},
		latency("age when the client learns of it, med", "med"),
		latency("age when the client learns of it, p(99)", "p(99)"),
		latency("age when the client learns of it, max", "max"),
		cpu("servers: CPU", "gateway", "pollserver"),
		cpu("  the gateway's", "gateway"),
		cpu("  the poll server's", "pollserver"),
		cpu("Redis: CPU", "redis"),
		{"server of the clients: memory of them", func(s *side) float64 { return float64(s.Memory) }, func(v float64) string { return megabytes(int64(v)) }, true},
		{"bytes both ways", func(s *side) float64 { return s.Bytes / 1e3 }, perSecond("kB"), true},
		{"deliveries", func(s *side) float64 { return float64(s.Deliveries) }, count, false},
		cpu("harness: CPU", "loadtest"),
	}
}

// judgePolling: push must be cheaper for the servers and earlier for the clients at both rates.
func judgePolling(c *comparison, quick bool, miss missFunc) {
	judgeComparison(c, miss)
	for _, p := range c.Pairs {
		for _, m := range []measure{pollingRows()[1], pollingRows()[4]} {
			push, poll := m.of(p.Sides[0]), m.of(p.Sides[1])
			miss(quick || push < poll, "polling, %s: %s: %s by push, %s by polling", p.Load, m.name, m.text(push), m.text(poll))
		}
	}
}
