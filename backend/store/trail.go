package store

import (
	"context"

	"github.com/millracehq/millrace/backend/board"
)

// Trail is what the mutations of all boards have brought about: what is counted from, for no user. Every [Store] of this
// tree is one. Each board has a mark, up to which everything was counted.
type Trail interface {
	// Behind lists boards that have entries behind their mark, by ID, after one, at most limit.
	Behind(ctx context.Context, after string, limit int) ([]Behind, error)
	// Records lists what was brought about by a board's mutations after a sequence number, in order, at most limit. It does not know
	// the workspace.
	Records(ctx context.Context, id string, after int64, limit int) ([]board.Record, error)
	// Mark moves a board's mark forward; never back.
	Mark(ctx context.Context, id string, seq int64) error
}

// Behind is a board whose mark is not at its end.
type Behind struct {
	Board     string
	Workspace string
	Marked    int64 // sequence number up to which everything was counted
	Seq       int64 // of the board
}
