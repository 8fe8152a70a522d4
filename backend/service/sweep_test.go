package service_test

import (
	"strings"
	"testing"
	"time"
)

// TestSweep: a card that was deleted long ago goes with an edit of the board, for everybody, and what was deleted lately stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	b := newStore(t)
	b.clock.Store(1_700_000_000_000)
	b.start()
	day := func(n int) { b.clock.Add(int64(n) * 24 * time.Hour.Milliseconds()) }
	n := 0
	mutate := func(op do) {
		t.Helper()
		n++
		b.want("ann", "board:b", do{"do": "mutate", "mutations": []do{{"client": "c", "n": n, "schema": 1, "ops": []do{op}}}}, `"status":"committed"`)
	}
	put := func(id string) do {
		return do{"op": "put", "kind": "card", "id": id, "lane": "todo", "values": do{"title": id}}
	}
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	mutate(do{"op": "put", "kind": "column", "id": "todo", "values": do{"title": "to do"}})
	mutate(put("early"))
	mutate(put("late"))
	mutate(do{"op": "life", "kind": "card", "id": "early", "value": "deleted"})
	day(25)
	mutate(do{"op": "life", "kind": "card", "id": "late", "value": "deleted"})
	if out := b.published(); strings.Contains(out, "purged") {
		t.Fatalf("purged too early: %s", out)
	}
	day(10)
	mutate(put("new"))
	if out := b.published(); strings.Count(out, `"purged":[{"kind":"card","id":"early"}]`) != 1 {
		t.Errorf("published: %s", out)
	}
	pulled := b.ask("ann", "board:b", do{"do": "pull"})
	if strings.Contains(pulled, `"early"`) || !strings.Contains(pulled, `"late"`) {
		t.Errorf("pulled: %s", pulled)
	}
	b.wantMetric("millrace_boards_purged_total 1", `divergence_total{of="store"} 0`)
}
