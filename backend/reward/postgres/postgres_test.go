package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/postgres"
	"github.com/millracehq/millrace/backend/reward/rewardtest"
	boards "github.com/millracehq/millrace/backend/store/postgres"
	"github.com/millracehq/millrace/internal/pgtest"
)

// bed is a server with databases, which belong to boards_owner; who counts logs in as counter, backends as app.
type bed struct {
	server *pgtest.Server
	n      atomic.Int64
	mu     sync.Mutex
}

func newBed(t testing.TB, args ...string) *bed {
	t.Helper()
	b := &bed{server: pgtest.Start(t, args...)}
	b.server.SQL("postgres", `CREATE ROLE boards_owner LOGIN CREATEROLE; CREATE ROLE app LOGIN; CREATE ROLE counter LOGIN;
		CREATE ROLE millrace_app NOLOGIN; GRANT millrace_app TO app; CREATE ROLE millrace_rewards NOLOGIN; GRANT millrace_rewards TO counter`)
	return b
}

// database is a new database with the schema.
func (b *bed) database(t testing.TB) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n.Add(1) == 1 {
		b.server.SQL("postgres", "CREATE DATABASE boards OWNER boards_owner")
		if _, err := boards.Migrate(t.Context(), b.server.URL("boards_owner", "boards")); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("boards%d", b.n.Load())
	b.server.SQL("postgres", "CREATE DATABASE "+name+" OWNER boards_owner TEMPLATE boards")
	return name
}

func (b *bed) store(t *testing.T, name, counterURL, appURL string, rules *reward.Rules) *rewardtest.Bed {
	t.Helper()
	s, err := postgres.Open(t.Context(), counterURL, rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	admin, err := pgx.Connect(t.Context(), b.server.URL("postgres", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	return &rewardtest.Bed{
		Store: s,
		Desk: func(rules *reward.Rules) reward.Desk {
			d, err := postgres.OpenDesk(t.Context(), appURL, appURL, rules)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.Close)
			return d
		},
		Join: func(team, user string) {
			for _, statement := range []string{
				"INSERT INTO app.workspaces VALUES ($1, '') ON CONFLICT DO NOTHING", "INSERT INTO app.members SELECT $1, $2, 'viewer', 1 ON CONFLICT DO NOTHING",
			} {
				args := []any{team, user}
				if _, err := admin.Exec(t.Context(), statement, args[:strings.Count(statement, "$")]...); err != nil {
					t.Fatal(err)
				}
			}
		},
		Hurt: func(id string) func() {
			b.server.SQL(name, "ALTER TABLE reward.facts ADD CONSTRAINT hurt CHECK (id <> '"+id+"')")
			return func() { b.server.SQL(name, "ALTER TABLE reward.facts DROP CONSTRAINT hurt") }
		},
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	t.Run("direct", func(t *testing.T) {
		t.Parallel()
		rewardtest.Run(t, func(t *testing.T, rules *reward.Rules) *rewardtest.Bed {
			name := b.database(t)
			return b.store(t, name, b.server.URL("counter", name), b.server.URL("app", name), rules)
		})
	})
	t.Run("pgbouncer with one connection", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("slow: it runs without -short")
		}
		// PgBouncer logs in as app, whoever comes: here as one with both roles, on one connection that all share.
		b.server.SQL("postgres", "CREATE ROLE double LOGIN; GRANT millrace_app, millrace_rewards TO double")
		port := b.server.BouncerAs("double", 1)
		rewardtest.Run(t, func(t *testing.T, rules *reward.Rules) *rewardtest.Bed {
			name := b.database(t)
			return b.store(t, name, b.server.BouncerURL(port, name), b.server.BouncerURL(port, name), rules)
		})
	})
	t.Run("rights", func(t *testing.T) { t.Parallel(); testRights(t, b) })
	t.Run("periods", func(t *testing.T) { t.Parallel(); testPeriods(t, b) })
	t.Run("periods of leaderboards", func(t *testing.T) { t.Parallel(); testLeaderPeriods(t, b) })
	t.Run("scores that were left", func(t *testing.T) { t.Parallel(); testScoresLeft(t, b) })
	t.Run("scores that are behind", func(t *testing.T) { t.Parallel(); testScoresBehind(t, b) })
}

// testRights: who counts sees no board and changes no fact; a backend changes nothing that was counted, and sees no leaderboard but through the
// view; without a user, nothing is seen.
func testRights(t *testing.T, b *bed) {
	name := b.database(t)
	b.server.SQL(name, `INSERT INTO app.workspaces VALUES ('red', ''); INSERT INTO app.members VALUES ('red', 'ann', 'owner', 1);
		INSERT INTO reward.scores VALUES ('ann', 'red', '2026-11-01', 5000, 1); INSERT INTO reward.users VALUES ('ann', 5000, 1, '{}');
		INSERT INTO reward.purses VALUES ('ann', 0, 1, 'public', 1); SELECT reward.refresh(now())`)
	for user, statements := range map[string][]string{
		"counter": {
			"SELECT * FROM app.boards", "SELECT * FROM app.members", "SELECT * FROM app.mutations", "UPDATE reward.facts SET id = 'x'", "DELETE FROM reward.facts",
			"SELECT * FROM reward.leaders", "SELECT * FROM reward.seen_leaders", "SELECT * FROM reward.purses", "REFRESH MATERIALIZED VIEW reward.leaders",
		},
		"app": {
			"SELECT * FROM reward.leaders", "SELECT * FROM reward.scores", "SELECT * FROM reward.facts", "SELECT * FROM reward.days", "SELECT * FROM reward.score_changes", "UPDATE reward.users SET xp = 1",
			"INSERT INTO reward.purses VALUES ('eve', 0, 1, 'public', 1)", "DELETE FROM reward.redeemed", "SELECT reward.refresh(now())",
		},
	} {
		conn, err := pgx.Connect(t.Context(), b.server.URL(user, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		for _, statement := range statements {
			if _, err := conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "42501") {
				t.Errorf("%s: %s: %v", user, statement, err)
			}
		}
		if user == "counter" {
			continue
		}
		for _, table := range []string{"users", "purses", "redeemed", "seen_leaders"} {
			var n int
			if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM reward."+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s without a user: %d rows, %v", table, n, err)
			}
		}
	}
}

