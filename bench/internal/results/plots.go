package results

import (
	"fmt"
	"maps"
	"slices"
)

// plots are the drawings, by the name of their file.
func (r *Run) plots() map[string]string {
	files := map[string]string{
		"connections.svg": bars("CPU per accepted and subscribed connection, us (less is better)", "%.0f us", r.bars(pick(connect).server())),
		"memory.svg":      bars("Bytes per connection (less is better)", "%.0f", r.bars(bytesPerConn)),
		"highest.svg":     bars(fmt.Sprintf("Highest deliveries/s with p99 <= %.0f ms (more is better)", r.Size.Target), "%.0f", r.bars(highest)),
		"bursts.svg":      bars(fmt.Sprintf("The same with %d channels a connection, in bursts (more is better)", r.Size.PerClient), "%.0f", r.bars(bursts)),
		"requests.svg":    bars(fmt.Sprintf("p99 of %d requests a second, ms (less is better)", r.Size.Requests), "%.1f ms", r.bars(pick(requests).p99())),
		"latency.svg":     curves("Latency by rate", "deliveries a second", "p99, ms", r.Size.Target, r.curves()),
	}
	for i, n := range r.Size.Rates {
		files[fmt.Sprintf("cpu-%d.svg", n)] = bars(fmt.Sprintf("CPU per delivery of the server at %d/s, us (less is better)", n), "%.1f us", r.bars(rate(i).server()))
	}
	return files
}

func (r *Run) bars(m measure) (list []bar) {
	for _, c := range r.Contestants {
		if s := r.over(c.Name, m); s.rounds > 0 {
			list = append(list, bar{c.Name, s})
		}
	}
	return list
}

// curves are the steps of all searches: the median p99 of each rate that was tried.
func (r *Run) curves() (list []curve) {
	for _, e := range r.Contestants {
		tried := make(map[float64][]value)
		for _, row := range r.rows(e.Name) {
			if row.Highest == nil {
				continue
			}
			for _, s := range row.Highest.Steps {
				tried[s.Rate] = append(tried[s.Rate], value{v: s.P99, there: s.P99 > 0})
			}
		}
		c := curve{name: e.Name}
		for _, rate := range slices.Sorted(maps.Keys(tried)) {
			if s := summarize(tried[rate]); s.rounds > 0 {
				c.points = append(c.points, point{rate, s.median})
			}
		}
		if len(c.points) > 0 {
			list = append(list, c)
		}
	}
	return list
}
