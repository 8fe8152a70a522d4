package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

func key(kind, id string) do { return do{"kind": kind, "id": id} }

func bodiesOf(rows ...do) do { return do{"do": "bodies", "rows": rows} }

// TestHeads: a pull of heads has no body and says of which row; bodies come for the asking, to those who may see the board, as many as go together.
func TestHeads(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "viewer"}, `"version":1`)
	card := func(id, body string) do {
		return do{"op": "put", "kind": "card", "id": id, "lane": "todo", "values": do{"title": "title of " + id, "body": body}}
	}
	large := strings.Repeat("x", board.MaxText)
	ops := []do{
		{"op": "put", "kind": "column", "id": "todo", "values": do{"title": "to do"}},
		card("c", "long story"), card("gone", "of the dead"),
		{"op": "put", "kind": "card", "id": "short", "lane": "todo", "values": do{"title": "no body"}},
		{"op": "put", "kind": "comment", "id": "k", "values": do{"card": "c", "text": "remark"}},
		{"op": "life", "kind": "card", "id": "gone", "value": "deleted"},
	}
	for i := range 20 {
		ops = append(ops, card(fmt.Sprint("large", i), large))
	}
	for i, op := range ops {
		b.want("ann", "board:b", do{"do": "mutate", "mutations": []do{{"client": "c", "n": i + 1, "schema": 1, "ops": []do{op}}}}, `"status":"committed"`)
	}
	for _, since := range []int{0, 1} {
		heads := b.ask("eve", "board:b", do{"do": "pull", "since": since, "heads": true})
		for _, text := range []string{`"title of c"`, `"without":{"body":2}`, `"without":{"body":3}`, `"without":{"text":5}`, `"no body"`} {
			if !strings.Contains(heads, text) {
				t.Errorf("since %d: no %s in %s", since, text, heads)
			}
		}
		if strings.Contains(heads, "story") || strings.Contains(heads, "remark") || strings.Contains(heads, `"more"`) {
			t.Errorf("since %d: %s", since, heads)
		}
	}
	b.want("eve", "board:b", do{"do": "pull"}, "long story", "remark")

	b.want("eve", "board:b", bodiesOf(key("card", "c"), key("card", "none"), key("comment", "k"), key("card", "gone"), key("card", "short"), key("comment", "c")),
		`"board":"b","to":26,"rows":[{"kind":"card","id":"c","seq":2,"regs":{"body":["long story",0,"c",2]}},{"kind":"comment","id":"k"`, `"remark"`, `"of the dead"`,
		`{"kind":"card","id":"short","seq":4,"regs":{}}`, `"unknown":[{"kind":"card","id":"none"},{"kind":"comment","id":"c"}]`)
	if got := b.ask("eve", "board:b", bodiesOf(key("card", "c"))); strings.Contains(got, "title") || strings.Contains(got, "more") {
		t.Errorf("more than a body: %s", got)
	}
	b.want("eve", "board:b", bodiesOf(key("card", "none")), `"rows":[],"unknown":[{"kind":"card","id":"none"}]`)
	var all []do
	for i := range 20 {
		all = append(all, key("card", fmt.Sprint("large", i)))
	}
	page := b.ask("eve", "board:b", bodiesOf(all...))
	if n := strings.Count(page, large); n != maxPage/(board.MaxText+100) || !strings.Contains(page, `"more":true`) || strings.Contains(page, "unknown") {
		t.Errorf("%d bodies of 20 KB go together: %.200s", n, page)
	}

	b.want("eve", "board:b", bodiesOf(), `"code":413`, "1 to 500")
	many := make([]do, board.MaxBodies+1)
	for i := range many {
		many[i] = key("card", fmt.Sprint("n", i))
	}
	b.want("eve", "board:b", bodiesOf(many...), `"code":413`, "501")
	b.want("eve", "board:b", bodiesOf(many[1:]...), `"unknown":[{"kind":"card","id":"n1"}`)
	b.want("eve", "board:b", bodiesOf(key("card", "c"), key("column", "todo")), `"code":400`, "only cards and comments")
	b.want("eve", "board:b", bodiesOf(key("card", "ä\x00")), `"code":400`, "no ID")
	b.want("eve", "board:b", do{"do": "bodies", "rows": "c"}, `"code":400`, "not a request")
	b.want("mallory", "board:b", bodiesOf(key("card", "c")), `"code":404`)
	b.want("ann", "board:nowhere", bodiesOf(key("card", "c")), `"code":404`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "", "version": 1}, `"version":2`)
	b.want("eve", "board:b", bodiesOf(key("card", "c")), `"code":404`)
	b.wantMetric(`divergence_total{of="store"} 0`)
}

const maxPage = 256 << 10

// TestHeadsLevel: heads, their bodies and a whole pull make the same board, of the same hash.
func TestHeadsLevel(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	b.want("ann", "board:b", column("c", 1, "todo"), `"committed"`)
	ops := []do{{"op": "put", "kind": "card", "id": "x", "lane": "todo", "values": do{"title": "x", "body": "first"}}, {"op": "put", "kind": "comment", "id": "k", "values": do{"card": "x", "text": "ä <&>"}}}
	b.want("ann", "board:b", do{"do": "mutate", "mutations": []do{{"client": "c", "n": 2, "schema": 1, "base": 1, "ops": ops}}}, `"committed"`)
	var d board.Delta
	var bodies board.Bodies
	b.decode(b.ask("ann", "board:b", do{"do": "pull", "heads": true}), &d)
	b.decode(b.ask("ann", "board:b", bodiesOf(key("card", "x"), key("comment", "k"))), &bodies)
	table := d.Apply(board.NewTable())
	if table.Missing() != 2 {
		t.Fatalf("%d bodies are missing", table.Missing())
	}
	for _, body := range bodies.Rows {
		row, _ := table.Row(body.Key)
		table.Put(row.Filled(body))
	}
	if table.Missing() != 0 || board.FormatHash(table.Hash()) != d.Hash || d.Hash == board.FormatHash(0) {
		t.Errorf("%d bodies are missing, hash %s, want %s", table.Missing(), board.FormatHash(table.Hash()), d.Hash)
	}
}

// decode reads the JSON at the end of an answer as redis-cli prints it.
func (b *bed) decode(answer string, into any) {
	b.t.Helper()
	i := strings.Index(answer, `{"board"`)
	if i < 0 {
		b.t.Fatalf("no JSON in %s", answer)
	}
	if err := json.NewDecoder(strings.NewReader(answer[i:])).Decode(into); err != nil {
		b.t.Fatalf("%v: %s", err, answer)
	}
}
