package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

// What make bench-boards measures. Without -bench-out everything is small, to see that it works.
var (
	benchOut    = flag.String("bench-out", "", "file that the tables of TestBenchBoards are added to; measure in earnest")
	benchOnly   = flag.String("bench-only", "commit,snapshot,edit,api", "what to measure")
	benchStores = flag.String("bench-stores", "sqlite,postgres", "on which stores")
)

// size is how much is measured.
type size struct {
	boards, writers, rounds int
	measure                 time.Duration // of a round
	columns, cards, pulls   int
	idle, rate              int // connections beside so many edits, or requests over HTTP, a second
}

func benchSize() size {
	if *benchOut == "" {
		return size{boards: 5, writers: 8, rounds: 1, measure: 200 * time.Millisecond, columns: 4, cards: 120, pulls: 2, idle: 50, rate: 50}
	}
	return size{boards: 1000, writers: 64, rounds: 3, measure: 4 * time.Second, columns: 40, cards: 5000, pulls: 15, idle: 5000, rate: 200}
}

// TestBenchBoards measures boards through the whole path: client, gateway, Redis, backend, database, and back.
func TestBenchBoards(t *testing.T) {
	if testing.Short() {
		t.Skip("measures nothing in a hurry")
	}
	stores := strings.Split(*benchStores, ",")
	if *benchOut == "" {
		t.Parallel()
		stores = []string{"sqlite"}
	}
	s := benchSize()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s, %s, %d processors, `-bench-only %s`\n", time.Now().UTC().Format(time.DateTime), runtime.Version(), runtime.NumCPU(), *benchOnly)
	for name := range strings.SplitSeq(*benchOnly, ",") {
		f, ok := map[string]func(*testing.T, *bytes.Buffer, []string, size){"commit": benchCommit, "snapshot": benchSnapshot, "edit": benchEdit, "api": benchAPI}[name]
		if !ok {
			t.Fatalf("-bench-only: %q is not commit, snapshot, edit or api", name)
		}
		f(t, &out, stores, s)
	}
	t.Log("\n" + out.String())
	if *benchOut == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(*benchOut), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(*benchOut, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(append(out.Bytes(), '\n')); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// boardSystem is a gateway and a backend with a database of boards.
type boardSystem struct{ url, metrics string }

func startBoards(t *testing.T, database string, backendArgs ...string) boardSystem {
	t.Helper()
	redis := redistest.Start(t)
	listen, admin, health := freeport.MustAddr(t), freeport.MustAddr(t), freeport.MustAddr(t)
	start(t, "http://"+health+"/readyz", "backend", append([]string{"--redis", redis.URL(), "--listen", health, "--database", database}, backendArgs...)...)
	start(t, "http://"+admin+"/readyz", "gateway", "--redis", redis.URL(), "--listen", listen, "--admin", admin, "--config", boardsConfig)
	return boardSystem{"ws://" + listen + "/ws", "http://" + health + "/metrics"}
}

// database is a new one that syncs its log to disk.
func database(t *testing.T, name string) string {
	t.Helper()
	if name == "postgres" {
		return boardsInPostgres(t, "-c", "fsync=on")
	}
	return "sqlite:" + filepath.Join(t.TempDir(), "boards.db")
}

func (s boardSystem) dial(t *testing.T) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), s.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

// fill makes boards with a column and a card each.
func (s boardSystem) fill(t *testing.T, boards int) {
	t.Helper()
	conn := s.dial(t)
	ask(t, conn, "workspace:w", map[string]any{"do": "create", "name": "W"}, nil)
	var wait sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(boards); i = next.Add(1) - 1 {
				id := fmt.Sprintf("b%d", i)
				ask(t, conn, "workspace:w", map[string]any{"do": "create_board", "id": id, "title": id}, nil)
				ask(t, conn, "board:"+id, mutate("setup", 1, "put", "column", "todo", "to do"), nil)
				ask(t, conn, "board:"+id, mutate("setup", 2, "put", "card", "c", "a card"), nil)
			}
		})
	}
	wait.Wait()
}

