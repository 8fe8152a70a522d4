package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/boardclient"
	"github.com/millracehq/millrace/backend/replica"
)

// TestHeadsFirst: a client begins with heads, cannot change what it has not seen, opens a card and can; another one fetches all bodies
// while they are changed. In the end all have the same board.
func TestHeadsFirst(t *testing.T) {
	t.Parallel()
	url := startBoards(t, "sqlite:"+filepath.Join(t.TempDir(), "boards.db")).url
	makeBoards(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	open := func(heads bool) *boardclient.Board {
		b := runBoard(ctx, t, &running, boardclient.Config{URL: url, User: "anonymous", Board: "b0", Heads: heads})
		if err := b.Wait(ctx, (*replica.Replica).Ready); err != nil {
			t.Fatal(err)
		}
		return b
	}
	card := func(i int) string { return fmt.Sprintf("card%d", i) }
	edit := func(i int, from, to string) board.Op {
		v := board.Text(to)
		return board.Op{Op: board.OpText, ID: card(i), From: from, Value: &v}
	}
	do := func(b *boardclient.Board, op board.Op) board.Outcome {
		t.Helper()
		out, err := b.Do(ctx, op)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	missing := func(b *boardclient.Board) (n int) {
		b.Look(func(c *replica.Replica) { n = c.Base().Missing() })
		return n
	}
	settle := func(b *boardclient.Board) {
		t.Helper()
		if err := b.Wait(ctx, func(c *replica.Replica) bool { return c.Pending() == 0 }); err != nil {
			t.Fatal(err)
		}
	}

	maker := open(false)
	const cards = 120
	var lines strings.Builder
	for i := range 200 {
		fmt.Fprintf(&lines, "Line %d of the text.\n", i)
	}
	first := lines.String() // over 4 KB: an answer does not hold all of them
	column := board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: "first", Values: map[string]board.Value{"title": board.Text("First")}}
	if out := do(maker, column); out.Result.Status != board.Committed {
		t.Fatal(out.Result)
	}
	for i := range cards {
		values := map[string]board.Value{"title": board.Text(card(i)), board.GroupBody: board.Text(first)}
		do(maker, board.Op{Op: board.OpPut, Kind: board.KindCard, ID: card(i), Lane: "first", Values: values})
	}
	settle(maker)

	reader, second := open(true), open(true)
	if n := missing(reader); n != cards {
		t.Fatalf("%d bodies are missing, want %d", n, cards)
	}
	if out := do(reader, edit(7, first, "mine")); out.Result.Code != replica.CodeNoBody {
		t.Errorf("a text that was not seen is changed: %+v", out.Result)
	}
	if err := reader.Bodies(ctx, board.Key{Kind: board.KindCard, ID: card(7)}, board.Key{Kind: board.KindCard, ID: "none"}); err != nil {
		t.Fatal(err)
	}
	if n := missing(reader); n != cards-1 {
		t.Errorf("%d bodies are missing, want %d", n, cards-1)
	}
	if out := do(reader, edit(7, first, first+"And mine.\n")); out.Result.Status != board.Committed {
		t.Errorf("%+v", out.Result)
	}
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := range cards {
			if _, err := maker.Do(ctx, edit(i, first, "From the maker.\n"+first)); err != nil {
				t.Error(err)
			}
		}
	})
	for _, b := range []*boardclient.Board{reader, second} {
		if err := b.AllBodies(ctx); err != nil {
			t.Fatal(err)
		}
	}
	changing.Wait()
	settle(maker)
	settle(reader)
	var seq int64
	for _, b := range []*boardclient.Board{maker, reader} {
		b.Look(func(c *replica.Replica) { seq = max(seq, c.Seq()) })
	}
	hashes := make(map[string]bool)
	for _, b := range []*boardclient.Board{maker, reader, second} {
		if err := b.Wait(ctx, func(c *replica.Replica) bool { return c.Seq() == seq }); err != nil {
			t.Fatal(err)
		}
		if n := b.Diverged() + missing(b); n != 0 {
			t.Errorf("%d bodies are missing, or a copy differed from the server", n)
		}
		b.Look(func(c *replica.Replica) {
			hashes[board.FormatHash(c.Base().Hash())] = true
			row, _ := c.Base().Row(board.Key{Kind: board.KindCard, ID: card(7)})
			if want := "From the maker.\n" + first + "And mine.\n"; row.Regs[board.GroupBody].Value.Text() != want {
				t.Errorf("both have written: %.60q…", row.Regs[board.GroupBody].Value.Text())
			}
		})
	}
	if len(hashes) != 1 {
		t.Errorf("hashes %v", hashes)
	}
}
