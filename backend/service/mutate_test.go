package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/gateway/stream"
)

func partition(channel string) int { return stream.Partition(channel, partitions) }

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestTogether: requests of several clients that are there at once are one commit and one publication. Each gets its own results; what a
// stranger was told, under the name of another's client, nobody else hears.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := newStore(t)
	ctx := t.Context()
	if err := b.store.CreateWorkspace(ctx, "u0", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.CreateBoard(ctx, "u0", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	const users = 12
	first := b.ref + 1
	for i := range users {
		user := fmt.Sprintf("u%d", i)
		if i > 0 {
			if _, err := b.store.SetMember(ctx, "u0", "w", store.Member{User: user, Role: store.Editor}); err != nil {
				t.Fatal(err)
			}
		}
		b.open(user)
		body := column(user+"-c", 1, "column-"+user)
		body["trace"] = strings.Replace(traceparent, "4bf92f", fmt.Sprintf("4bf9%02d", i), 1)
		b.sendJSON(user, body)
		if i == 5 {
			b.open("mallory")
			b.sendJSON("mallory", column("u0-c", 1, "evil"))
		}
	}
	b.sendJSON("u0", do{"do": "pull"})
	b.start()
	if pulled := b.answer("u0"); strings.Count(pulled, "title of") != users {
		t.Errorf("a pull behind them: %s", pulled)
	}
	if n := strings.Count(b.published(), "board:b"); n != 1 {
		t.Errorf("%d publications: %s", n, b.published())
	}
	out := b.published()
	if strings.Contains(out, "no_board") || strings.Count(out, `"status":"committed"`) != users || !strings.Contains(out, fmt.Sprintf(`"from":0,"to":%d`, users)) {
		t.Errorf("published: %s", out)
	}
	if !strings.Contains(out, "trace\n"+strings.Replace(traceparent, "4bf92f", "4bf900", 1)) {
		t.Errorf("the publication does not go by the trace: %s", out)
	}
	for i := range users {
		got := b.redis.CLI("XRANGE", b.keys.Node(fmt.Sprintf("u%d", i)), "-", "+")
		if n := strings.Count(got, `"to":0`); n != 1 || strings.Count(got, `"results"`) != 1 || !strings.Contains(got, fmt.Sprintf(`"results":[{"client":"u%d-c","n":1,"seq":%d,`, i, i+1)) {
			t.Errorf("answer %d to u%d: %s", first, i, got)
		}
		if n := strings.Count(b.log.String(), fmt.Sprintf("4bf9%02d", i)); n != 1 {
			t.Errorf("the commit of u%d is logged %d times", i, n)
		}
	}
	if got := b.redis.CLI("XRANGE", b.keys.Node("mallory"), "-", "+"); !strings.Contains(got, "no_board") {
		t.Errorf("mallory is told %s", got)
	}
}

// TestTogetherInParts: more than goes together goes in parts, in order, and what is no good harms nothing.
func TestTogetherInParts(t *testing.T) {
	t.Parallel()
	b := newStore(t)
	ctx := t.Context()
	if err := b.store.CreateWorkspace(ctx, "ann", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.CreateBoard(ctx, "ann", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	b.open("ann")
	const requests = 60
	for n := 1; n <= requests; n++ {
		if n%20 == 0 {
			b.send("ann", "board:b", "{")
			b.sendJSON("ann", do{"do": "mutate"})
		}
		b.sendJSON("ann", column("c", n, fmt.Sprintf("col%d", n)))
	}
	b.sendJSON("ann", do{"do": "head"})
	b.start()
	if head := b.answer("ann"); !strings.Contains(head, fmt.Sprintf(`"seq":%d`, requests)) {
		t.Errorf("head %s", head)
	}
	if n := strings.Count(b.published(), "board:b"); n < 2 || n > 8 {
		t.Errorf("%d publications", n)
	}
	log, err := b.store.Log(ctx, "ann", "b", 0, 100)
	if err != nil || len(log) != requests {
		t.Fatalf("%d entries, %v", len(log), err)
	}
	for i, e := range log {
		if e.Mutation.N != int64(i+1) {
			t.Fatalf("entry %d is mutation %d", i, e.Mutation.N)
		}
	}
}

func (b *bed) sendJSON(user string, body any) {
	b.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(user, "board:b", string(text))
}

func TestDivergence(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	b.want("ann", "board:b", column("c", 1, "todo"), `"to":1`)
	b.want("ann", "board:b", do{"do": "pull"}, `"reset":true`)
	b.wantMetric(`divergence_total{of="client"} 0`, `divergence_total{of="store"} 0`)
	b.want("ann", "board:b", do{"do": "pull", "diverged": "0123"}, `"reset":true`)
	b.wantMetric(`divergence_total{of="client"} 1`, `divergence_total{of="store"} 0`)
	b.corrupt("UPDATE board_rows SET regs = replace(regs, 'title of', 'other')")
	b.want("ann", "board:b", do{"do": "pull"}, `"reset":true`)
	b.wantMetric(`divergence_total{of="store"} 1`)
}

func (b *bed) wantMetric(lines ...string) {
	b.t.Helper()
	var text strings.Builder
	b.set.WritePrometheus(&text)
	for _, line := range lines {
		if !strings.Contains(text.String(), line+"\n") {
			b.t.Errorf("no %s in\n%s", line, text.String())
		}
	}
}
