package storetest

import (
	"fmt"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// testRows: rows by their keys are those of a pull, in the order of the keys, of that board alone.
func testRows(t *testing.T, open Open) {
	s, ctx := newBoard(t, open), t.Context()
	_, err := s.CreateBoard(ctx, "ann", ws, "other", "O")
	must(t, err)
	_, err = s.Commit(ctx, "other", []*board.Mutation{mutation("ann", "o", 1, putColumn("todo"), putCard("elsewhere", "todo"))})
	must(t, err)
	body, dead := board.Text("ä '\"\\ 👍"), board.Text(board.Deleted)
	commit(t, s, []*board.Mutation{
		mutation("ann", "a", 1, putColumn("todo"), putCard("c", "todo"), putCard("d", "todo"), putCard("e", "todo")),
		mutation("ann", "a", 2, board.Op{Op: board.OpText, ID: "c", Value: &body}, putComment("k", "c", "hear")),
		mutation("ann", "a", 3, board.Op{Op: board.OpLife, Kind: board.KindCard, ID: "d", Value: &dead}),
	}, "committed", "committed", "committed")
	card := func(id string) board.Key { return board.Key{Kind: board.KindCard, ID: id} }
	keys := []board.Key{
		{Kind: board.KindComment, ID: "k"}, card("elsewhere"), card("d"), card("k"), {Kind: "nothing", ID: "c"}, card("c"), card("'\"\\"), {}, {Kind: board.KindColumn, ID: "todo"},
	}
	for i := range 600 { // more than a statement has parameters in some databases
		keys = append(keys, card(fmt.Sprint("none", i)))
	}
	rows, seq, err := s.Rows(ctx, "eve", bd, keys)
	must(t, err)
	if seq != 3 {
		t.Errorf("as of %d", seq)
	}
	pulled, err := s.Pull(ctx, "eve", bd, store.Since{})
	must(t, err)
	table, got := pulled.Apply(board.NewTable()), ""
	for _, r := range rows {
		got += r.ID + " "
		if whole, _ := table.Row(r.Key); whole == nil || whole.Seq != r.Seq || whole.Hash() != r.Hash() {
			t.Errorf("%s: %+v, a pull says %+v", r.Key, r, whole)
		}
	}
	if got != "k d c todo " {
		t.Errorf("rows %s", got)
	}
	rows, seq, err = s.Rows(ctx, "eve", bd, nil)
	must(t, err)
	if len(rows) != 0 || seq != 3 {
		t.Errorf("no keys: %v as of %d", rows, seq)
	}
	for user, id := range map[string]string{"mallory": bd, "": bd, "ann": "nowhere"} {
		rows, seq, err := s.Rows(ctx, user, id, keys)
		wantErr(t, fmt.Sprintf("%q reads rows of %s", user, id), err, store.ErrNotFound)
		if rows != nil || seq != 0 {
			t.Errorf("%q gets %v as of %d", user, rows, seq)
		}
	}
}
