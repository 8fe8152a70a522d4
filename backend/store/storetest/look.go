package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// history is the whole history of a row, in steps of limit.
func history(ctx context.Context, s store.Store, user, id string, row board.Key, limit int) (out []store.Logged, err error) {
	for before := int64(0); ; {
		entries, next, err := s.History(ctx, user, id, row, before, limit)
		out = append(out, entries...)
		if err != nil || next == 0 {
			return out, err
		}
		before = next
	}
}

// conflicts are all of a board, in steps of limit.
func conflicts(ctx context.Context, s store.Store, user, id string, limit int) (out []store.Lost, err error) {
	for behind := (store.Spot{}); ; {
		some, err := s.Conflicts(ctx, user, id, behind, limit)
		out = append(out, some...)
		if err != nil || len(some) < limit {
			return out, err
		}
		behind = some[limit-1].Spot
	}
}

// search finds everything, in steps of limit.
func search(ctx context.Context, s store.Store, user string, q store.Query, limit int) (out []store.Hit, err error) {
	for q.Limit = limit; ; {
		some, err := s.Search(ctx, user, q)
		out = append(out, some...)
		if err != nil || len(some) < limit {
			return out, err
		}
		q.After = &some[limit-1]
	}
}

func putComment(id, card, text string) board.Op {
	return board.Op{Op: board.OpPut, Kind: board.KindComment, ID: id, Values: map[string]board.Value{"text": board.Text(text), "card": board.Text(card)}}
}

func testHistory(t *testing.T, open Open) {
	s, ctx := newBoard(t, open), t.Context()
	early := mutation("bob", "b", 1, setTitle("c", "bob's"))
	commit(t, s, []*board.Mutation{
		mutation("ann", "a", 1, putColumn("todo"), putColumn("c")),
		mutation("ann", "a", 2, putCard("c", "todo"), putCard("d", "todo")),
		mutation("ann", "a", 3, setTitle("d", "c")),
		mutation("ann", "a", 4, setTitle("c", `to "c" is to see`)),
		mutation("eve", "e", 1, setTitle("c", "not hers")),
		mutation("ann", "a", 5, board.Op{Op: board.OpMark, ID: "c", Set: "label", Element: "red", Present: true}),
		mutation("ann", "a", 6, putComment("k", "c", "hear")),
		mutation("ann", "a", 7, putComment("l", "d", "c")),
		early,
	}, "committed", "committed", "committed", "committed", "rejected denied", "committed", "committed", "committed", "superseded")
	for limit := 1; limit < 10; limit += 2 {
		got, err := history(ctx, s, "eve", bd, board.Key{Kind: board.KindCard, ID: "c"}, limit)
		must(t, err)
		var seqs strings.Builder
		for _, e := range got {
			fmt.Fprint(&seqs, e.Result.Seq, e.User, " ")
		}
		if want := "8bob 6ann 5ann 4ann 2ann "; seqs.String() != want {
			t.Errorf("by %d: %s, want %s", limit, seqs.String(), want)
		}
	}
	lost, err := conflicts(ctx, s, "eve", bd, 1)
	must(t, err)
	if len(lost) != 1 || lost[0].KeptBy != "ann" || lost[0].LostBy != "bob" || lost[0].Lost.Value.Text() != "bob's" || lost[0].Seq != 8 || lost[0].At.IsZero() {
		t.Errorf("conflicts %+v", lost)
	}
	_, _, err = s.History(ctx, "mallory", bd, board.Key{Kind: board.KindCard, ID: "c"}, 0, 10)
	wantErr(t, "mallory reads a history", err, store.ErrNotFound)
	_, err = s.Conflicts(ctx, "mallory", bd, store.Spot{}, 10)
	wantErr(t, "mallory reads conflicts", err, store.ErrNotFound)
	for user, want := range map[string]string{"ann": "[{workspace W owner}]", "eve": "[{workspace W viewer}]", "mallory": "[]", "": "[]"} {
		got, err := s.Workspaces(ctx, user)
		must(t, err)
		if fmt.Sprint(got) != want {
			t.Errorf("workspaces of %q: %v", user, got)
		}
	}
}

