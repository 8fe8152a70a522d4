package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/postgres"
	"github.com/millracehq/millrace/backend/store/storetest"
	"github.com/millracehq/millrace/internal/pgtest"
)

// bed is a server with databases, which belong to boards_owner; backends log in as app.
type bed struct {
	server *pgtest.Server
	n      atomic.Int64
	mu     sync.Mutex
}

func newBed(t testing.TB, args ...string) *bed {
	t.Helper()
	b := &bed{server: pgtest.Start(t, args...)}
	b.server.SQL("postgres", `CREATE ROLE boards_owner LOGIN CREATEROLE; CREATE ROLE app LOGIN; CREATE ROLE millrace_app NOLOGIN; GRANT millrace_app TO app`)
	return b
}

// database is a new database with the schema.
func (b *bed) database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("boards%d", b.n.Add(1))
	b.mu.Lock()
	b.server.SQL("postgres", "CREATE DATABASE "+name+" OWNER boards_owner")
	b.mu.Unlock()
	ran, err := postgres.Migrate(t.Context(), b.server.URL("boards_owner", name))
	if err != nil || len(ran) != postgres.Version() {
		t.Fatalf("migrated %v: %v", ran, err)
	}
	return name
}

func open(t testing.TB, url string, now func() time.Time) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, board.Rules{}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	t.Run("direct", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
			return open(t, b.server.URL("app", b.database(t)), now)
		})
	})
	t.Run("prepared", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
			return open(t, b.server.URL("app", b.database(t))+"&default_query_exec_mode=cache_statement", now)
		})
	})
	t.Run("pgbouncer with one connection", func(t *testing.T) {
		t.Parallel()
		port := b.server.Bouncer(1)
		storetest.Run(t, func(t *testing.T, now func() time.Time) store.Store {
			return open(t, b.server.BouncerURL(port, b.database(t)), now)
		})
	})
	t.Run("migrate", func(t *testing.T) { t.Parallel(); testMigrate(t, b) })
	t.Run("score parts", func(t *testing.T) { t.Parallel(); testScoreParts(t, b) })
	t.Run("catalog", func(t *testing.T) { t.Parallel(); testCatalog(t, b) })
	t.Run("without a user", func(t *testing.T) { t.Parallel(); testWithoutUser(t, b) })
	t.Run("trace", func(t *testing.T) { t.Parallel(); testTrace(t, b) })
	t.Run("plans", func(t *testing.T) { t.Parallel(); testPlans(t, b) })
}

func testMigrate(t *testing.T, b *bed) {
	b.mu.Lock()
	b.server.SQL("postgres", "CREATE DATABASE empty OWNER boards_owner")
	b.mu.Unlock()
	owner, app := b.server.URL("boards_owner", "empty"), b.server.URL("app", "empty")
	if _, err := postgres.Open(t.Context(), app, board.Rules{}, nil); err == nil || !strings.Contains(err.Error(), "migrate up") {
		t.Errorf("without a schema: %v", err)
	}
	if v, err := postgres.Status(t.Context(), owner); v != 0 || err != nil {
		t.Errorf("status %d, %v", v, err)
	}
	var wait sync.WaitGroup
	var ran atomic.Int64
	for range 3 { // several at once
		wait.Go(func() {
			names, err := postgres.Migrate(t.Context(), owner)
			if err != nil {
				t.Error(err)
			}
			ran.Add(int64(len(names)))
		})
	}
	wait.Wait()
	if v, err := postgres.Status(t.Context(), owner); v != postgres.Version() || err != nil || ran.Load() != int64(v) {
		t.Errorf("status %d, %v, %d were run", v, err, ran.Load())
	}
	if _, err := postgres.Open(t.Context(), b.server.URL("postgres", "empty"), board.Rules{}, nil); err == nil || !strings.Contains(err.Error(), "bypasses") {
		t.Errorf("as a superuser: %v", err)
	}
	b.server.SQL("empty", "INSERT INTO app.migrations (version, name) VALUES (99, 'of the future')")
	if _, err := postgres.Migrate(t.Context(), owner); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("a newer schema: %v", err)
	}
	if _, err := postgres.Open(t.Context(), app, board.Rules{}, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("version %d,", postgres.Version()+1)) {
		t.Errorf("a newer schema: %v", err)
	}
}

