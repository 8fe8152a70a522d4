package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/gateway/client"
)

// benchSnapshot: a client that has nothing pulls a large board, page after page: whole, its heads, and its heads and then all bodies.
func benchSnapshot(t *testing.T, out *bytes.Buffer, stores []string, s size) {
	fmt.Fprintf(out, "\nA board of %d columns and %d cards with a text of 420 bytes each, pulled by a client that has nothing; %d times\n\n", s.columns, s.cards, s.pulls)
	fmt.Fprintln(out, "| store | what | bytes | answers | first p50 ms | all p50 ms | all p99 ms |\n|---|---|--:|--:|--:|--:|--:|")
	for _, name := range stores {
		t.Run("snapshot/"+name, func(t *testing.T) {
			sys := startBoards(t, database(t, name))
			sys.fill(t, 1)
			conn := sys.dial(t)
			makeCards(t, conn, s)
			for _, what := range []string{"whole", "heads", "heads, then bodies"} {
				var first, all []time.Duration
				var got fetched
				for range s.pulls {
					got = fetched{start: time.Now()}
					rows := got.pull(t, conn, what != "whole")
					if what == "heads, then bodies" {
						got.bodies(t, conn, rows)
					}
					first, all = append(first, got.first), append(all, time.Since(got.start))
				}
				if want := s.cards; (what == "heads, then bodies") != (got.filled == want) {
					t.Errorf("%s: %d bodies, want %d", what, got.filled, want)
				}
				fmt.Fprintf(out, "| %s | %s | %d | %d | %.1f | %.1f | %.1f |\n", name, what, got.bytes, got.answers, ms(first, 50), ms(all, 50), ms(all, 99))
			}
		})
	}
}

// fetched is what a client has got of a board.
type fetched struct {
	start          time.Time
	first          time.Duration // until the first answer
	bytes, answers int
	filled         int // bodies that came by themselves
}

func (f *fetched) ask(t *testing.T, conn *client.Conn, body []byte, into any) {
	t.Helper()
	answer, err := conn.Request(t.Context(), "board:b0", body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatal(err)
	}
	if f.answers++; f.answers == 1 {
		f.first = time.Since(f.start)
	}
	f.bytes += len(answer)
}

// pull pulls everything, and lists what lacks its body.
func (f *fetched) pull(t *testing.T, conn *client.Conn, heads bool) (without []board.Key) {
	t.Helper()
	for since, more := int64(0), true; more; {
		var d struct {
			To   int64
			More bool
			Rows []struct {
				board.Key
				Without map[string]int64
			}
		}
		f.ask(t, conn, fmt.Appendf(nil, `{"do":"pull","since":%d,"heads":%v}`, since, heads), &d)
		since, more = d.To, d.More
		for _, row := range d.Rows {
			if row.Without != nil {
				without = append(without, row.Key)
			}
		}
	}
	return without
}

// bodies fetches bodies, as many at a time as may be.
func (f *fetched) bodies(t *testing.T, conn *client.Conn, rows []board.Key) {
	t.Helper()
	for len(rows) > 0 {
		body, err := json.Marshal(map[string]any{"do": "bodies", "rows": rows[:min(len(rows), board.MaxBodies)]})
		if err != nil {
			t.Fatal(err)
		}
		var b struct{ Rows []board.Key }
		f.ask(t, conn, body, &b)
		if len(b.Rows) == 0 {
			t.Fatal("an answer without bodies")
		}
		rows, f.filled = rows[len(b.Rows):], f.filled+len(b.Rows)
	}
}

func makeCards(t *testing.T, conn *client.Conn, s size) {
	t.Helper()
	var ops []any
	for i := range s.columns {
		ops = append(ops, map[string]any{"op": "put", "kind": "column", "id": fmt.Sprintf("column-%d", i), "values": map[string]any{"title": fmt.Sprintf("Column %d", i)}})
	}
	for i := range s.cards {
		values := map[string]any{"title": fmt.Sprintf("What is to be done, number %d", i), "prio": i % 5, "body": strings.Repeat("Some words about it. ", 20)}
		ops = append(ops, map[string]any{"op": "put", "kind": "card", "id": fmt.Sprintf("card-%d", i), "lane": fmt.Sprintf("column-%d", i%s.columns), "values": values})
	}
	for n := 1; len(ops) > 0; n++ {
		k := min(len(ops), 100)
		m := map[string]any{"client": "maker", "n": n, "schema": 1, "ops": ops[:k]}
		ask(t, conn, "board:b0", map[string]any{"do": "mutate", "mutations": []any{m}}, nil)
		ops = ops[k:]
	}
}
