package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/replica"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/memory"
)

// TestDocument: what is served is in the document, and the reverse.
func TestDocument(t *testing.T) {
	d := readDocument()
	var served, described, ids []string
	for _, r := range newBed(t, memory.New(board.Rules{}, nil)).api.routes() {
		served = append(served, r.method+" "+r.path)
		if op := d.Paths[r.path][strings.ToLower(r.method)]; r.open != (op.Security != nil) {
			t.Errorf("%s %s: open is %v, the document says %v", r.method, r.path, r.open, op.Security)
		}
	}
	for path, ops := range d.Paths {
		for method, op := range ops {
			described = append(described, strings.ToUpper(method)+" "+path)
			ids = append(ids, op.OperationID)
			var params []string
			for _, p := range op.Parameters {
				if p.In == "path" {
					params = append(params, "{"+p.Name+"}")
				}
			}
			if in := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(in, params) {
				t.Errorf("%s: the path has %v, its parameters are %v", path, in, params)
			}
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served:\n%s\nin the document:\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) || ids[0] == "" {
		t.Errorf("operations without a name of their own: %v", ids)
	}
	used := make(map[string]bool)
	for _, ref := range regexp.MustCompile(`"\$ref": "#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(string(document), -1) {
		used[ref[1]+ref[2]] = true
		_, isSchema := d.Components.Schemas[ref[2]]
		_, isResponse := d.Components.Responses[ref[2]]
		if ref[1] == "schemas" && !isSchema || ref[1] == "responses" && !isResponse {
			t.Errorf("%s leads nowhere", ref[0])
		}
	}
	for name := range maps.Keys(d.Components.Schemas) {
		if !used["schemas"+name] {
			t.Errorf("nothing uses the schema %s", name)
		}
	}
}

// TestWorkspaces walks through what there is to do with workspaces, members and boards.
func TestWorkspaces(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		b := newBed(t, s)
		b.ask("", "GET", "/openapi.json", "").want(200, `"openapi": "3.1.0"`)
		b.ask("ann", "GET", "/v1/me", "").want(200, `"user":"ann"`)
		b.ask("ann", "POST", "/v1/workspaces", `{"id":"w","name":"Work <b>"}`).want(201, `{"id":"w","name":"Work <b>","role":"owner"}`)
		b.ask("bob", "POST", "/v1/workspaces", `{"id":"w","name":"Mine"}`).want(409, "urn:millrace:problem:exists", "hint")
		b.ask("ann", "POST", "/v1/workspaces", `{"id":"ä","name":"W"}`).want(400, "no ID")
		b.ask("ann", "POST", "/v1/workspaces", `{"name":""}`).want(400, "1 to 1000")
		b.ask("ann", "POST", "/v1/workspaces", `{"name":"x\u0000"}`).want(400, "U+0000")
		if loc := b.ask("zoe", "POST", "/v1/workspaces", `{"name":"named by the server"}`).want(201).header.Get("Location"); len(loc) < 30 {
			t.Errorf("made at %q", loc)
		}
		b.ask("ann", "GET", "/v1/workspaces", "").want(200, `"items":[{"id":"w",`)
		b.ask("ann", "GET", "/v1/workspaces/w", "").want(200, `"name":"Work <b>"`)

		member := "/v1/workspaces/w/members/bob"
		b.ask("ann", "GET", member, "").want(404, "If-None-Match")
		b.ask("ann", "PUT", member, `{"role":"editor"}`).want(428, "If-Match")
		b.ask("ann", "PUT", member, `{"role":"king"}`, "If-None-Match: *").want(400, "owner, editor or viewer")
		b.ask("ann", "PUT", "/v1/workspaces/w/members/b%20b", `{"role":"editor"}`, "If-None-Match: *").want(400, "printable")
		if tag := b.ask("ann", "PUT", member, `{"role":"editor"}`, "If-None-Match: *").want(200, `"version":1`).header.Get("ETag"); tag != `"1"` {
			t.Errorf("ETag %s", tag)
		}
		b.ask("ann", "PUT", member, `{"role":"viewer"}`, "If-None-Match: *").want(412, `"current":{"user":"bob","role":"editor","version":1}`)
		b.ask("ann", "PUT", member, `{"role":"viewer"}`, `If-Match: W/"1"`).want(400, "no version")
		b.ask("ann", "PUT", member, `{"role":"viewer"}`, `If-Match: "7"`).want(412, `"version":1`)
		b.ask("bob", "PUT", "/v1/workspaces/w/members/eve", `{"role":"viewer"}`, "If-None-Match: *").want(403, "denied")
		b.ask("ann", "PUT", "/v1/workspaces/w/members/ann", `{"role":"viewer"}`, `If-Match: "1"`).want(409, "last-owner")
		b.ask("bob", "GET", "/v1/workspaces/w/members", "").want(200, `"ann"`, `"bob"`)
		b.ask("bob", "GET", member, "").want(200, `"editor"`)

		b.ask("bob", "POST", "/v1/workspaces/w/boards", `{"id":"b","title":"Plan"}`).want(201, `"role":"editor"`, `"version":1`)
		b.ask("bob", "POST", "/v1/workspaces/w/boards", `{"id":"b","title":"Plan"}`).want(409)
		b.ask("zoe", "POST", "/v1/workspaces/w/boards", `{"id":"b2","title":"Plan"}`).want(404)
		b.ask("bob", "PATCH", "/v1/boards/b", `{"title":"New"}`).want(428)
		b.ask("bob", "PATCH", "/v1/boards/b", `{"title":"New"}`, `If-Match: "1"`).want(200, `"title":"New"`)
		b.ask("ann", "PATCH", "/v1/boards/b", `{"title":"Old"}`, `If-Match: "1"`).want(412, `"title":"New"`, `"version":2`)
		if tag := b.ask("ann", "GET", "/v1/boards/b", "").want(200).header.Get("ETag"); tag != `"2"` {
			t.Errorf("ETag %s", tag)
		}

		b.ask("ann", "DELETE", member, "", `If-Match: "1"`).want(204)
		b.mu.Lock()
		if want := "[board:b bob cursor:b bob workspace:w bob]"; fmt.Sprint(b.revoked) != want {
			t.Errorf("revoked %v, want %s", b.revoked, want)
		}
		b.fail = errors.New("redis is away")
		b.mu.Unlock()
		b.ask("bob", "GET", "/v1/boards/b", "").want(404)
		b.ask("ann", "PUT", member, `{"role":"viewer"}`, `If-Match: "2"`).want(200, `"version":3`)
		b.ask("ann", "DELETE", member, "", `If-Match: "3"`).want(503, "try again")
		b.ask("bob", "GET", "/v1/boards/b", "").want(404)
		b.ask("ann", "GET", member, "").want(404)
	})
}

// fill makes ann's workspace w with the board b, on which she and bob have worked.
func (b *bed) fill(user, workspace, id, word string) {
	b.t.Helper()
	ctx := b.t.Context()
	check := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	check(b.store.CreateWorkspace(ctx, user, workspace, "Workspace "+word))
	_, err := b.store.SetMember(ctx, user, workspace, store.Member{User: "bob-" + word, Role: store.Editor})
	check(err)
	_, err = b.store.CreateBoard(ctx, user, workspace, id, "Board "+word)
	check(err)
	put := func(kind, name, lane, title string) board.Op {
		return board.Op{Op: board.OpPut, Kind: kind, ID: name, Lane: lane, Values: map[string]board.Value{"title": board.Text(title)}}
	}
	title := func(text string) board.Op {
		v := board.Text(text)
		return board.Op{Op: board.OpSet, Kind: board.KindCard, ID: "c-" + word, Group: "title", Value: &v}
	}
	mutation := func(who, client string, n int64, ops ...board.Op) *board.Mutation {
		return &board.Mutation{Client: client, N: n, Schema: board.Schema, TS: n + int64('z'-client[0])*10, User: who, Ops: ops}
	}
	d, err := b.store.Commit(ctx, id, []*board.Mutation{
		mutation(user, "x", 1, put(board.KindColumn, "todo", "", "To do "+word)),
		mutation(user, "x", 2, put(board.KindCard, "c-"+word, "todo", "first "+word)),
		mutation("bob-"+word, "y", 1, title("second "+word)),
		mutation(user, "x", 3, title("third "+word)),
		mutation("bob-"+word, "y", 2, title("fourth "+word)),
	})
	check(err)
	if d.To != 5 || len(d.Conflicts) != 2 {
		b.t.Fatalf("%+v", d)
	}
}

func TestBoards(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		b := newBed(t, s)
		b.fill("ann", "w", "b", "canary")
		a := b.ask("ann", "GET", "/v1/boards/b/snapshot", "").want(200, `"reset":true`, "third canary", `"to":5`)
		tag := a.header.Get("ETag")
		if a := b.ask("ann", "GET", "/v1/boards/b/snapshot", "", "If-None-Match: "+tag).want(304); a.body != "" || a.header.Get("ETag") != tag {
			t.Errorf("%q %v", a.body, a.header)
		}
		if got := b.ask("ann", "GET", "/v1/boards/b/snapshots/5", "").want(200, "third canary").header.Get("Cache-Control"); got != "private, max-age=31536000, immutable" {
			t.Errorf("Cache-Control: %s", got)
		}
		b.ask("ann", "GET", "/v1/boards/b/snapshots/4", "").want(404, "the board is at 5")
		b.ask("ann", "GET", "/v1/boards/b/snapshots/x", "").want(404, "no sequence number")
		var snapshot board.Delta
		if err := json.Unmarshal([]byte(a.body), &snapshot); err != nil {
			t.Fatal(err)
		}
		if hash := board.FormatHash(snapshot.Apply(board.NewTable()).Hash()); hash != snapshot.Hash {
			t.Errorf("the rows have the hash %s, the answer says %s", hash, snapshot.Hash)
		}

		b.ask("ann", "GET", "/v1/boards/b/snapshot?view=tails", "").want(400, "whole or heads")
		b.ask("ann", "GET", "/v1/boards/b/snapshots/5?view=tails", "").want(400, "whole or heads")

		path := "/v1/boards/b/cards/c-canary/history"
		h := b.ask("ann", "GET", path+"?limit=3", "").want(200, "fourth canary", "third canary", "second canary", `"user":"bob-canary"`)
		b.ask("ann", "GET", path+"?limit=3&after="+h.next(), "").want(200, "first canary")
		b.ask("ann", "GET", "/v1/boards/b/cards/none/history", "").want(200, `{"items":[]}`)
		c := b.ask("ann", "GET", "/v1/boards/b/conflicts?limit=1", "").want(200, `"lost_by":`, `"kept_by":`)
		b.ask("ann", "GET", "/v1/boards/b/conflicts?limit=1&after="+c.next(), "").want(200, `"lost"`)
		b.ask("ann", "GET", "/v1/search?q=THIRD+can", "").want(200, `"text":"third canary"`)
		b.ask("ann", "GET", "/v1/search?q=first", "").want(200, `{"items":[]}`)
		b.ask("ann", "GET", "/v1/search?q=!", "").want(400, "no words")
		b.ask("ann", "GET", "/v1/search?q=x&board=ä", "").want(400, "no ID")
		b.ask("ann", "GET", "/v1/search?q=x&after=%2b", "").want(400, "after")
		b.ask("ann", "GET", path+"?limit=0", "").want(400, "limit")
	})
}

// TestHeads: heads are the board without its texts and with its hash, under a tag of their own; with the bodies they are the board.
func TestHeads(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		b := newBed(t, s)
		b.fill("ann", "w", "b", "canary")
		text := board.Text("long story")
		ops := []board.Op{
			{Op: board.OpText, ID: "c-canary", Value: &text},
			{Op: board.OpPut, Kind: board.KindComment, ID: "k", Values: map[string]board.Value{board.GroupCard: board.Text("c-canary"), board.GroupText: text}},
		}
		if _, err := s.Commit(t.Context(), "b", []*board.Mutation{{Client: "t", N: 1, Schema: board.Schema, User: "ann", Ops: ops}}); err != nil {
			t.Fatal(err)
		}
		const path = "/v1/boards/b/snapshot"
		whole := b.ask("ann", "GET", path, "").want(200, "long story")
		if again := b.ask("ann", "GET", path+"?view=whole", "").want(200); again.body != whole.body || again.header.Get("ETag") != whole.header.Get("ETag") {
			t.Errorf("view=whole is %s", again.body)
		}
		heads := b.ask("ann", "GET", path+"?view=heads", "").want(200, "fourth canary", `"without":{"body":6}`, `"without":{"text":6}`)
		at := b.ask("ann", "GET", "/v1/boards/b/snapshots/6?view=heads", "").want(200)
		if tag := heads.header.Get("ETag"); strings.Contains(heads.body, "story") || at.body != heads.body || tag == whole.header.Get("ETag") || tag != at.header.Get("ETag") {
			t.Errorf("%s: %s\n%s", tag, heads.body, at.body)
		}
		b.ask("ann", "GET", path+"?view=heads", "", "If-None-Match: "+heads.header.Get("ETag")).want(304)
		b.ask("ann", "GET", path+"?view=heads", "", "If-None-Match: "+whole.header.Get("ETag")).want(200)
		b.ask("ann", "GET", path, "", "If-None-Match: "+heads.header.Get("ETag")).want(200, "long story")
		b.ask("mallory", "GET", path+"?view=heads", "").want(404)

		copied := replica.New(replica.State{Board: "b", User: "ann", Client: "copy"}, board.Rules{})
		var d board.Delta
		if err := json.Unmarshal([]byte(heads.body), &d); err != nil {
			t.Fatal(err)
		}
		if need := copied.Receive(&d); need != replica.Nothing || copied.Base().Missing() != 2 {
			t.Fatalf("need %d, %d bodies are missing", need, copied.Base().Missing())
		}
		rows, seq, err := s.Rows(t.Context(), "ann", "b", slices.Collect(copied.Base().MissingKeys()))
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			rows[i] = row.Body()
		}
		if need := copied.ReceiveBodies(&board.Bodies{To: seq, Rows: rows}); need != replica.Nothing || copied.Base().Missing() != 0 || board.FormatHash(copied.Base().Hash()) != d.Hash {
			t.Errorf("need %d, %d bodies are missing", need, copied.Base().Missing())
		}
	})
}

func TestPages(t *testing.T) {
	b := newBed(t, memory.New(board.Rules{}, nil))
	b.ask("ann", "POST", "/v1/workspaces", `{"id":"w","name":"W"}`).want(201)
	b.ask("ann", "POST", "/v1/workspaces", `{"id":"v","name":"V"}`).want(201)
	for i := range 5 {
		b.ask("ann", "POST", "/v1/workspaces/w/boards", fmt.Sprintf(`{"id":"b%d","title":"B"}`, i)).want(201)
	}
	b.ask("ann", "POST", "/v1/workspaces/v/boards", `{"id":"a","title":"B"}`).want(201)
	for path, want := range map[string]string{"/v1/boards": "a b0 b1 b2 b3 b4", "/v1/workspaces/w/boards": "b0 b1 b2 b3 b4", "/v1/workspaces/v/boards": "a"} {
		var got []string
		for after := ""; ; {
			a := b.ask("ann", "GET", path+"?limit=2&after="+after, "").want(200)
			var p struct{ Items []store.Board }
			if err := json.Unmarshal([]byte(a.body), &p); err != nil {
				t.Fatal(err)
			}
			for _, one := range p.Items {
				got = append(got, one.ID)
			}
			if after = a.next(); after == "" {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", path, got, want)
		}
	}
}

// TestNoLeak: what a user asks about another tenant's IDs, on every route, is answered 403 or 404, and says nothing of theirs.
func TestNoLeak(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		b := newBed(t, s)
		b.fill("ann", "w-ann", "b-ann", "canary")
		b.fill("mallory", "w-mallory", "b-mallory", "own")
		own := map[string]bool{ // routes that name nothing of anybody's
			"GET /openapi.json": true, "POST /demo/token": true, "GET /v1/me": true, "GET /v1/workspaces": true, "POST /v1/workspaces": true, "GET /v1/boards": true, "GET /v1/search": true,
		}
		bodies := map[string]string{
			"POST /demo/token": `{"user":"mallory"}`, "POST /v1/workspaces": `{"name":"N"}`, "POST /v1/workspaces/{workspace}/boards": `{"title":"T"}`,
			"PUT /v1/workspaces/{workspace}/members/{user}": `{"role":"owner"}`, "PATCH /v1/boards/{board}": `{"title":"T"}`,
			"POST /v1/workspaces/{workspace}/imports": "title\nx\n",
		}
		fill := strings.NewReplacer("{workspace}", "w-ann", "{board}", "b-ann", "{card}", "c-canary", "{user}", "mallory", "{seq}", "5")
		before := b.ask("ann", "GET", "/v1/boards/b-ann/export?of=operations", "").body + b.ask("ann", "GET", "/v1/workspaces/w-ann/members", "").body
		for _, r := range b.api.routes() {
			route := r.method + " " + r.path
			path := fill.Replace(r.path) + "?format=csv&q=canary&board=b-ann"
			for _, headers := range [][]string{{`If-Match: "1"`}, {"If-None-Match: *", `If-Match: "0"`}} {
				a := b.ask("mallory", r.method, path, bodies[route], headers...)
				if !own[route] && a.status != 403 && a.status != 404 {
					t.Errorf("%s: %d %s", route, a.status, a.body)
				}
				if own[route] && a.status >= 300 {
					t.Errorf("%s: %d %s", route, a.status, a.body)
				}
				if strings.Contains(strings.ReplaceAll(a.body, "c-canary", ""), "canary") {
					t.Errorf("%s tells mallory %s", route, a.body)
				}
			}
			if a := b.ask("", r.method, path, bodies[route]); !r.open && a.status != 401 {
				t.Errorf("%s by nobody: %d %s", route, a.status, a.body)
			}
		}
		// An import into a board of somebody else, of which the ID is known, from a workspace of one's own.
		b.ask("mallory", "POST", "/v1/workspaces/w-mallory/imports?format=csv&board=b-ann", "title\nx\n").want(409)
		for _, q := range []string{"canary", "third", "first"} {
			if a := b.ask("mallory", "GET", "/v1/search?q="+q, "").want(200); strings.Contains(a.body, "canary") {
				t.Errorf("mallory finds %s", a.body)
			}
		}
		if after := b.ask("ann", "GET", "/v1/boards/b-ann/export?of=operations", "").body + b.ask("ann", "GET", "/v1/workspaces/w-ann/members", "").body; after != before {
			t.Errorf("mallory has changed\n%s\nto\n%s", before, after)
		}
	})
}

func TestFaults(t *testing.T) {
	b := newBed(t, memory.New(board.Rules{}, nil))
	b.ask("ann", "GET", "/v1/nowhere", "").want(404, "openapi.json")
	if a := b.ask("ann", "PUT", "/v1/boards/b", "").want(405, "urn:millrace:problem:method"); fmt.Sprint(a.header["Allow"]) != "[GET PATCH]" {
		t.Errorf("Allow: %v", a.header["Allow"])
	}
	b.ask("ann", "POST", "/v1/workspaces", `{"name":"W","color":"red"}`).want(400, `unknown field`, "color")
	b.ask("ann", "POST", "/v1/workspaces", `{"name":"W"} {}`).want(400, "behind the object")
	b.ask("ann", "POST", "/v1/workspaces", `{"name":`).want(400, "malformed")
	b.ask("ann", "POST", "/v1/workspaces", `{"name":"`+strings.Repeat("x", maxBody)+`"}`).want(413, "65536")
	if id := b.ask("ann", "GET", "/v1/boards/none", "", "X-Request-Id: mine-1").want(404, `"request_id":"mine-1"`).header.Get("X-Request-Id"); id != "mine-1" {
		t.Errorf("X-Request-Id: %s", id)
	}
	if id := b.ask("ann", "GET", "/v1/me", "", "X-Request-Id: not <mine>").want(200).header.Get("X-Request-Id"); len(id) < 20 {
		t.Errorf("X-Request-Id: %s", id)
	}
	for range maxTogether {
		b.api.together <- struct{}{}
	}
	if after := b.ask("ann", "GET", "/v1/me", "").want(503, "busy").header.Get("Retry-After"); after != "1" {
		t.Errorf("Retry-After: %s", after)
	}
	for range maxTogether {
		<-b.api.together
	}
	b.ask("ann", "GET", "/v1/me", "").want(http.StatusOK)
	var text strings.Builder
	b.set.WritePrometheus(&text)
	for _, name := range []string{`millrace_api_requests_total{route="GET /v1/me",code="503"} 1`, "millrace_api_requests 0", `millrace_api_seconds_count{route="POST /v1/workspaces"} 4`} {
		if !strings.Contains(text.String(), name) {
			t.Errorf("no %s in\n%s", name, text.String())
		}
	}
}
