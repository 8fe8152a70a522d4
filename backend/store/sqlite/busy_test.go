package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

// A backend that starts while another one writes does not wait for it.
func TestOpenBesideAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boards.db")
	first, err := Open(t.Context(), path, board.Rules{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	err = first.write(t.Context(), func(*sql.Tx) error {
		second, err := Open(t.Context(), path, board.Rules{}, nil)
		if err != nil {
			return err
		}
		return second.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}