// writer changes titles, one after the other, each when the last one is committed.
type writer struct {
	conn   *client.Conn
	name   string
	boards []string
	n      map[string]int
	turn   int
	took   []time.Duration
}

func (w *writer) edit(ctx context.Context) error {
	id := w.boards[w.turn%len(w.boards)]
	w.turn++
	w.n[id]++
	body, err := json.Marshal(mutate(w.name, w.n[id], "set", "card", "c", fmt.Sprintf("title %d of %s", w.n[id], w.name)))
	if err != nil {
		return err
	}
	start := time.Now()
	answer, err := w.conn.Request(ctx, "board:"+id, body)
	if err != nil {
		return err
	}
	if !bytes.Contains(answer, []byte(`"status":"committed"`)) && !bytes.Contains(answer, []byte(`"status":"superseded"`)) {
		return fmt.Errorf("board %s: %s", id, answer)
	}
	w.took = append(w.took, time.Since(start))
	return nil
}

func (s boardSystem) writers(t *testing.T, count, boards int) []*writer {
	t.Helper()
	all := make([]*writer, count)
	for i := range all {
		all[i] = &writer{conn: s.dial(t), name: fmt.Sprintf("w%d", i), n: make(map[string]int)}
		for b := range boards {
			all[i].boards = append(all[i].boards, fmt.Sprintf("b%d", (b+i*boards/count)%boards))
		}
	}
	return all
}

// benchCommit: as many mutations as a number of writers get committed, on one board and on many, with group commit and without.
func benchCommit(t *testing.T, out *bytes.Buffer, stores []string, s size) {
	fmt.Fprintf(out, "\nMutations committed for %d writers, each of which waits for its answer; median of %d rounds of %v\n\n", s.writers, s.rounds, s.measure)
	fmt.Fprintln(out, "| store | boards | together | mutations/s | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|")
	for _, name := range stores {
		for _, boards := range []int{1, s.boards} {
			for _, together := range []string{"1", "50"} {
				t.Run(fmt.Sprintf("commit/%s/%d/%s", name, boards, together), func(t *testing.T) {
					sys := startBoards(t, database(t, name), "--commit-together", together)
					sys.fill(t, boards)
					writers := sys.writers(t, s.writers, boards)
					var rates, p50, p99 []float64
					for range s.rounds {
						took := run(t, writers, s.measure)
						rates = append(rates, float64(len(took))/s.measure.Seconds())
						p50, p99 = append(p50, ms(took, 50)), append(p99, ms(took, 99))
					}
					fmt.Fprintf(out, "| %s | %d | %s | %.0f | %.1f | %.1f |\n", name, boards, together, median(rates), median(p50), median(p99))
				})
			}
		}
	}
}

