package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/internal/pgtest"
)

// TestReplica: the store with a replica is the same store, whatever the replica's state; and it is read where it may be.
func TestReplica(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	name := b.database(t)
	primary := b.server
	standby := primary.Standby()
	set := metrics.NewSet()
	s := open(t, primary.URL("app", name), nil)
	if err := s.UseReplica(t.Context(), standby.URL("app", name), set); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := s.CreateWorkspace(ctx, "ann", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateBoard(ctx, "ann", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	member := func(role store.Role, version int64) {
		t.Helper()
		if _, err := s.SetMember(ctx, "ann", "w", store.Member{User: "bob", Role: role, Version: version}); err != nil {
			t.Fatal(err)
		}
	}
	member(store.Viewer, 0)
	n := int64(0)
	commit := func() {
		t.Helper()
		n++
		op := board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: fmt.Sprint("c", n), Values: map[string]board.Value{"title": board.Text("t")}}
		m := &board.Mutation{Client: "c", N: n, Schema: board.Schema, User: "ann", Ops: []board.Op{op}}
		if _, err := s.Commit(ctx, "b", []*board.Mutation{m}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string) {
		t.Helper()
		d, err := s.Pull(ctx, "bob", "b", store.Since{})
		if err != nil || d.To != n || len(d.Rows) != int(n) || board.FormatHash(d.Apply(board.NewTable()).Hash()) != d.Hash {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
		log, err := s.Log(ctx, "bob", "b", 0, 10)
		if err != nil || len(log) != int(n) {
			t.Errorf("%s: %d entries, %v", what, len(log), err)
		}
		rows, seq, err := s.Rows(ctx, "bob", "b", []board.Key{{Kind: board.KindColumn, ID: fmt.Sprint("c", n)}})
		if err != nil || seq != n || len(rows) != 1 {
			t.Errorf("%s: %d rows as of %d, %v", what, len(rows), seq, err)
		}
	}
	reads := func(result string) string {
		var text strings.Builder
		set.WritePrometheus(&text)
		_, rest, _ := strings.Cut(text.String(), fmt.Sprintf("replica_reads_total{result=%q} ", result))
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	wantUntil := func(what, result string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); reads(result) == "0" && time.Now().Before(end); {
			want(what)
		}
		if reads(result) == "0" {
			t.Errorf("%s: used %s times, behind %s, failed %s", what, reads("used"), reads("behind"), reads("failed"))
		}
	}
	commit()
	follow(t, primary, standby)
	wantUntil("level", "used")
	standby.SQL(name, "SELECT pg_wal_replay_pause()")
	until(t, standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
	commit()
	wantUntil("behind", "behind")
	member(store.None, 1) // of which the replica does not hear
	if _, err := s.Pull(ctx, "bob", "b", store.Since{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("bob has left, and pulls: %v", err)
	}
	if _, err := s.Log(ctx, "bob", "b", 0, 10); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("bob has left, and reads the log: %v", err)
	}
	if _, _, err := s.Rows(ctx, "bob", "b", []board.Key{{Kind: board.KindColumn, ID: "c1"}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("bob has left, and reads rows: %v", err)
	}
	member(store.Viewer, 2)
	standby.Kill()
	wantUntil("down", "failed")
}

// follow waits until a standby has what its primary has.
func follow(t *testing.T, primary, standby *pgtest.Server) {
	t.Helper()
	query := "SELECT pg_last_wal_replay_lsn() >= '" + primary.SQL("postgres", "SELECT pg_current_wal_lsn()") + "'"
	until(t, standby, query)
}

// until waits until a query says that it is so.
func until(t *testing.T, server *pgtest.Server, query string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); server.SQL("postgres", query) != "t"; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", query)
		}
	}
}
