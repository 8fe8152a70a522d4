package storetest

import (
	"fmt"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

// testTrail: what a commit says of itself is what the trail has, once, and the mark goes forward only.
func testTrail(t *testing.T, open Open) {
	s, ctx := newBoard(t, open), t.Context()
	trail := s.(store.Trail)
	if got, err := trail.Behind(ctx, "", 10); err != nil || len(got) != 0 {
		t.Errorf("an empty board is behind: %v, %v", got, err)
	}
	done := board.Bool(true)
	var want []board.Record
	for i, m := range []*board.Mutation{
		mutation("ann", "ann-1", 1, putColumn("todo")),
		mutation("ann", "ann-1", 2, putCard("a", "todo"), putCard("b", "todo")),
		mutation("eve", "eve-1", 1, putCard("c", "todo")), // may not
		mutation("bob", "bob-1", 1, board.Op{Op: board.OpSet, Kind: board.KindCard, ID: "a", Group: "done", Value: &done}),
		mutation("bob", "bob-1", 2, board.Op{Op: board.OpMark, ID: "a", Set: "reaction", Element: "+", Present: true}),
		mutation("bob", "bob-1", 2, board.Op{Op: board.OpMark, ID: "a", Set: "reaction", Element: "+", Present: true}), // repeated
	} {
		d, err := s.Commit(ctx, bd, []*board.Mutation{m})
		must(t, err)
		if records := []int{0, 1, 0, 1, 1, 0}[i]; len(d.Records) != records {
			t.Errorf("mutation %d: %d records, want %d", i, len(d.Records), records)
		}
		want = append(want, d.Records...)
	}
	if last := want[2].Deeds[0]; last.Kind != board.DeedReacted || last.Whom != "ann" {
		t.Errorf("%+v: the card is ann's", last)
	}
	for i := range want {
		if want[i].Workspace != ws || want[i].Board != bd || want[i].At == 0 {
			t.Errorf("%+v", want[i])
		}
		want[i].Workspace = "" // the trail does not know it
	}
	got, err := trail.Records(ctx, bd, 0, 10)
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the trail has %+v, the commits said %+v", got, want)
	}
	if got, err := trail.Records(ctx, bd, want[0].Seq, 1); err != nil || fmt.Sprint(got) != fmt.Sprint(want[1:2]) {
		t.Errorf("%+v, %v", got, err)
	}
	wantBehind := func(want ...store.Behind) {
		t.Helper()
		if got, err := trail.Behind(ctx, "", 10); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("behind: %+v, %v; want %+v", got, err, want)
		}
	}
	wantBehind(store.Behind{Board: bd, Workspace: ws, Seq: 4})
	for _, seq := range []int64{3, 2} { // never back
		must(t, trail.Mark(ctx, bd, seq))
	}
	wantBehind(store.Behind{Board: bd, Workspace: ws, Marked: 3, Seq: 4})
	if got, err := trail.Behind(ctx, bd, 10); err != nil || len(got) != 0 {
		t.Errorf("behind the last one: %v, %v", got, err)
	}
	must(t, trail.Mark(ctx, bd, 4))
	wantBehind()
}