// run has writers write for a while.
func run(t *testing.T, writers []*writer, d time.Duration) (took []time.Duration) {
	t.Helper()
	until := time.Now().Add(d)
	var wait sync.WaitGroup
	for _, w := range writers {
		wait.Go(func() {
			w.took = w.took[:0]
			for again := true; again; again = time.Now().Before(until) {
				if err := w.edit(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	for _, w := range writers {
		took = append(took, w.took...)
	}
	return took
}

// benchEdit: edits at a fixed rate, beside many connections, each of which is subscribed to one of the boards. From when an edit is due to
// its answer, and to when another subscriber of its board has it.
func benchEdit(t *testing.T, out *bytes.Buffer, stores []string, s size) {
	boards := max(1, s.idle/10)
	fmt.Fprintf(out, "\n%d edits a second, open loop, for %v, on %d boards with %d connections that are subscribed to one each\n\n", s.rate, 5*s.measure, boards, s.idle)
	fmt.Fprintln(out, "| store | edits | answer p50 ms | p95 ms | p99 ms | peer p50 ms | p95 ms | p99 ms | failed |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, name := range stores {
		t.Run("edit/"+name, func(t *testing.T) {
			sys := startBoards(t, database(t, name))
			sys.fill(t, boards)
			p := listen(t, sys, s.idle, boards)
			answers, failed := p.edit(t, sys.writers(t, 50, boards), s.rate, 5*s.measure)
			eventually(t, "a peer has heard of an edit", func() bool { return len(p.took()) > 0 })
			heard := p.took()
			fmt.Fprintf(out, "| %s | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %d |\n", name, len(answers), ms(answers, 50), ms(answers, 95), ms(answers, 99),
				ms(heard, 50), ms(heard, 95), ms(heard, 99), failed)
		})
	}
}

// peers note when what is due at a time was heard. Times are in the titles, as nanoseconds since began.
type peers struct {
	began time.Time
	mu    sync.Mutex
	all   []time.Duration
}

// listen connects peers, ten to a board. One of each board measures; the others only take what comes.
func listen(t *testing.T, sys boardSystem, count, boards int) *peers {
	t.Helper()
	p := &peers{began: time.Now()}
	var wait sync.WaitGroup
	var next, ready atomic.Int64
	for range 32 {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				raw, err := client.DialRaw(t.Context(), sys.url, client.Options{})
				if err == nil {
					err = raw.Write(t.Context(), false, fmt.Appendf(nil, "sub 1 board:b%d", i%int64(boards)))
				}
				for err == nil { // hello, then ok
					var f client.Frame
					if f, err = raw.Read(t.Context()); strings.HasPrefix(f.Head, "ok 1") {
						break
					} else if strings.HasPrefix(f.Head, "err") {
						err = fmt.Errorf("%s", f.Head)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				ready.Add(1)
				var reading sync.WaitGroup
				reading.Go(func() { p.read(t.Context(), raw, i < int64(boards)) })
				t.Cleanup(func() { raw.Abort(); reading.Wait() })
			}
		})
	}
	wait.Wait()
	if ready.Load() != int64(count) {
		t.Fatalf("%d of %d are subscribed", ready.Load(), count)
	}
	return p
}

const dueMark = "due="

func (p *peers) read(ctx context.Context, raw *client.Raw, measures bool) {
	for {
		f, err := raw.Read(ctx)
		if err != nil {
			return
		}
		if !measures {
			continue
		}
		now := time.Since(p.began)
		_, after, found := bytes.Cut(f.Body, []byte(dueMark)) // the row's; behind it there may be an older one, that has lost
		var due int64
		if _, err := fmt.Sscanf(string(after[:min(len(after), 20)]), "%d", &due); found && err == nil {
			p.mu.Lock()
			p.all = append(p.all, now-time.Duration(due))
			p.mu.Unlock()
		}
	}
}

func (p *peers) took() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// edit has an edit made whenever one is due, by the next writer; who is behind is behind.
func (p *peers) edit(t *testing.T, writers []*writer, rate int, d time.Duration) (answers []time.Duration, failed int) {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	begin := time.Since(p.began)
	total := int(d.Seconds() * float64(rate))
	for i, w := range writers {
		wait.Go(func() {
			for k := i; k < total; k += len(writers) {
				due := begin + time.Duration(k)*time.Second/time.Duration(rate)
				pause(t.Context(), due-time.Since(p.began))
				id := w.boards[w.turn%len(w.boards)]
				w.turn++
				w.n[id]++
				body, err := json.Marshal(mutate(w.name, w.n[id], "set", "card", "c", fmt.Sprintf("%s%d", dueMark, due)))
				if err == nil {
					_, err = w.conn.Request(t.Context(), "board:"+id, body)
				}
				mu.Lock()
				if err != nil {
					failed++
					t.Error(err)
				} else {
					answers = append(answers, time.Since(p.began)-due)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return answers, failed
}

// ms is a percentile in milliseconds: the smallest value that so many percent do not exceed.
func ms(took []time.Duration, percent int) float64 {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	i := (len(sorted)*percent + 99) / 100
	return float64(sorted[max(i, 1)-1].Microseconds()) / 1000
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}
