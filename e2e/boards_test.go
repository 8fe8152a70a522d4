package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/boardclient"
	"github.com/millracehq/millrace/backend/replica"
	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/pgtest"
	"github.com/millracehq/millrace/internal/redistest"
)

// TestBoardsSurviveKills: clients edit boards while everything is killed, again and again; afterwards each edit has one end,
// every copy is the server's, and every card that was made is there once.
// boardsConfig has the namespaces of boards, as `make run` has them.
const boardsConfig = "../deploy/local/gateway.yaml"

func TestBoardsSurviveKills(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 seconds of edits, and some more")
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		editAndKill(t, "sqlite:"+filepath.Join(t.TempDir(), "boards.db"), nil)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Start(t, "-c", "fsync=on")
		db.SQL("postgres", "CREATE ROLE owner LOGIN CREATEROLE; CREATE ROLE app LOGIN")
		db.SQL("postgres", "CREATE DATABASE boards OWNER owner")
		runToEnd(t, "backend", "migrate", "up", "--database", db.URL("owner", "boards"))
		db.SQL("postgres", "GRANT millrace_app TO app")
		editAndKill(t, db.URL("app", "boards"), db)
	})
}

// A run that is worth a table: go test ./e2e -run BoardsSurvive -v -boards 20 -editors 50 -edit-for 60s
var (
	boardsInTest = flag.Int("boards", 5, "boards that are edited")
	editors      = flag.Int("editors", 15, "clients that edit")
	editFor      = flag.Duration("edit-for", 6*time.Second, "how long they do")
)

// editor is one client, and what it made.
type editor struct {
	copy  *boardclient.Board
	board int
	cards []string
	edits int
}