// testScoreParts: scores of weeks, months and all, as version 7 had them, become those of the days in which a week and a month overlap.
func testScoreParts(t *testing.T, b *bed) {
	b.mu.Lock()
	b.server.SQL("postgres", "CREATE DATABASE parts OWNER boards_owner")
	b.mu.Unlock()
	owner := b.server.URL("boards_owner", "parts")
	if _, err := postgres.MigrateTo(t.Context(), owner, 7); err != nil {
		t.Fatal(err)
	}
	b.server.SQL("parts", `CREATE TABLE did AS SELECT 'user' || u AS user_id, 'team' || u % 3 AS team, date '2024-12-01' + (random() * 500)::int AS day, (random() * 1000)::int - 100 AS xp
			FROM generate_series(1, 9) u, generate_series(1, 200);
		INSERT INTO did SELECT 'rare', 'team', date '2025-01-29' + i, 1 FROM generate_series(0, 9) i;
		INSERT INTO reward.scores (team, period, user_id, xp, reached) SELECT team, period, user_id, sum(xp), 1
			FROM did CROSS JOIN unnest(ARRAY['all', to_char(day, 'IYYY-"W"IW'), to_char(day, 'YYYY-MM')]) AS period GROUP BY 1, 2, 3`)
	if ran, err := postgres.Migrate(t.Context(), owner); err != nil || len(ran) != postgres.Version()-7 {
		t.Fatal(ran, err)
	}
	if wrong := b.server.SQL("parts", `SELECT * FROM
		(SELECT user_id, team, greatest(date_trunc('week', day), date_trunc('month', day))::date AS first, sum(xp) AS xp FROM did GROUP BY 1, 2, 3) AS want
		FULL JOIN reward.scores s USING (user_id, team, first) WHERE coalesce(want.xp, 0) <> coalesce(s.xp, 0)`); wrong != "" {
		t.Errorf("user, team, first day, XP wanted, XP had:\n%s", wrong)
	}
	if n := b.server.SQL("parts", "SELECT count(*) > 500 FROM reward.scores WHERE xp <> 0"); n != "t" {
		t.Error("there are few scores: ", n)
	}
}

