package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// TestImportExport: what is imported comes out again, and an import that is repeated makes nothing twice.
func TestImportExport(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		b := newBed(t, s)
		b.ask("ann", "POST", "/v1/workspaces", `{"id":"w","name":"W"}`).want(201)
		var text strings.Builder
		text.WriteString("title,column\n")
		const cards = 450 // in several commits
		for i := range cards {
			fmt.Fprintf(&text, "card %d,column %d\n", i, i%7)
		}
		path := "/v1/workspaces/w/imports?format=csv&board=plan&title=Plan"
		b.ask("ann", "POST", path, text.String()).want(201, `"title":"Plan"`, `"card":450`, `"skipped":[]`)
		b.ask("ann", "POST", path, text.String()).want(201, `"seq":5`)
		b.ask("ann", "POST", path, text.String()+"another,x\n").want(409, "exists")
		b.ask("ann", "POST", "/v1/workspaces/w/imports?format=csv", "title\nx\n").want(201, `"title":"Imported board"`)
		b.ask("ann", "POST", "/v1/workspaces/w/imports?format=trello", `{"name":"T","lists":[{"id":"l","name":"L"}],"cards":[]}`).want(201, `"title":"T"`, `"column":1`)
		b.ask("ann", "POST", "/v1/workspaces/w/imports?format=trello", `{}`).want(422, "no lists", "repair the file")
		b.ask("ann", "POST", "/v1/workspaces/w/imports?format=xml", ``).want(400, "trello or csv")
		b.ask("eve", "POST", "/v1/workspaces/w/imports?format=csv", "title\nx\n").want(404)
		b.ask("ann", "POST", "/v1/workspaces/w/imports?format=csv", strings.Repeat("x", maxImport+1)).want(413)

		rows := board.NewTable()
		state := b.ask("ann", "GET", "/v1/boards/plan/export", "").want(200)
		last := ""
		n := 0
		for line := range strings.Lines(state.body) {
			var l struct{ Row *board.Row }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.Row != nil {
				rows.Put(l.Row)
				n++
			}
			last = line
		}
		now, err := s.Board(t.Context(), "ann", "plan")
		if err != nil {
			t.Fatal(err)
		}
		if n != cards+7 || last != fmt.Sprintf("{\"end\":{\"seq\":5,\"lines\":%d}}\n", n) || board.FormatHash(rows.Hash()) != now.Hash {
			t.Errorf("%d rows with the hash %x, at the end %s", n, rows.Hash(), last)
		}
		operations := b.ask("ann", "GET", "/v1/boards/plan/export?of=operations", "").want(200, `{"board":{"id":"plan"`, `"user":"ann"`)
		if !strings.HasSuffix(operations.body, "{\"end\":{\"seq\":5,\"lines\":5}}\n") || strings.Count(operations.body, `{"entry":`) != 5 {
			t.Errorf("operations: %d lines", strings.Count(operations.body, "\n"))
		}
		b.ask("ann", "GET", "/v1/boards/plan/export?of=everything", "").want(400, "state or operations")
		b.ask("eve", "GET", "/v1/boards/plan/export", "").want(404)
	})
}