func editAndKill(t *testing.T, database string, db *pgtest.Server) {
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	listen, admin := freeport.MustAddr(t), freeport.MustAddr(t)
	var backends []*process
	for range 2 {
		health := freeport.MustAddr(t)
		backends = append(backends, start(t, "http://"+health+"/readyz", "backend", "--redis", redis.URL(), "--listen", health, "--database", database))
	}
	gateway := start(t, "http://"+admin+"/readyz", "gateway", "--redis", redis.URL(), "--listen", listen, "--admin", admin, "--config", boardsConfig)
	url := "ws://" + listen + "/ws"
	makeBoards(t, url)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running, editing sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var retries atomic.Int64
	var all []*editor
	until := time.Now().Add(*editFor)
	for i := range *editors {
		outbox, err := boardclient.OpenFile(t.Context(), filepath.Join(t.TempDir(), "outbox.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { outbox.Close() })
		e := &editor{board: i % *boardsInTest}
		e.copy, err = boardclient.Open(t.Context(), boardclient.Config{
			URL: url, User: "anonymous", Board: fmt.Sprintf("b%d", e.board), Outbox: outbox, Heartbeat: time.Second, Timeout: 3 * time.Second,
			OnRetry: func(error) { retries.Add(1) },
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		running.Go(func() {
			if err := e.copy.Run(ctx); err != nil {
				t.Errorf("editor %d: %v", i, err)
			}
		})
		editing.Go(func() { e.edit(t, i, until) })
	}

	kills := map[string]int{}
	r := rand.New(rand.NewPCG(1, 1))
	for time.Now().Before(until) {
		pause(t.Context(), time.Duration(300+r.IntN(900))*time.Millisecond)
		switch n := r.IntN(5); {
		case n < 2:
			backends[n].kill()
			backends[n].start()
			kills["backend"]++
		case n == 2:
			gateway.kill()
			gateway.start()
			kills["gateway"]++
		case n == 3 && db != nil:
			db.Restart()
			kills["postgres"]++
		default:
			redis.Restart()
			kills["redis"]++
		}
	}
	editing.Wait()
	settle(t, url, all)
	edits := 0
	for _, e := range all {
		edits += e.edits
	}
	t.Logf("%d editors on %d boards made %d mutations; killed: %v; connected again %d times", *editors, *boardsInTest, edits, kills, retries.Load())
}

// edit makes cards, renames and moves what it sees.
func (e *editor) edit(t *testing.T, number int, until time.Time) {
	r := rand.New(rand.NewPCG(uint64(number), 2))
	for time.Now().Before(until) {
		pause(t.Context(), time.Duration(20+r.IntN(100))*time.Millisecond)
		var columns, cards []string
		e.copy.Look(func(c *replica.Replica) {
			for _, row := range c.Base().All() {
				switch row.Kind {
				case board.KindColumn:
					columns = append(columns, row.ID)
				case board.KindCard:
					cards = append(cards, row.ID)
				}
			}
		})
		if len(columns) == 0 {
			continue // not there yet
		}
		id := fmt.Sprintf("card-%d-%d", number, e.edits)
		title := board.Text(id)
		o := board.Op{Op: board.OpPut, Kind: board.KindCard, ID: id, Lane: columns[r.IntN(len(columns))], Values: map[string]board.Value{"title": title}}
		if len(cards) > 0 {
			switch card := cards[r.IntN(len(cards))]; r.IntN(3) {
			case 0:
				o = board.Op{Op: board.OpSet, Kind: board.KindCard, ID: card, Group: "title", Value: &title}
			case 1:
				o = board.Op{Op: board.OpMove, Kind: board.KindCard, ID: card, Lane: columns[r.IntN(len(columns))], After: cards[r.IntN(len(cards))]}
			default:
			}
		}
		out, err := e.copy.Do(t.Context(), o)
		if err != nil || out.Result.Status == board.Rejected {
			t.Errorf("editor %d: %+v, %v", number, out.Result, err)
			return
		}
		e.edits++
		if o.Op == board.OpPut {
			e.cards = append(e.cards, id)
		}
	}
}

// settle waits until nothing is pending and all copies are level, and compares them with the server's.
func settle(t *testing.T, url string, all []*editor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for i, e := range all {
		if err := e.copy.Wait(ctx, func(c *replica.Replica) bool { return c.Pending() == 0 }); err != nil {
			e.copy.Look(func(c *replica.Replica) { t.Fatalf("editor %d has %d pending mutations: %v", i, c.Pending(), err) })
		}
	}
	conn, err := client.Dial(ctx, url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heads := make(map[int]*board.Delta)
	for b := range *boardsInTest {
		d := new(board.Delta)
		ask(t, conn, fmt.Sprintf("board:b%d", b), map[string]any{"do": "pull"}, d)
		heads[b] = d
	}
	perBoard := make(map[int]int)
	for i, e := range all {
		server := heads[e.board]
		if err := e.copy.Wait(ctx, func(c *replica.Replica) bool { return c.Seq() >= server.To }); err != nil {
			t.Fatalf("editor %d is not level: %v", i, err)
		}
		table := server.Apply(board.NewTable())
		e.copy.Look(func(c *replica.Replica) {
			if board.FormatHash(c.Base().Hash()) != server.Hash || len(c.Drawer()) != 0 || c.Base().Len() != table.Len() {
				t.Errorf("editor %d: hash %s and the server's %s, %d refused", i, board.FormatHash(c.Base().Hash()), server.Hash, len(c.Drawer()))
			}
		})
		if n := e.copy.Diverged(); n != 0 {
			t.Errorf("editor %d has differed from the server %d times", i, n)
		}
		for _, id := range e.cards {
			if row, _ := table.Row(board.Key{Kind: board.KindCard, ID: id}); row == nil {
				t.Errorf("card %s was lost", id)
			}
		}
		perBoard[e.board] += e.edits
	}
	for b, head := range heads {
		// One mutation made the columns. What has a sequence number was applied, and nothing else was done to the boards.
		if head.To != int64(perBoard[b])+1 {
			t.Errorf("board %d is at %d after %d edits: some were lost, or applied twice", b, head.To, perBoard[b])
		}
	}
}

func makeBoards(t *testing.T, url string) {
	t.Helper()
	conn, err := client.Dial(t.Context(), url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask(t, conn, "workspace:w", map[string]any{"do": "create", "name": "W"}, nil)
	for b := range *boardsInTest {
		id := fmt.Sprintf("b%d", b)
		ask(t, conn, "workspace:w", map[string]any{"do": "create_board", "id": id, "title": id}, nil)
		m := board.Mutation{Client: "setup", N: 1, Schema: board.Schema}
		for _, column := range []string{"todo", "doing", "done"} {
			m.Ops = append(m.Ops, board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: column, Values: map[string]board.Value{"title": board.Text(column)}})
		}
		d := new(board.Delta)
		ask(t, conn, "board:"+id, map[string]any{"do": "mutate", "mutations": []board.Mutation{m}}, d)
		if d.To != 1 {
			t.Fatalf("board %s: %+v", id, d.Results)
		}
	}
}

// ask sends a request and wants an answer that is no refusal.
func ask(t *testing.T, conn *client.Conn, channel string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	data, err := conn.Request(t.Context(), channel, text)
	if err != nil {
		t.Fatalf("%s %s: %v", channel, text, err)
	}
	refused := struct{ Error any }{}
	if err := json.Unmarshal(data, &refused); err == nil && refused.Error != nil {
		t.Fatalf("%s %s: %s", channel, text, data)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// runBoard opens a board and keeps it running until ctx is done, as part of a group.
func runBoard(ctx context.Context, t *testing.T, running *sync.WaitGroup, cfg boardclient.Config) *boardclient.Board {
	t.Helper()
	b, err := boardclient.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestLargeBoard: 40 columns and 5,000 cards, made by one client and fetched by another, in pages.
func TestLargeBoard(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	url := startBoards(t, "sqlite:"+filepath.Join(t.TempDir(), "boards.db")).url
	makeBoards(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	open := func() *boardclient.Board {
		return runBoard(ctx, t, &running, boardclient.Config{URL: url, User: "anonymous", Board: "b0"})
	}
	const columns, cards = 40, 5000
	maker := open()
	if err := maker.Wait(ctx, func(c *replica.Replica) bool { return c.Seq() > 0 }); err != nil {
		t.Fatal(err)
	}
	var ops []board.Op
	for i := range columns {
		id := fmt.Sprintf("column-%d", i)
		ops = append(ops, board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: id, Values: map[string]board.Value{"title": board.Text(id)}})
	}
	for i := range cards {
		values := map[string]board.Value{"title": board.Text(fmt.Sprintf("What is to be done, number %d", i)), "prio": board.Integer(int64(i % 5))}
		ops = append(ops, board.Op{Op: board.OpPut, Kind: board.KindCard, ID: fmt.Sprintf("card-%d", i), Lane: fmt.Sprintf("column-%d", i%columns), Values: values})
	}
	began := time.Now()
	for len(ops) > 0 {
		n := min(len(ops), 100)
		if out, err := maker.Do(ctx, ops[:n]...); err != nil || out.Result.Status != board.Committed {
			t.Fatalf("%+v, %v", out.Result, err)
		}
		ops = ops[n:]
	}
	if err := maker.Wait(ctx, func(c *replica.Replica) bool { return c.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	made := time.Since(began)
	began = time.Now()
	want := 3 + columns + cards
	reader := open()
	if err := reader.Wait(ctx, func(c *replica.Replica) bool { return c.Base().Len() == want }); err != nil {
		reader.Look(func(c *replica.Replica) { t.Fatalf("%d rows of %d: %v", c.Base().Len(), want, err) })
	}
	t.Logf("made in %v, fetched in %v", made, time.Since(began))
	if maker.Diverged()+reader.Diverged() != 0 {
		t.Error("a copy differed from the server")
	}
}

func runToEnd(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
