package results

import (
	"cmp"
	"fmt"
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

// curves are the steps of the searches in the last round of each contestant.
func (r *Run) curves() (list []curve) {
	for _, e := range r.Contestants {
		c := curve{name: e.Name}
		for _, row := range r.Rows {
			if row.Contestant != e.Name || row.Highest == nil {
				continue
			}
			c.points = nil
			for _, s := range row.Highest.Steps {
				if s.P99 > 0 {
					c.points = append(c.points, point{s.Rate, s.P99})
				}
			}
		}
		slices.SortFunc(c.points, func(a, b point) int { return cmp.Compare(a.x, b.x) })
		if len(c.points) > 0 {
			list = append(list, c)
		}
	}
	return list
}
