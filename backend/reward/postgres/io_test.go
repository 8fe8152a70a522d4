package postgres_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/postgres"
)

var (
	ioEvents = flag.Int("io", 0, "TestIO: count so many events, one by one and in batches, and compare what PostgreSQL writes")
	ioOut    = flag.String("io-out", "", "TestIO: write the table to this file, too")
)

// TestIO compares what PostgreSQL has to do for the same events, one in a transaction and many: make bench-rewards. Without -io it does it with
// few, and looks that batches do write less.
func TestIO(t *testing.T) {
	n, sizes := *ioEvents, []int{1, 500, 2000} // the defaults of --batch and --max-batch
	if n == 0 {
		n, sizes = 200, []int{1, 100}
	}
	b := newBed(t, "-c", "fsync=on", "-c", "max_wal_size=8GB", "-c", "wal_compression=lz4", "-c", "autovacuum=off") // as docs/REWARDS.md advises
	events := workday(n)
	var all [][]float64
	first := ""
	for i, size := range sizes {
		figures, users := measure(t, b, events, size)
		all = append(all, figures)
		if i == 0 {
			first = users
		} else if users != first {
			t.Errorf("one by one the users have %s, in batches of %d %s", first, size, users)
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d events of %d users, fsync on, WAL compressed by lz4, one in a transaction against batches:\n\n| | one by one |", n, ioUsers)
	for _, size := range sizes[1:] {
		fmt.Fprintf(&out, " batches of %d | less |", size)
	}
	out.WriteString("\n|---|--:|" + strings.Repeat("--:|--:|", len(sizes)-1) + "\n")
	for i, name := range ioNames {
		single := all[0][i]
		fmt.Fprintf(&out, "| %s | %.0f |", name, single)
		for _, figures := range all[1:] {
			less := 100 * (1 - figures[i]/single)
			fmt.Fprintf(&out, " %.0f | %.1f %% |", figures[i], less)
			if less < 50 && slices.Contains([]string{"transactions", "syncs of the WAL"}, name) {
				t.Errorf("%s: %.0f one by one, %.0f in batches", name, single, figures[i])
			}
		}
		out.WriteString("\n")
	}
	t.Log("\n" + out.String())
	if *ioOut != "" {
		head := fmt.Sprintf("# What rewards write\n\nBy `make bench-rewards`, %s. PostgreSQL's own counters (pg_stat_database, pg_stat_wal, pg_stat_bgwriter), a checkpoint at the end included.\n\n", time.Now().UTC().Format(time.DateOnly))
		if err := os.WriteFile(*ioOut, []byte(head+out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const ioUsers = 1000

var ioNames = []string{"transactions", "WAL bytes", "WAL records", "writes of the WAL", "syncs of the WAL", "blocks written by backends and the checkpoint", "seconds"}

// workday is events of some users in ten teams, as boards would tell them.
func workday(n int) []reward.Event {
	r := rand.New(rand.NewPCG(1, 1))
	now := time.Now().UnixMilli()
	out := make([]reward.Event, n)
	for i := range out {
		user := r.IntN(ioUsers)
		team := fmt.Sprint("team", user%10)
		out[i] = reward.Event{
			ID: fmt.Sprintf("board:%s:%d:0", team, i), Kind: []string{"created", "completed", "commented"}[r.IntN(3)], User: fmt.Sprint("user", user), Team: team,
			Subject: fmt.Sprintf("%s/%d", team, i/2), At: now, Prio: r.Int64N(5), Est: r.Int64N(9), Born: now - 3_600_000,
		}
	}
	return out
}

// measure counts events in batches of a size, and returns what the server did for it and what the users have then.
func measure(t *testing.T, b *bed, events []reward.Event, size int) ([]float64, string) {
	t.Helper()
	name := b.database(t)
	s, err := postgres.Open(t.Context(), b.server.URL("counter", name), reward.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b.server.SQL(name, "CHECKPOINT; SELECT pg_stat_reset_shared('wal'), pg_stat_reset_shared('bgwriter')")
	// What the pool's idle connections have not reported yet is a rest of the same few on both sides.
	before := counters(t, b, name)
	start := time.Now()
	for batch := range slices.Chunk(events, size) {
		if c, err := s.Count(t.Context(), batch); err != nil || c.Fresh != len(batch) {
			t.Fatal(c.Fresh, err)
		}
	}
	seconds := time.Since(start).Seconds()
	s.Close() // backends report at their end
	b.server.SQL(name, "CHECKPOINT")
	after := counters(t, b, name)
	out := make([]float64, 0, len(after)+1)
	for i := range after {
		out = append(out, max(after[i]-before[i], 0))
	}
	return append(out, seconds), b.server.SQL(name, "SELECT count(*), sum(xp), (SELECT count(*) FROM reward.facts) FROM reward.users")
}

func counters(t *testing.T, b *bed, name string) []float64 {
	t.Helper()
	text := b.server.SQL(name, `SELECT pg_stat_force_next_flush(); SELECT d.xact_commit, w.wal_bytes, w.wal_records, w.wal_write, w.wal_sync, g.buffers_checkpoint + g.buffers_backend + g.buffers_clean
		FROM pg_stat_database d, pg_stat_wal w, pg_stat_bgwriter g WHERE d.datname = current_database()`)
	out := make([]float64, 6)
	text = text[strings.LastIndexByte(text, '\n')+1:]
	if n, err := fmt.Sscanf(strings.ReplaceAll(text, "|", " "), "%f %f %f %f %f %f", &out[0], &out[1], &out[2], &out[3], &out[4], &out[5]); n != len(out) {
		t.Fatal(text, err)
	}
	return out
}