// testPeriods: what is added to scores is added in the periods that [reward.Periods] says, around the ends of years too.
func testPeriods(t *testing.T, b *bed) {
	name := b.database(t)
	s, err := postgres.Open(t.Context(), b.server.URL("counter", name), reward.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	var events []reward.Event
	want := make(map[string]int64) // thousandths of a point
	for year := 2000; year < 2200; year++ {
		for day := -3; day <= 3; day++ {
			at := time.Date(year, 1, 1+day, 12, 0, 0, 0, time.UTC).UnixMilli()
			if day < 0 && year == 2000 {
				continue // too early for an event
			}
			events = append(events, reward.Event{ID: fmt.Sprint(at), Kind: "created", User: "ann", Team: "red", Subject: fmt.Sprint(at), At: at})
			for _, period := range reward.Periods(reward.DayOf(at)) {
				want[period] += 2000
			}
		}
	}
	for batch := range slices.Chunk(events, 100) {
		if _, err := s.Count(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	s.Close() // which adds what is left
	for line := range strings.Lines(b.server.SQL(name, `SELECT period, sum(xp) FROM reward.scores CROSS JOIN unnest(ARRAY['all', to_char(first, 'IYYY-"W"IW'), to_char(first, 'YYYY-MM')]) period
		WHERE team = 'red' AND user_id = 'ann' GROUP BY period`)) {
		period, xp, _ := strings.Cut(strings.TrimSpace(line), "|")
		if fmt.Sprint(want[period]) != xp {
			t.Errorf("%s: %s, want %d", period, xp, want[period])
		}
		delete(want, period)
	}
	if len(want) > 0 {
		t.Errorf("no scores for %v", want)
	}
	if left := b.server.SQL(name, "SELECT count(*) FROM reward.score_changes"); left != "0" {
		t.Errorf("%s batches are left", left)
	}
}

// testLeaderPeriods: on each day from the last Sunday of a year, the leaderboards have what was earned in the week and in the month of that day, and in all. The view is asked with
// that day in the place of now; what was earned on each day is another power of two, so that no other days have the same sum.
func testLeaderPeriods(t *testing.T, b *bed) {
	name := b.database(t)
	b.server.SQL(name, "INSERT INTO app.workspaces VALUES ('red', ''); INSERT INTO app.members VALUES ('red', 'ann', 'viewer', 1)")
	s := b.store(t, name, b.server.URL("counter", name), b.server.URL("app", name), reward.BuiltIn())
	first := reward.DayOf(time.Date(2023, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()) // a Sunday; February has 29 days
	var of, days, xps, reached []string
	want := make(map[string]int64)
	for i := range 62 {
		day := first + reward.Day(i)
		of, days, xps, reached = append(of, "red"), append(days, fmt.Sprint(int64(day))), append(xps, fmt.Sprint(int64(1)<<i)), append(reached, "1")
		for _, period := range reward.Periods(day) {
			want[period] += 1 << i
		}
	}
	list := func(texts []string) string { return "'{" + strings.Join(texts, ",") + "}'" }
	b.server.SQL(name, "INSERT INTO reward.score_changes (teams, days, users, xps, reached) SELECT t, d, array_fill('ann'::text, ARRAY[62]), x, r FROM (SELECT "+
		list(of)+"::text[], "+list(days)+"::bigint[], "+list(xps)+"::bigint[], "+list(reached)+"::bigint[]) AS c (t, d, x, r)")
	if _, err := s.Store.Refresh(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	view := strings.TrimSuffix(b.server.SQL(name, "SELECT pg_get_viewdef('reward.leaders'::regclass)"), ";")
	if strings.Count(view, "now()") != 1 {
		t.Fatalf("the view asks for the time more than once, or not:\n%s", view)
	}
	for i := range 62 {
		for _, clock := range []string{"00:00:00", "23:59:59.999"} {
			day := first + reward.Day(i)
			at := day.Time().Format(time.DateOnly) + " " + clock
			var expect []string
			for _, period := range reward.Periods(day) {
				expect = append(expect, fmt.Sprintf("%s|%d|1", period, want[period]))
			}
			slices.Sort(expect)
			got := b.server.SQL(name, "SELECT period, xp, rank FROM ("+strings.ReplaceAll(view, "now()", "timestamptz '"+at+"+00'")+`) AS l ORDER BY period COLLATE "C"`)
			if got != strings.Join(expect, "\n") {
				t.Errorf("at %s:\n%s\nwant\n%s", at, got, strings.Join(expect, "\n"))
			}
		}
	}
}

// testScoresLeft: what a worker has left that died behind its batch is added once, by whoever comes next.
func testScoresLeft(t *testing.T, b *bed) {
	name := b.database(t)
	s := b.store(t, name, b.server.URL("counter", name), b.server.URL("app", name), reward.BuiltIn())
	leave := func() {
		b.server.SQL(name, `INSERT INTO reward.score_changes (teams, days, users, xps, reached)
			VALUES ('{red,red,red}', '{20783,20783,20784}', '{ann,ann,ann}', '{1000,2000,4000}', '{5,7,6}')`)
	}
	has := func(want string) {
		t.Helper()
		if got := b.server.SQL(name, "SELECT sum(xp), max(reached), (SELECT count(*) FROM reward.score_changes) FROM reward.scores WHERE user_id = 'ann'"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	leave()
	leave()
	for range 2 {
		if _, err := s.Refresh(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		has("14000|7|0")
	}
	leave()
	other, err := postgres.Open(t.Context(), b.server.URL("counter", name), reward.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Count(t.Context(), []reward.Event{{ID: "1", Kind: "created", User: "bob", Team: "red", Subject: "c", At: time.Now().UnixMilli()}}); err != nil {
		t.Fatal(err)
	}
	other.Close()
	has("21000|7|0")
}

// testScoresBehind: while scores cannot be added to, batches are counted as far as they may be left, and then it is an error that passes; later everything is there once.
func testScoresBehind(t *testing.T, b *bed) {
	name := b.database(t)
	s, err := postgres.Open(t.Context(), b.server.URL("counter", name), reward.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b.server.SQL(name, "ALTER TABLE reward.scores ADD CONSTRAINT stuck CHECK (xp < 0)")
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = s.Count(t.Context(), []reward.Event{{ID: fmt.Sprint(n), Kind: "created", User: fmt.Sprint("user", n), Team: "red", Subject: fmt.Sprint(n), At: time.Now().UnixMilli()}})
	}
	if _, data := errors.AsType[*reward.DataError](err); err == nil || data {
		t.Fatalf("after %d batches: %v", n, err)
	}
	b.server.SQL(name, "ALTER TABLE reward.scores DROP CONSTRAINT stuck")
	s.Close()
	if got := b.server.SQL(name, "SELECT count(*), sum(xp) FROM reward.scores"); got != fmt.Sprintf("%d|%d", n, 2000*n) {
		t.Errorf("scores %s of %d events", got, n)
	}
}
