package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/rewardtest"
	"github.com/millracehq/millrace/backend/reward/sqlite"
	boards "github.com/millracehq/millrace/backend/store/sqlite"
)

func TestStore(t *testing.T) {
	t.Parallel()
	rewardtest.Run(t, func(t *testing.T, rules *reward.Rules) *rewardtest.Bed {
		db, err := boards.Open(t.Context(), filepath.Join(t.TempDir(), "boards.db"), board.Rules{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		exec := func(query string, args ...any) {
			err := db.Write(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec(query, args...)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return &rewardtest.Bed{
			Store: sqlite.New(db, rules, nil),
			Desk:  func(rules *reward.Rules) reward.Desk { return sqlite.New(db, rules, nil) },
			Join: func(team, user string) {
				exec("INSERT INTO workspaces (id, name) VALUES (?, '') ON CONFLICT DO NOTHING", team)
				exec("INSERT INTO members (workspace, user_id, role, version) VALUES (?, ?, 'viewer', 1) ON CONFLICT DO NOTHING", team, user)
			},
			Hurt: func(id string) func() {
				exec("CREATE TRIGGER hurt BEFORE INSERT ON reward_facts WHEN new.id = '" + id + "' BEGIN SELECT raise(ABORT, 'no'); END")
				return func() { exec("DROP TRIGGER hurt") }
			},
		}
	})
}
