package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/sqlite"
	"github.com/millracehq/millrace/backend/store/storetest"
)

func open(t *testing.T, path string, now func() time.Time) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, board.Rules{}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
		return open(t, filepath.Join(t.TempDir(), "a b?.db"), now)
	})
}

// TestTwoProcesses: two stores on one file.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "boards.db")
	a, b := open(t, path, nil), open(t, path, nil)
	if err := a.CreateWorkspace(t.Context(), "ann", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateBoard(t.Context(), "ann", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	if boards, err := a.Boards(t.Context(), "ann"); err != nil || len(boards) != 1 {
		t.Errorf("%v %v", boards, err)
	}
}

func TestNewerFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "boards.db")
	open(t, path, nil).Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := sqlite.Open(t.Context(), path, board.Rules{}, nil); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("error %v", err)
	}
}

func BenchmarkCommit(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Store {
		b.Helper()
		s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "boards.db"), board.Rules{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		return s
	})
}
