package e2e

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/boardclient"
)

// TestCursors: what one client points at another one sees, and the last of many.
func TestCursors(t *testing.T) {
	t.Parallel()
	sys := startBoards(t, "sqlite:"+filepath.Join(t.TempDir(), "boards.db"))
	sys.fill(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var clients [3]*boardclient.Board
	for i := range clients {
		b, err := boardclient.Open(ctx, boardclient.Config{URL: sys.url, User: []string{"ann", "bob", "eve"}[i], Board: "b0", Cursors: true})
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = b
		running.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	ann, bob, eve := clients[0], clients[1], clients[2]
	for _, id := range []string{"x", "y", "c"} {
		ann.Point(board.Key{Kind: board.KindCard, ID: id}, "reads")
	}
	bob.Point(board.Key{Kind: board.KindColumn, ID: "todo"}, "")
	eventually(t, "all see where the others are", func() bool {
		seen := func(b *boardclient.Board, user, id string) bool {
			for _, c := range b.Others() {
				if c.User == user && c.At.ID == id {
					return true
				}
			}
			return false
		}
		return seen(bob, "ann", "c") && seen(eve, "ann", "c") && seen(eve, "bob", "todo") && seen(ann, "bob", "todo") && len(ann.Others()) == 1
	})
}
