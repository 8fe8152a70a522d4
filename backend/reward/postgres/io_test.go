package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/postgres"
)

var (
	ioEvents = flag.Int("io", 0, "TestIO: count so many events, a row at a time and in batches, and compare what PostgreSQL writes")
	ioOut    = flag.String("io-out", "", "TestIO: write the table to this file, too")
)

// TestIO compares what PostgreSQL has to do for the same events, a row at a time and in batches: make bench-rewards. Without -io it does it with
// few, and looks that batches do write less.
func TestIO(t *testing.T) {
	n, sizes := *ioEvents, []int{alone, 500, 2000} // the defaults of --batch and --max-batch
	if n == 0 {
		n, sizes = 200, []int{alone, 100}
	}
	b := newBed(t, "-c", "fsync=on", "-c", "max_wal_size=8GB", "-c", "wal_compression=lz4", "-c", "autovacuum=off", // as docs/REWARDS.md advises
		"-c", "wal_init_zero=off", "-c", "wal_keep_size=1GB") // a new segment would be 16 MiB written, wherever it falls; all of the WAL is read in the end
	events := workday(n)
	var all [][]float64
	first := ""
	for i, size := range sizes {
		figures, users := measure(t, b, events, size)
		all = append(all, figures)
		if i == 0 {
			first = users
		} else if users != first {
			t.Errorf("a row at a time the users have %s, in batches of %d %s", first, size, users)
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d events of %d users, fsync on, WAL compressed by lz4, a row at a time against batches:\n\n| | row at a time |", n, ioUsers)
	for _, size := range sizes[1:] {
		fmt.Fprintf(&out, " batches of %d | less |", size)
	}
	out.WriteString("\n|---|--:|" + strings.Repeat("--:|--:|", len(sizes)-1) + "\n")
	for i, name := range ioNames {
		single := all[0][i]
		if single == 0 {
			continue // not known here
		}
		fmt.Fprintf(&out, "| %s | %.0f |", name, single)
		for _, figures := range all[1:] {
			less := 100 * (1 - figures[i]/single)
			fmt.Fprintf(&out, " %.0f | %.1f %% |", figures[i], less)
			if less < 50 && slices.Contains([]string{"transactions", "syncs of the WAL"}, name) {
				t.Errorf("%s: %.0f a row at a time, %.0f in batches", name, single, figures[i])
			}
		}
		out.WriteString("\n")
	}
	wal, facts := slices.Index(ioNames, "WAL bytes"), slices.Index(ioNames, "WAL bytes of facts")
	fmt.Fprintf(&out, bound, 100*(1-all[0][facts]/all[0][wal]))
	t.Log("\n" + out.String())
	if *ioOut != "" {
		head := fmt.Sprintf("# What rewards write\n\nBy `make bench-rewards`, %s. PostgreSQL's own counters (pg_stat_database, pg_stat_wal, pg_stat_bgwriter), a checkpoint at the end included.\n\n", time.Now().UTC().Format(time.DateOnly))
		if err := os.WriteFile(*ioOut, []byte(head+out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// bound says what batches cannot do.
const bound = `
Row at a time: one transaction for an event, by the same statements, whose commit waits for the disk. Bytes written to files are those of all write calls of the server (/proc/PID/io): a sync writes whole
pages of 8 KiB, however little is in them, and this is what batches save. (Segments of the WAL are not filled with zeros ahead here; those that are used again never are.) WAL bytes are what is in them. Facts are the ledger: a row and its entries in two indexes for each event, which nobody who counts each event
once can leave out, alone or in batches. With facts as they are, and nothing else written, WAL bytes would be %.0f %% less. Days and users are written once for a batch: with users drawn at random, 500 events are of some 390
of 1,000. A block is written once for a checkpoint, however often it was changed before, so blocks are those that were touched, and batches do not touch fewer.
`

const (
	ioUsers = 1000
	alone   = 1 // the size for [postgres.Store.CountAlone]
)

var ioNames = []string{
	"transactions", "WAL bytes", "WAL records", "writes of the WAL", "syncs of the WAL", "blocks written by backends and the checkpoint", "bytes written to files",
	"WAL bytes of facts", "seconds",
}

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
	if *ioEvents > 0 {
		b.server.SQL(name, "CREATE EXTENSION pg_walinspect")
	}
	b.server.SQL(name, "CHECKPOINT; SELECT pg_stat_reset_shared('wal'), pg_stat_reset_shared('bgwriter')")
	// What the pool's idle connections have not reported yet is a rest of the same few on both sides.
	from := b.server.SQL(name, "SELECT pg_current_wal_insert_lsn()")
	before := counters(t, b, name)
	start := time.Now()
	for batch := range slices.Chunk(events, size) {
		count := s.Count
		if size == alone {
			count = func(ctx context.Context, events []reward.Event) (reward.Counted, error) {
				return s.CountAlone(ctx, events[0])
			}
		}
		if c, err := count(t.Context(), batch); err != nil || c.Fresh != len(batch) {
			t.Fatal(c.Fresh, err)
		}
	}
	seconds := time.Since(start).Seconds()
	s.Close() // backends report at their end
	b.server.SQL(name, "CHECKPOINT")
	after := counters(t, b, name)
	of := 0.0
	if *ioEvents > 0 {
		of = factBytes(t, b, name, from)
	}
	out := make([]float64, 0, len(ioNames))
	for i := range after {
		out = append(out, max(after[i]-before[i], 0))
	}
	return append(out, of, seconds), b.server.SQL(name, "SELECT count(*), sum(xp), (SELECT count(*) FROM reward.facts) FROM reward.users")
}

func counters(t *testing.T, b *bed, name string) []float64 {
	t.Helper()
	text := b.server.SQL(name, `SELECT pg_stat_force_next_flush(); SELECT d.xact_commit, w.wal_bytes, w.wal_records, w.wal_write, w.wal_sync, g.buffers_checkpoint + g.buffers_backend + g.buffers_clean
		FROM pg_stat_database d, pg_stat_wal w, pg_stat_bgwriter g WHERE d.datname = current_database()`)
	out := make([]float64, 6, 8)
	text = text[strings.LastIndexByte(text, '\n')+1:]
	if n, err := fmt.Sscanf(strings.ReplaceAll(text, "|", " "), "%f %f %f %f %f %f", &out[0], &out[1], &out[2], &out[3], &out[4], &out[5]); n != len(out) {
		t.Fatal(text, err)
	}
	return append(out, written(t, b, name))
}

// factBytes is how much of the WAL since a position is about facts and their indexes.
func factBytes(t *testing.T, b *bed, name, from string) float64 {
	t.Helper()
	text := b.server.SQL(name, `SELECT sum(w.record_length) FROM pg_get_wal_records_info('`+from+`', pg_current_wal_flush_lsn()) w
		WHERE substring(w.block_ref FROM 'rel \d+/\d+/(\d+)')::oid IN (SELECT pg_relation_filenode(c.oid) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
			WHERE 'reward.facts'::regclass IN (c.oid, i.indrelid))`)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(text, err)
	}
	return n
}

// written is how many bytes the server's processes have given to write calls for files: whole pages of the WAL, too, however little is in them. (What goes to clients is sent, not
// written.) The postmaster's counter has what those of its children wrote that have ended; so that none of them ends in between, it is read until two readings are the same.
// 0 where the system does not tell.
func written(t *testing.T, b *bed, name string) float64 {
	t.Helper()
	line, _, _ := strings.Cut(b.server.SQL(name, "SELECT pg_read_file('postmaster.pid')"), "\n")
	last := -1.0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		sum := writtenNow(line)
		if sum == last {
			return sum
		}
		last = sum
	}
	t.Fatal("the server does not come to rest")
	return 0
}

func writtenNow(postmaster string) (sum float64) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		stat, err := os.ReadFile(filepath.Join(dir, "stat")) // PID (NAME) STATE PARENT …, proc(5)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); filepath.Base(dir) != postmaster && (len(fields) < 2 || fields[1] != postmaster) {
			continue
		}
		io, _ := os.ReadFile(filepath.Join(dir, "io"))
		for line := range strings.Lines(string(io)) {
			if text, ok := strings.CutPrefix(line, "wchar: "); ok {
				n, _ := strconv.ParseFloat(strings.TrimSpace(text), 64)
				sum += n
			}
		}
	}
	return sum
}
