package target

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// metricsSource reads a Prometheus text page.
type metricsSource struct {
	url    string
	client *http.Client
	wants  map[string][]want // by name of the line
}

// openMetrics makes a source. withoutProcess leaves CPU and memory to others.
func openMetrics(address string, wants []want, withoutProcess bool) (source, string, error) {
	name, err := host(address, "http", "https")
	if err != nil {
		return nil, "", err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // a proxy would be measured too
	m := &metricsSource{url: address, client: &http.Client{Transport: transport}, wants: make(map[string][]want)}
	for _, w := range wants {
		if w.from.name == "" || withoutProcess && (w.entry == "server_cpu" || w.entry == "server_rss") {
			continue
		}
		line := w.from.name
		if w.mode == histogram {
			line += "_bucket"
		}
		m.wants[line] = append(m.wants[line], w)
	}
	return m, name, nil
}

func (m *metricsSource) close() { m.client.CloseIdleConnections() }

func (m *metricsSource) read(ctx context.Context) (readings, error) {
	r := readings{values: make(map[string]float64), buckets: make(map[string]map[float64]int64)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil {
		return r, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	res, err := m.client.Do(req)
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return r, fmt.Errorf("it answers %s", res.Status)
	}
	cumulative := make(map[string]*ladder)
	err = parseText(res.Body, func(l line) {
		for _, w := range m.wants[l.name] {
			switch {
			case !w.matches(l):
			case w.mode == histogram:
				if cumulative[w.entry] == nil {
					cumulative[w.entry] = &ladder{le: make(map[float64]float64), ranges: make(map[float64]int64)}
				}
				cumulative[w.entry].add(l)
			default:
				r.values[w.entry] += l.value
			}
		}
	})
	for entry, c := range cumulative {
		r.buckets[entry] = c.buckets()
	}
	return r, err
}

// ladder is a histogram while it is read: of Prometheus's buckets, each of which has those below in it, or of VictoriaMetrics' ranges,
// which have their own values only. Histograms with different labels add up.
type ladder struct {
	le     map[float64]float64
	ranges map[float64]int64
}

func (c *ladder) add(l line) {
	if math.IsNaN(l.value) || l.value < 0 || l.value > math.MaxInt64/2 {
		return
	}
	if text, ok := l.label("le"); ok {
		if top, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(top) {
			c.le[top] += l.value
		}
	} else if text, ok := l.label("vmrange"); ok {
		_, high, _ := strings.Cut(text, "...")
		if top, err := strconv.ParseFloat(high, 64); err == nil && !math.IsNaN(top) {
			c.ranges[top] += int64(l.value)
		}
	}
}

// buckets are the values by the upper end of their bucket. What is above all bounds counts as the highest of them, doubled.
func (c *ladder) buckets() map[float64]int64 {
	out := make(map[float64]int64, len(c.le)+len(c.ranges))
	tops := sortedKeys(c.le)
	below, finite := 0.0, 0.0
	for _, top := range tops {
		n := max(c.le[top]-below, 0)
		below = max(below, c.le[top])
		if math.IsInf(top, 1) {
			top = 2 * finite
		}
		finite = top
		out[top] += int64(n)
	}
	finite = 0
	for _, top := range sortedKeys(c.ranges) {
		at := top
		if math.IsInf(top, 1) {
			at = 2 * finite
		}
		finite = at
		out[at] += c.ranges[top]
	}
	return out
}
