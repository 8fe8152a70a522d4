package service_test

import (
	"testing"
	"time"
)

// TestHealthOfSync: what a lost value, a group, a clock and a copy that went another way leave in the metrics.
func TestHealthOfSync(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.clock.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	title := func(client string, n int, ago time.Duration, text string) do {
		return do{"do": "mutate", "mutations": []do{{"client": client, "n": n, "schema": 1, "base": 1, "ts": b.now().Add(-ago).UnixMicro(), "ops": []do{
			{"op": "set", "kind": "column", "id": "todo", "group": "title", "value": text},
		}}}}
	}
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	made := column("maker", 1, "todo")
	made["mutations"].([]do)[0]["ts"] = b.now().Add(-time.Hour).UnixMicro()
	b.want("ann", "board:b", made, `"status":"committed"`)
	b.wantMetric(`millrace_boards_divergence_total{of="client"} 0`, `millrace_boards_divergence_total{of="store"} 0`)
	b.want("ann", "board:b", title("late", 1, time.Second, "meant later"), `"status":"committed"`)
	b.want("ann", "board:b", title("early", 1, time.Minute, "meant before"), `"status":"superseded"`)
	b.want("ann", "board:b", do{"do": "pull", "since": 3, "client": "late", "diverged": "0000000000000001"}, `"to":3`)
	b.wantMetric(
		`millrace_boards_conflicts_total{field="title"} 1`,
		`millrace_boards_mutations_total{result="committed"} 2`,
		`millrace_boards_mutations_total{result="superseded"} 1`,
		`millrace_boards_commit_seconds_count 3`,
		`millrace_boards_commit_mutations_count 3`,
		`millrace_boards_commit_mutations_sum 3`,
		`millrace_boards_clock_skew_seconds_sum 3661`,
		`millrace_boards_divergence_total{of="client"} 1`,
		`millrace_boards_divergence_total{of="store"} 0`,
	)
}
