package boardclient

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

// TestWanted: what was opened is asked for before the rest, as many rows as go together, and forgotten when it is there or gone.
func TestWanted(t *testing.T) {
	t.Parallel()
	b, err := Open(t.Context(), Config{Board: "b", User: "ann", Heads: true})
	if err != nil {
		t.Fatal(err)
	}
	card := func(i int) board.Key { return board.Key{Kind: board.KindCard, ID: fmt.Sprint(i)} }
	body := map[string]board.Register{board.GroupBody: {Value: board.Text("text"), Seq: 3}}
	d := &board.Delta{Reset: true, To: 3, Hash: "0000000000000007"}
	const cards = board.MaxBodies + 100
	for i := range cards {
		d.Rows = append(d.Rows, (&board.Row{Key: card(i), Seq: 3, Regs: body}).Head())
	}
	b.receive(t.Context(), d)
	if rows := b.wanted(); len(rows) != 0 {
		t.Errorf("nobody wants anything: %v", rows)
	}
	for _, i := range []int{7, 8, 9, cards} {
		b.opened[card(i)] = struct{}{}
	}
	b.copy.ReceiveBodies(&board.Bodies{To: 3, Rows: []*board.Row{{Key: card(8), Regs: body}}})
	if rows := b.wanted(); len(rows) != 2 || !slices.Contains(rows, card(7)) || !slices.Contains(rows, card(9)) || len(b.opened) != 2 {
		t.Errorf("wanted %v, of %d opened", rows, len(b.opened))
	}
	b.wantAll = 1
	rows := b.wanted()
	opened := rows[:2]
	if len(rows) != board.MaxBodies || !slices.Contains(opened, card(7)) || !slices.Contains(opened, card(9)) || slices.Contains(rows, card(8)) {
		t.Errorf("%d rows, first %v", len(rows), opened)
	}
	seen := make(map[board.Key]bool)
	for _, k := range rows {
		if seen[k] {
			t.Errorf("%v is asked for twice", k)
		}
		seen[k] = true
	}
	for i := range cards {
		b.opened[card(i)] = struct{}{}
	}
	if rows := b.wanted(); len(rows) != board.MaxBodies {
		t.Errorf("%d rows go together", len(rows))
	}
}
