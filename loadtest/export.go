package loadtest

import (
	"crypto/md5" //nolint:gosec // k6 names groups and checks by it; nothing is secret
	"fmt"
	"io"
)

// WriteExport writes the summary in the format of k6's --summary-export. As there, true beside a threshold means that it was crossed.
func (rep *Report) WriteExport(w io.Writer) error {
	metrics := make(map[string]map[string]any, len(rep.Metrics))
	for name, m := range rep.Metrics {
		out := make(map[string]any, len(m.Values)+1)
		for k, v := range m.Values {
			out[k] = v
		}
		metrics[name] = out
	}
	for _, t := range rep.Thresholds {
		m := metrics[t.Metric]
		if m == nil {
			m = map[string]any{t.Method: t.Value}
			metrics[t.Metric] = m
		}
		crossed, _ := m["thresholds"].(map[string]bool)
		if crossed == nil {
			crossed = make(map[string]bool)
			m["thresholds"] = crossed
		}
		crossed[t.Threshold] = !t.OK
	}
	checks := make(map[string]any)
	for name, n := range rep.Metrics["checks"].Counts {
		path := "::" + name
		passes := rep.Metrics["checks"].Passes[name]
		checks[name] = map[string]any{"name": name, "path": path, "id": fmt.Sprintf("%x", md5.Sum([]byte(path))), "passes": passes, "fails": n - passes}
	}
	root := map[string]any{"name": "", "path": "", "id": fmt.Sprintf("%x", md5.Sum(nil)), "groups": map[string]any{}, "checks": checks}
	return writeJSON(w, map[string]any{"metrics": metrics, "root_group": root})
}
