package boardclient

import (
	"errors"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

func TestFitting(t *testing.T) {
	t.Parallel()
	v := board.Text(strings.Repeat("x", 19_000))
	m := &board.Mutation{Ops: []board.Op{{Op: board.OpText, ID: "c", Value: &v}}}
	out, err := fitting([]*board.Mutation{m, m, m, m, m})
	if err != nil || len(out) != 3 {
		t.Errorf("%d of 5 mutations of 19 KB, %v", len(out), err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	b, err := Open(t.Context(), Config{Board: "b", User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	v := board.Text(strings.Repeat("x", 19_000))
	o := board.Op{Op: board.OpText, ID: "c", Value: &v}
	if _, err := b.Do(t.Context(), o, o, o, o); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	// What the rules refuse here is not even tried.
	if out, err := b.Do(t.Context(), o); err != nil || out.Result.Code != board.CodeUnknown {
		t.Errorf("%+v, %v", out.Result, err)
	}
}