// testCatalog: row-level security is forced on every table, each right has its policy, and nothing is open to the public.
func testCatalog(t *testing.T, b *bed) {
	name := b.database(t)
	tables := strings.Fields(b.server.SQL(name, `SELECT relname || ':' || relrowsecurity || ':' || relforcerowsecurity FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema')`))
	if len(tables) != 17 {
		t.Errorf("tables %v", tables)
	}
	for _, table := range tables {
		if !strings.HasSuffix(table, ":true:true") {
			t.Errorf("%s: row-level security is not forced", table)
		}
	}
	for what, query := range map[string]string{
		"a right without a policy": `SELECT g.table_name, g.privilege_type FROM information_schema.role_table_grants g
			WHERE g.grantee IN ('millrace_app', 'millrace_rewards') AND g.table_name <> 'seen_leaders' AND NOT EXISTS (SELECT FROM pg_policies p
			WHERE p.schemaname = g.table_schema AND p.tablename = g.table_name AND p.cmd = g.privilege_type AND g.grantee = ANY (p.roles))`,
		"a policy for all":                    `SELECT tablename, policyname FROM pg_policies WHERE 'public' = ANY (roles)`,
		"a policy of writing without a check": `SELECT tablename, policyname FROM pg_policies WHERE cmd IN ('INSERT', 'UPDATE') AND with_check IS NULL`,
		"a right of the public to a table": `SELECT table_schema, table_name FROM information_schema.table_privileges
			WHERE grantee = 'PUBLIC' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
		"a function for the public": `SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE nspname IN ('app', 'reward') AND has_function_privilege('public', p.oid, 'EXECUTE')`,
		"a function that runs as its owner with a path to change": `SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE nspname IN ('app', 'reward') AND prosecdef AND NOT coalesce(proconfig, '{}') && ARRAY['search_path=' || nspname || ', pg_temp']`,
		"a view that does not ask who looks": `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE nspname IN ('app', 'reward') AND relkind = 'v' AND NOT coalesce(reloptions, '{}') && ARRAY['security_invoker=true', 'security_barrier=true']`,
		"a right to a materialized view": `SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a WHERE relkind = 'm' AND a.grantee <> c.relowner`,
		"a table of the role":            `SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) IN ('millrace_app', 'millrace_rewards', 'app')`,
		"a role that bypasses":           `SELECT rolname FROM pg_roles WHERE rolname IN ('app', 'millrace_app', 'millrace_rewards', 'boards_owner') AND (rolsuper OR rolbypassrls)`,
		"a policy that asks for each row": `SELECT tablename, policyname FROM pg_policies WHERE 'millrace_app' = ANY (roles) AND tablename NOT IN ('migrations', 'refreshed')
			AND coalesce(qual, '') || coalesce(with_check, '') !~ '\( ?SELECT'`,
	} {
		if got := b.server.SQL(name, query); got != "" {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// testWithoutUser: on the one connection that others have used, and failed on, a statement without a user sees and changes nothing.
func testWithoutUser(t *testing.T, b *bed) {
	name := b.database(t)
	port := b.server.Bouncer(1)
	s := open(t, b.server.BouncerURL(port, name), nil)
	ctx := t.Context()
	if err := s.CreateWorkspace(ctx, "ann", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateBoard(ctx, "ann", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	cfg, err := pgx.ParseConfig(b.server.BouncerURL(port, name))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn := connect(t, cfg)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "SELECT set_config('app.user_id', 'ann', true)"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(late, "SELECT pg_sleep(10)"); err == nil {
		t.Fatal("a statement was not cut off")
	}
	conn.Close(ctx)

	conn = connect(t, cfg)
	for _, table := range []string{"workspaces", "members", "boards", "board_rows", "mutations", "clients", "conflicts"} {
		var n int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM app."+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s without a user: %d rows, %v", table, n, err)
		}
	}
	if tag, err := conn.Exec(ctx, "UPDATE app.boards SET title = 'x'"); err != nil || tag.RowsAffected() != 0 {
		t.Errorf("updated %d boards, %v", tag.RowsAffected(), err)
	}
	for _, statement := range []string{
		"INSERT INTO app.boards (id, workspace, title, version) VALUES ('c', 'w', 'C', 1)", "SELECT app.create_workspace('v', 'V')",
		"DELETE FROM app.boards", "TRUNCATE app.boards", "ALTER TABLE app.boards DISABLE ROW LEVEL SECURITY", "SET ROLE boards_owner",
	} {
		if _, err := conn.Exec(ctx, statement); err == nil {
			t.Errorf("%s: no error", statement)
		}
	}
}

// testTrace: a commit is known to the database by its trace, also through PgBouncer, and the next one on that connection is not.
func testTrace(t *testing.T, b *bed) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	name := b.database(t)
	b.server.SQL(name, `CREATE TABLE public.seen (id serial, name text);
		CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
		$$ BEGIN INSERT INTO public.seen (name) VALUES (current_setting('application_name')); RETURN NEW; END $$;
		CREATE TRIGGER note BEFORE UPDATE ON app.boards FOR EACH ROW EXECUTE FUNCTION public.note()`)
	s := open(t, b.server.BouncerURL(b.server.Bouncer(1), name), nil)
	ctx := t.Context()
	if err := s.CreateWorkspace(ctx, "ann", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateBoard(ctx, "ann", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	for n, ctx := range []context.Context{store.WithTrace(ctx, trace), ctx, store.WithTrace(ctx, "'; DROP TABLE app.boards")} {
		op := board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: fmt.Sprint("c", n), Values: map[string]board.Value{"title": board.Text("t")}}
		m := &board.Mutation{Client: "c", N: int64(n + 1), Schema: board.Schema, User: "ann", Ops: []board.Op{op}}
		if d, err := s.Commit(ctx, "b", []*board.Mutation{m}); err != nil || d.To != int64(n+1) {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if got := b.server.SQL(name, "SELECT coalesce(nullif(name, ''), 'none') FROM public.seen ORDER BY id"); got != trace+"\nnone\nnone" {
		t.Errorf("the database has seen %q", got)
	}
}

func connect(t *testing.T, cfg *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// testPlans: with many rows (1,000,000 if PLAN_ROWS says so) the policies are evaluated once and the rows come from an index.
func testPlans(t *testing.T, b *bed) {
	rows := "20000"
	if n := os.Getenv("PLAN_ROWS"); n != "" {
		rows = n
	}
	name := b.database(t)
	b.server.SQL(name, `INSERT INTO app.workspaces SELECT 'w' || i, 'W' FROM generate_series(0, 99) i;
		INSERT INTO app.members SELECT 'w' || i, 'u' || i, 'owner', 1 FROM generate_series(0, 99) i;
		INSERT INTO app.boards (id, workspace, title, version, seq) SELECT 'b' || i, 'w' || i % 100, 'B', 1, 1000000 FROM generate_series(0, 999) i;
		INSERT INTO app.board_rows SELECT 'b' || i % 1000, 'card', 'c' || i, i / 1000, 'l' || i % 7, 'a' || i,
			'{"title":["common number ' || i || '",1,"c",1],"life":["live",1,"c",1]}' FROM generate_series(1, `+rows+`) i;
		INSERT INTO app.mutations SELECT 'b' || i % 1000, 'c', i, 'u1', i, 0, '', '' FROM generate_series(1, `+rows+`) i;
		ANALYZE`)
	conn := connect(t, must(pgx.ParseConfig(b.server.URL("app", name))))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), "SELECT set_config('app.user_id', 'u7', true)"); err != nil {
		t.Fatal(err)
	}
	explainAll(t, tx, rows)
	if _, err := tx.Exec(t.Context(), "SELECT set_config('app.board_id', 'b7', true)"); err != nil {
		t.Fatal(err)
	}
	explainAll(t, tx, rows)
	var n int
	if err := tx.QueryRow(t.Context(), "SELECT count(DISTINCT board) FROM app.board_rows").Scan(&n); err != nil || n != 1 {
		t.Errorf("a transaction on one board sees %d, %v", n, err)
	}
	testSearchPlan(t, b, name)
}

func explainAll(t *testing.T, tx pgx.Tx, rows string) {
	t.Helper()
	for _, query := range []string{
		"SELECT regs FROM app.board_rows WHERE board = 'b7' AND seq > 5 ORDER BY seq, kind, id",
		"SELECT regs FROM app.board_rows WHERE board = 'b7' AND lane = 'l1' AND pos > 'a5' ORDER BY pos LIMIT 1",
		"SELECT regs FROM app.board_rows WHERE board = 'b7' AND (kind, id) IN (SELECT * FROM unnest(ARRAY['card'], ARRAY['c7']))",
		"SELECT body FROM app.mutations WHERE board = 'b7' AND seq > 5 ORDER BY seq LIMIT 100",
		"SELECT result FROM app.mutations WHERE board = 'b7' AND client = 'c' AND n > 1 ORDER BY n",
		"UPDATE app.board_rows SET regs = '{}' WHERE board = 'b7' AND kind = 'card' AND id = 'c7'",
	} {
		var plan []byte
		if err := tx.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+query).Scan(&plan); err != nil {
			t.Fatal(err)
		}
		var parsed []map[string]any
		if err := json.Unmarshal(plan, &parsed); err != nil {
			t.Fatal(err)
		}
		text := string(plan)
		if !strings.Contains(text, "InitPlan") || strings.Contains(text, "SubPlan") || strings.Contains(text, `"Seq Scan"`) {
			t.Errorf("%s:\n%s", query, text)
		}
		t.Logf("%s rows, %.2f ms: %s", rows, parsed[0]["Execution Time"], query)
	}
}

// testSearchPlan: a search reads the rows that the index names, which are all of the user's boards.
func testSearchPlan(t *testing.T, b *bed, name string) {
	conn := connect(t, must(pgx.ParseConfig(b.server.URL("boards_owner", name))))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	var body string
	if err := tx.QueryRow(t.Context(), "SELECT prosrc FROM pg_proc WHERE proname = 'search'").Scan(&body); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"SELECT set_config('app.user_id', 'u7', true)", "SET LOCAL plan_cache_mode = force_generic_plan",
		"PREPARE search (text, text, text, bigint, text, text, text, int) AS " + body,
	} {
		if _, err := tx.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	var plan []byte
	explain := "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE search ('common:*', '', '', 0, '', '', '', 20)"
	if err := tx.QueryRow(t.Context(), explain, pgx.QueryExecModeSimpleProtocol).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	var parsed []map[string]any
	if err := json.Unmarshal(plan, &parsed); err != nil {
		t.Fatal(err)
	}
	if text := string(plan); !strings.Contains(text, "rows_by_word") || strings.Contains(text, `"Rows Removed by Filter": 1`) {
		t.Errorf("search:\n%s", text)
	}
	t.Logf("%.2f ms: search", parsed[0]["Execution Time"])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkCommit has a server that syncs its log to disk.
func BenchmarkCommit(b *testing.B) {
	bed := newBed(b, "-c", "fsync=on")
	storetest.Bench(b, func(b *testing.B) store.Store {
		b.Helper()
		return open(b, bed.server.URL("app", bed.database(b)), nil)
	})
}
