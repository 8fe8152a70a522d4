package pgtest

import "testing"

// TestServer: what is committed survives a crash, and PgBouncer leads to the same database.
func TestServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.SQL("postgres", "CREATE ROLE app LOGIN; CREATE TABLE t (n int); GRANT SELECT ON t TO app; INSERT INTO t VALUES (7)")
	s.Restart()
	if got := s.SQL("postgres", "SELECT n FROM t"); got != "7" {
		t.Errorf("after a restart there is %q", got)
	}
	port := s.Bouncer(1)
	if got := s.psql(s.BouncerURL(port, "postgres"), "SELECT n, current_user FROM t"); got != "7|app" {
		t.Errorf("through PgBouncer there is %q", got)
	}
}
