package main

import (
	"context"
	"fmt"
)

// claimed is by how much one connection with many channels is to cost the server less than a connection for each channel.
const claimed = 0.73

// multiplex compares 150 clients with one connection of 100 channels with the same clients on a connection for each channel.
func (b bench) multiplex(ctx context.Context) (*comparison, error) {
	const perClient = 100
	subscriptions := b.size.Connections / perClient * perClient
	seconds := 12
	if b.options.quick {
		seconds = 5
	}
	channels := fmt.Sprint("CHANNELS=", max(b.size.Channels, perClient))
	burst := fmt.Sprint("BURST=", max(b.size.Channels, perClient))
	c := &comparison{
		Title: fmt.Sprintf("Multiplex: %d subscriptions, on connections with %d channels each and with one each", subscriptions, perClient),
		Ways:  [2]string{fmt.Sprintf("%d channels each", perClient), "one channel each"},
	}
	for _, l := range []struct {
		name, scenario string
		env            []string
	}{
		{"quiet: heartbeats only", "idle.yaml", nil},
		{"publications one by one", "multiplex.yaml", []string{"P99=1000"}},
		{"publications on all channels at once", "multiplex.yaml", []string{"P99=1000", burst}},
	} {
		p := &pair{Load: l.name}
		for i, each := range []int{perClient, 1} {
			env := append([]string{channels, fmt.Sprint("SUBSCRIPTIONS=", each)}, l.env...)
			s, err := b.side(ctx, load{l.scenario, subscriptions / each, seconds, env}, func(_ context.Context, s *stack) (*process, []string, error) { return s.gateway, nil, nil })
			if err != nil {
				return nil, err
			}
			p.Sides[i] = s
		}
		c.Pairs = append(c.Pairs, p)
	}
	return c, nil
}

// multiplexRows are the lines of the table; judgeMultiplex takes the second and third.
func multiplexRows() []measure {
	return []measure{
		{"connections", func(s *side) float64 { return float64(s.Connections) }, count, true},
		{"gateway: CPU to open and subscribe", func(s *side) float64 { return s.OpenCPU }, milliseconds, true},
		{"gateway: memory of them, collected", func(s *side) float64 { return float64(s.Memory) }, func(v float64) string { return megabytes(int64(v)) }, true},
		cpu("gateway: CPU", "gateway"),
		cpu("Redis: CPU", "redis"),
		{"gateway: CPU per delivery", perDelivery("gateway"), func(v float64) string { return fmt.Sprintf("%.2f us", v) }, true},
		{"bytes both ways", func(s *side) float64 { return s.Bytes / 1e3 }, perSecond("kB"), true},
		{"deliveries", func(s *side) float64 { return float64(s.Deliveries) }, count, false},
		latency("due to received, med", "med"),
		latency("due to received, p(99)", "p(99)"),
		cpu("harness: CPU", "loadtest"),
	}
}

// perDelivery is the processor time of a process, us for each delivery.
func perDelivery(process string) func(*side) float64 {
	return func(s *side) float64 {
		if s.Deliveries == 0 || s.Seconds == 0 {
			return 0
		}
		return s.CPU[process] * 1e3 * s.Seconds / float64(s.Deliveries)
	}
}

// judgeMultiplex holds the claim against what connections cost: their opening and their memory. What a gateway does without any, and what
// deliveries cost, is the same for both, so that the processor time of the steady phase is shown and not judged.
func judgeMultiplex(c *comparison, quick bool, miss missFunc) {
	judgeComparison(c, miss)
	quiet := c.Pairs[0].Sides
	for _, m := range multiplexRows()[1:3] {
		got := less(m.of(quiet[0]), m.of(quiet[1]))
		miss(quick || got <= -claimed, "multiplex: %s: %+.0f %%, target %+.0f %%", m.name, 100*got, -100*claimed)
	}
}