func testSearch(t *testing.T, open Open) {
	s, ctx := newBoard(t, open), t.Context()
	must(t, s.CreateWorkspace(ctx, "mallory", "elsewhere", "E"))
	_, err := s.CreateBoard(ctx, "mallory", "elsewhere", "theirs", "T")
	must(t, err)
	_, err = s.Commit(ctx, "theirs", []*board.Mutation{mutation("mallory", "m", 1, putColumn("todo"), putCard("x", "todo"), setTitle("x", "Käse of mallory"))})
	must(t, err)
	body, dead := board.Text("Read about foo_bar-baz and user@example.com,\nthen ring 0711-1234"), board.Text(board.Deleted)
	item := board.Op{Op: board.OpPut, Kind: board.KindItem, ID: "i", Lane: "c1", Values: map[string]board.Value{"title": board.Text("grate the käse")}}
	ops := []board.Op{
		putColumn("todo"), putCard("c1", "todo"), putCard("c2", "todo"), putCard("c3", "todo"), setTitle("c1", "Buy KÄSE, cheese"), setTitle("c2", "Old cheese"),
		{Op: board.OpText, ID: "c1", Value: &body},
		item, putComment("k", "c1", "cheeses smell"), putComment("l", "c3", "of cheese"),
		{Op: board.OpLife, Kind: board.KindCard, ID: "c2", Value: &dead},
		{Op: board.OpLife, Kind: board.KindCard, ID: "c3", Value: &dead},
	}
	for i, op := range ops {
		commit(t, s, []*board.Mutation{mutation("ann", "a", int64(i+1), op)}, "committed")
	}
	find := func(user, text string, q store.Query) string {
		t.Helper()
		q.Words = store.Words(text)
		all, err := search(ctx, s, user, q, 1+len(text)%3)
		must(t, err)
		var out strings.Builder
		for _, h := range all {
			out.WriteString(h.ID + " ")
		}
		return out.String()
	}
	for text, want := range map[string]string{
		"käse": "i c1 ", "KÄS": "i c1 ", "cheese": "k c1 ", "chees": "k c1 ", "heese": "", "cheese käse": "c1 ", "cheese smell": "k ", "bar": "c1 ", "example user": "c1 ",
		"foo_bar-baz": "c1 ", "0711": "c1 ", "1234 then": "c1 ", "old": "", "mallory": "", "": "", "!!": "", "kase": "", "the and": "c1 ", "the andy": "",
		"' OR 1": "", `" * & |`: "", "todo": "",
	} {
		if got := find("eve", text, store.Query{}); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
	for user, want := range map[string]string{"mallory": "x ", "": "", "nobody": ""} {
		if got := find(user, "käse", store.Query{}); got != want {
			t.Errorf("%q found %q, want %q", user, got, want)
		}
	}
	if got := find("ann", "käse", store.Query{Board: bd, Workspace: ws}); got != "i c1 " {
		t.Errorf("on one board: %q", got)
	}
	if got := find("ann", "käse", store.Query{Board: "theirs"}); got != "" {
		t.Errorf("on somebody else's board: %q", got)
	}
	if got := find("ann", "käse", store.Query{Workspace: "elsewhere"}); got != "" {
		t.Errorf("in another workspace: %q", got)
	}
	// What is not there any more is not found: another title, a purge, a right that was taken.
	commit(t, s, []*board.Mutation{mutation("ann", "a", 13, setTitle("c1", "Bread"))}, "committed")
	if got := find("eve", "buy", store.Query{}) + "|" + find("eve", "bread foo", store.Query{}); got != "|c1 " {
		t.Errorf("after a new title: %q", got)
	}
	hits, err := s.Search(ctx, "eve", store.Query{Words: []string{"smell"}, Limit: 5})
	must(t, err)
	if want := (store.Hit{Board: bd, Kind: "comment", ID: "k", Card: "c1", Text: "cheeses smell", Life: "live", TS: 9}); len(hits) != 1 || hits[0] != want {
		t.Errorf("hits %+v", hits)
	}
	_, err = s.SetMember(ctx, "ann", ws, store.Member{User: "eve", Role: store.None, Version: 1})
	must(t, err)
	if got := find("eve", "bread", store.Query{}); got != "" {
		t.Errorf("eve, who has left, finds %q", got)
	}
}
