package postgres_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/postgres"
)

// TestLeadersWithoutReplica: a leaderboard is read from the primary when the replica cancels what is being read, for what it has to replay, and when it is gone.
func TestLeadersWithoutReplica(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	name := b.database(t)
	b.server.SQL(name, `INSERT INTO app.workspaces VALUES ('red', ''); INSERT INTO app.members VALUES ('red', 'ann', 'owner', 1)`)
	store := b.store(t, name, b.server.URL("counter", name), b.server.URL("app", name), reward.BuiltIn())
	if _, err := store.Count(t.Context(), []reward.Event{{ID: "1", Kind: "completed", User: "ann", Team: "red", Subject: "c", At: time.Now().UnixMilli()}}); err != nil {
		t.Fatal(err)
	}
	if did, err := store.Refresh(t.Context(), time.Now().Add(time.Hour)); err != nil || !did {
		t.Fatal(did, err)
	}
	wants := func(t *testing.T, replica, counted string) *postgres.Desk {
		t.Helper()
		set := metrics.NewSet()
		desk, err := postgres.OpenDesk(t.Context(), b.server.URL("app", name), replica, reward.BuiltIn())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(desk.Close)
		desk.Watch(set)
		wantsAnn(t, desk)
		if text := exposed(set); !strings.Contains(text, counted) {
			t.Errorf("no %s in\n%s", counted, text)
		}
		return desk
	}
	t.Run("cancels", func(t *testing.T) {
		// A database that says what a replica says then: when it does cannot be had at will.
		other := b.database(t)
		b.server.SQL(other, `INSERT INTO app.workspaces VALUES ('red', ''); INSERT INTO app.members VALUES ('red', 'ann', 'owner', 1);
			CREATE FUNCTION reward.conflict() RETURNS boolean LANGUAGE plpgsql AS $$
				BEGIN RAISE EXCEPTION 'canceling statement due to conflict with recovery' USING ERRCODE = '40001'; END $$;
			CREATE OR REPLACE VIEW reward.seen_leaders AS SELECT 'red'::text COLLATE "C" AS team, 'all'::text COLLATE "C" AS period, 'ann'::text COLLATE "C" AS user_id,
				0::bigint AS xp, 0::bigint AS rank WHERE reward.conflict()`)
		wants(t, b.server.URL("app", other), `millrace_rewards_replica_reads_total{result="failed"} 1`)
	})
	t.Run("gone", func(t *testing.T) {
		replica := b.server.Standby()
		desk := wants(t, replica.URL("app", name), `millrace_rewards_replica_reads_total{result="used"} 1`)
		replica.Kill()
		for range 3 {
			wantsAnn(t, desk)
		}
	})
}

func exposed(set *metrics.Set) string {
	var out bytes.Buffer
	set.WritePrometheus(&out)
	return out.String()
}

func wantsAnn(t *testing.T, desk reward.Desk) {
	t.Helper()
	l, err := desk.Leaders(t.Context(), "ann", reward.Query{Team: "red", Period: reward.PeriodAll, Limit: 10, Around: 1})
	if err != nil || len(l.Top) != 1 || len(l.Around) != 1 || l.Top[0].User != "ann" {
		t.Fatalf("%+v, %v", l, err)
	}
}
