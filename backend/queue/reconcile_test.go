package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/memory"
)

// boards is a store of one board, on which ann makes cards.
type boards struct {
	*memory.Store
	t *testing.T
	n int64
}

func newBoards(t *testing.T) *boards {
	t.Helper()
	b := &boards{Store: memory.New(board.Rules{}, nil), t: t}
	if err := b.CreateWorkspace(t.Context(), "ann", "w", "W"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateBoard(t.Context(), "ann", "w", "b", "B"); err != nil {
		t.Fatal(err)
	}
	b.commit(board.Op{Op: board.OpPut, Kind: board.KindColumn, ID: "todo", Values: map[string]board.Value{"title": board.Text("T")}})
	return b
}

func (b *boards) commit(ops ...board.Op) []board.Record {
	b.t.Helper()
	b.n++
	d, err := b.Commit(b.t.Context(), "b", []*board.Mutation{{Client: "c", N: b.n, Schema: board.Schema, TS: b.n, User: "ann", Ops: ops}})
	if err != nil || d.Results[0].Status != board.Committed {
		b.t.Fatalf("%+v, %v", d.Results, err)
	}
	return d.Records
}

func (b *boards) cards(from, to int) (records []board.Record) {
	b.t.Helper()
	for i := from; i < to; i++ {
		values := map[string]board.Value{"title": board.Text("C")}
		records = append(records, b.commit(board.Op{Op: board.OpPut, Kind: board.KindCard, ID: fmt.Sprint("c", i), Lane: "todo", Values: values})...)
	}
	return records
}

// behind is where the mark and the end of the board are.
func (b *boards) behind() string {
	b.t.Helper()
	got, err := b.Behind(b.t.Context(), "", 10)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(got) == 0 {
		return "none"
	}
	return fmt.Sprint(got[0].Marked, " of ", got[0].Seq)
}

// TestReconcile: what Redis has lost is added again; what is under way, waits, or is given up is not.
func TestReconcile(t *testing.T) {
	b := newBed(t)
	store := newBoards(t)
	w, err := New(Config{Counter: b.ledger, Redis: b.redisConfig()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.client.Close()
	r := &Reconciler{Trail: store, Counter: b.ledger, Grace: time.Hour, w: w, added: make(map[string]time.Time)}
	pass := func(want int) {
		t.Helper()
		if n, err := r.pass(t.Context()); err != nil || n != want {
			t.Fatalf("%d were added again, %v; want %d", n, err, want)
		}
	}
	count := func() {
		t.Helper()
		got, err := b.queue.Take(t.Context(), []int{0, 1, 2, 3}, 10_000, 0)
		if err == nil {
			err = w.do(t.Context(), b.queue, got)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	wantBehind := func(want string) {
		t.Helper()
		if got := store.behind(); got != want {
			t.Fatalf("the mark is at %s, want %s", got, want)
		}
	}

	records := store.cards(0, 600)
	pass(0) // they are too young
	wantBehind("0 of 601")
	r.Grace = -time.Hour
	for i := range records[:100] { // the fast path
		b.add(BoardEvents(&records[i])...)
	}
	count()
	pass(500)
	wantBehind("101 of 601")
	if got := b.state(); got.Lag != 500 {
		t.Fatalf("%+v", got)
	}

	b.redis.CLI("FLUSHALL")
	if err := w.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass(500)
	b.ledger.refuse = func(e *Event) string {
		if e.ID == BoardID("b", 300, 0) {
			return "no"
		}
		return ""
	}
	w.cfg.RetryAfter, w.cfg.MaxAttempts = 0, 2
	count()
	if b.ledger.len() != 599 {
		t.Fatalf("%d counted", b.ledger.len())
	}
	pass(0) // it waits
	wantBehind("299 of 601")
	if n, err := b.queue.Wake(t.Context()); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	count() // and is given up
	pass(0)
	wantBehind("none")
	if letters := b.letters(); len(letters) != 1 {
		t.Fatalf("%+v", letters)
	}
}

// TestReconcileWaits: nothing is added again while it may be in the queue.
func TestReconcileWaits(t *testing.T) {
	b := newBed(t)
	boards := newBoards(t)
	w, err := New(Config{Counter: b.ledger, Redis: b.redisConfig()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.client.Close()
	r := &Reconciler{Trail: boards, Counter: b.ledger, Grace: time.Nanosecond, w: w, added: make(map[string]time.Time)}
	records := boards.cards(0, 1)
	b.add(BoardEvents(&records[0])...)
	events := BoardEvents(&records[0])
	b.eventually("the entry has an age", func() bool {
		age, err := b.queue.Oldest(t.Context(), partition(w.client, &events[0]))
		return err == nil && age > 0
	})
	at := time.Now()
	r.Grace = time.Hour // the oldest entry may be that of any event of this hour
	settled, n, err := r.partition(t.Context(), partition(w.client, &events[0]), events)
	if err != nil || n != 0 || settled[0] {
		t.Fatalf("added %d, %v, settled %v", n, err, settled)
	}
	r.Grace = -time.Hour // the oldest entry was written long after
	if _, n, err = r.partition(t.Context(), partition(w.client, &events[0]), events); err != nil || n != 1 || r.added[events[0].ID].Before(at) {
		t.Fatalf("added %d, %v", n, err)
	}
}

// TestFeeder: what is committed comes to be counted, without Redis it is left to the reconciler.
func TestFeeder(t *testing.T) {
	b := newBed(t)
	boards := newBoards(t)
	set := metrics.NewSet()
	f := NewFeeder(b.client, set, discard())
	w, _ := b.worker(Config{})
	stop := b.run(f.Run)
	f.Committed(boards.cards(0, 50))
	b.eventually("all are counted", func() bool { return b.ledger.len() == 50 })
	b.redis.Kill()
	f.Committed(boards.cards(50, 60))
	b.eventually("they are given up", func() bool { return f.lost.Get() == 10 })
	b.redis.Restart()
	b.eventually("redis is back", func() bool { return w.Ready() == nil })
	stop()
	stop = b.run(func(ctx ctx) {
		w.Reconcile(ctx, Reconciler{Trail: store.Trail(boards), Counter: b.ledger, Every: 10 * time.Millisecond, Grace: time.Nanosecond})
	})
	b.eventually("the reconciler brings them home", func() bool { return b.ledger.len() == 60 && boards.behind() == "none" })
	stop()
}
