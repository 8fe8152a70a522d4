package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/store/memory"
)

// world is a board that one user changes, and copies of it that begin with heads. What copies are sent comes in any order, late and twice.
type world struct {
	t       *testing.T
	r       *rand.Rand
	store   *memory.Store
	now     int64
	n       int64
	written map[string]board.Register // what the log wrote, by row, group and sequence number
	copies  []*reader
	missed  int // bodies that were not taken
}

// reader is a copy with what is on the way to it.
type reader struct {
	*Replica
	way []any // *board.Delta, *board.Bodies
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 5)), now: 1_700_000_000_000, written: make(map[string]board.Register)}
	w.store = memory.New(board.Rules{}, func() time.Time { return time.UnixMilli(w.now) })
	w.must(w.store.CreateWorkspace(t.Context(), "ann", "w", "W"))
	_, err := w.store.CreateBoard(t.Context(), "ann", "w", "b", "B")
	w.must(err)
	for i := range 3 {
		w.copies = append(w.copies, &reader{Replica: New(State{Board: "b", User: "ann", Client: fmt.Sprint("copy", i)}, board.Rules{})})
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// op changes bodies, and all that may be with them.
func (w *world) op() board.Op {
	card, comment := fmt.Sprint("card", w.r.IntN(5)), fmt.Sprint("comment", w.r.IntN(3))
	value := board.Text(fmt.Sprintf("text %d\n", w.n))
	life := board.Text([]string{board.Live, board.Deleted, board.Archived}[w.r.IntN(3)])
	switch w.r.IntN(9) {
	case 0, 1, 2:
		return board.Op{Op: board.OpText, ID: card, Value: &value}
	case 3:
		return board.Op{Op: board.OpSet, Kind: board.KindCard, ID: card, Group: "title", Value: &value}
	case 4:
		return board.Op{Op: board.OpSet, Kind: board.KindComment, ID: comment, Group: board.GroupText, Value: &value}
	case 5:
		return board.Op{Op: board.OpLife, Kind: board.KindCard, ID: card, Value: &life}
	case 6:
		return board.Op{Op: board.OpPut, Kind: board.KindCard, ID: card, Lane: "todo", Values: map[string]board.Value{"title": value, board.GroupBody: value}}
	case 7:
		return board.Op{Op: board.OpPut, Kind: board.KindComment, ID: comment, Values: map[string]board.Value{board.GroupCard: board.Text(card), board.GroupText: value}}
	default:
		return board.Op{Op: board.OpMove, Kind: board.KindCard, ID: card, Lane: "todo"}
	}
}

func (w *world) edit() {
	w.n++
	w.now += 1000
	ops := []board.Op{w.op()}
	if w.n == 1 {
		ops = []board.Op{{Op: board.OpPut, Kind: board.KindColumn, ID: "todo", Values: map[string]board.Value{"title": board.Text("to do")}}}
	}
	m := &board.Mutation{Client: "editor", N: w.n, Schema: board.Schema, Base: max(0, w.n-20), TS: w.now * 1000, User: "ann", Ops: ops}
	if b, err := w.store.Board(w.t.Context(), "ann", "b"); err == nil {
		m.Base = min(m.Base, b.Seq)
	}
	d, err := w.store.Commit(w.t.Context(), "b", []*board.Mutation{m})
	w.must(err)
	w.log(&d)
}

func (w *world) purge() {
	d, err := w.store.Collect(w.t.Context(), "ann", "b", time.UnixMilli(w.now-30_000))
	w.must(err)
	if d.From < d.To {
		w.log(&d)
	}
}

// log notes what was written, and publishes.
func (w *world) log(d *board.Delta) {
	for _, row := range d.Rows {
		for group, reg := range row.Regs {
			w.written[name(row.Key, group, reg.Seq)] = reg
		}
	}
	for _, c := range w.copies {
		c.way = append(c.way, d)
	}
}

func name(k board.Key, group string, seq int64) string { return fmt.Sprint(k, " ", group, " ", seq) }

// pull is a pull by a copy, of heads mostly, in pages sometimes.
func (w *world) pull(c *reader) {
	since := store.Since{Seq: c.Seq(), GC: c.GC(), Client: c.State().Client, N: w.n}
	d, err := w.store.Pull(w.t.Context(), "ann", "b", since)
	w.must(err)
	d.Rows = slices.Clone(d.Rows)
	for i, row := range d.Rows {
		if w.r.IntN(10) > 0 {
			d.Rows[i] = row.Head()
		}
	}
	if w.r.IntN(3) == 0 {
		w.must(store.Page(&d, since, 100+w.r.IntN(1000)))
	}
	c.way = append(c.way, &d)
}

// fetch asks for some of the bodies that a copy lacks, or for all.
func (w *world) fetch(c *reader, all bool) {
	var keys []board.Key
	for _, row := range c.Base().All() {
		if c.Base().Lacks(row.Key) && (all || w.r.IntN(2) == 0) {
			keys = append(keys, row.Key)
		}
	}
	rows, seq, err := w.store.Rows(context.WithoutCancel(w.t.Context()), "ann", "b", keys)
	w.must(err)
	b := &board.Bodies{Board: "b", To: seq}
	for _, row := range rows {
		b.Rows = append(b.Rows, row.Body())
	}
	for _, k := range keys {
		if !slices.ContainsFunc(rows, func(r *board.Row) bool { return r.Key == k }) {
			b.Unknown = append(b.Unknown, k)
		}
	}
	c.way = append(c.way, b)
}

// deliver hands a copy what is on the way to it: any, and perhaps once more later; the first when straight.
func (w *world) deliver(c *reader, straight bool) {
	if len(c.way) == 0 {
		return
	}
	i := 0
	if !straight {
		i = w.r.IntN(len(c.way))
	}
	sent := c.way[i]
	if straight || w.r.IntN(5) > 0 {
		c.way = slices.Delete(c.way, i, i+1)
	}
	var need Need
	switch m := sent.(type) {
	case *board.Delta:
		need = c.Receive(m)
	case *board.Bodies:
		missing := c.Base().Missing()
		need = c.ReceiveBodies(m)
		w.missed += len(m.Rows) - (missing - c.Base().Missing())
	}
	switch need {
	case Pull:
		w.pull(c)
	case Nothing:
	default:
		w.t.Fatalf("need %d after %s", need, asJSON(w.t, sent))
	}
	w.check(c)
}

// check: what a copy has of a text is what was written under its number, what it lacks was written; and it has or lacks it, never both.
func (w *world) check(c *reader) {
	missing := 0
	for _, row := range c.Base().All() {
		group := board.BodyGroup(row.Kind)
		reg, has := row.Regs[group]
		if has && reg != w.written[name(row.Key, group, reg.Seq)] {
			w.t.Fatalf("%s has %v, which was never written", row.Key, reg)
		}
		if row.Lacks(group) {
			missing++
			if _, ok := w.written[name(row.Key, group, row.Without[group])]; !ok || has {
				w.t.Fatalf("%s: %s", row.Key, asJSON(w.t, row))
			}
		}
	}
	if missing != c.Base().Missing() {
		w.t.Fatalf("%d bodies are missing, the copy says %d", missing, c.Base().Missing())
	}
}

// level has a copy pull and fetch until it has all, and compares it with the board.
func (w *world) level(c *reader) {
	for range 100 {
		for len(c.way) > 0 {
			w.deliver(c, true)
		}
		whole, err := w.store.Pull(w.t.Context(), "ann", "b", store.Since{})
		w.must(err)
		switch {
		case c.Seq() < whole.To || !c.Ready():
			w.pull(c)
		case c.Base().Missing() > 0:
			w.fetch(c, true)
		default:
			want := whole.Apply(board.NewTable())
			if got := board.FormatHash(c.Base().Hash()); got != whole.Hash || state(w.t, c.Base()) != state(w.t, want) {
				w.t.Fatalf("hash %s, want %s\n%s\n%s", got, whole.Hash, state(w.t, c.Base()), state(w.t, want))
			}
			return
		}
	}
	w.t.Fatalf("not level: at %d, %d bodies are missing", c.Seq(), c.Base().Missing())
}

// state is a board without the numbers of rows, which may be those of a later patch.
func state(t *testing.T, table *board.Table) string {
	t.Helper()
	var b strings.Builder
	for _, row := range table.All() {
		row = row.Clone()
		row.Seq = 0
		fmt.Fprintln(&b, asJSON(t, row))
	}
	return b.String()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestHeadsAnyOrder: edits, purges, heads, bodies and deltas in any order, late and twice: a copy never has a text that was not written, and once
// everything has come it is the board, with its hash.
func TestHeadsAnyOrder(t *testing.T) {
	t.Parallel()
	seeds, missed := uint64(150), 0
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		w := newWorld(t, seed)
		for range 150 {
			c := w.copies[w.r.IntN(len(w.copies))]
			switch w.r.IntN(10) {
			case 0, 1, 2:
				w.edit()
			case 3:
				w.pull(c)
			case 4:
				w.fetch(c, false)
			case 5:
				if w.r.IntN(5) == 0 {
					w.purge()
				}
			default:
				w.deliver(c, false)
			}
		}
		for _, c := range w.copies {
			w.level(c)
		}
		missed += w.missed
	}
	if missed == 0 {
		t.Error("no body came too late or too early: the test shows nothing")
	}
	t.Logf("%d boards, %d bodies were not those that were missing", seeds, missed)
}

// TestNotBlind: a text that is not here is not changed here; all else of its row is, and the text itself as soon as it has come.
func TestNotBlind(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	v := board.Text("theirs\n")
	about := board.Op{Op: board.OpPut, Kind: board.KindComment, ID: "k", Values: map[string]board.Value{board.GroupCard: board.Text("c"), board.GroupText: v}}
	b.apply(&board.Mutation{Client: "z", N: 1, Schema: board.Schema, Base: 1, TS: 1, Ops: []board.Op{{Op: board.OpText, ID: "c", Value: &v}, about}})
	mine, hidden := board.Text("mine\n"), board.Key{Kind: board.KindCard, ID: "c"}
	edit := board.Op{Op: board.OpText, ID: "c", From: "theirs\n", Value: &mine}
	remark := board.Op{Op: board.OpSet, Kind: board.KindComment, ID: "k", Group: board.GroupText, Value: &mine}
	pull := &board.Delta{Board: "b", Pull: true, From: 1, To: b.head.Seq, HLC: b.head.HLC, Hash: board.FormatHash(b.head.Hash)}
	for _, row := range b.table.All() {
		pull.Rows = append(pull.Rows, row.Head())
	}
	b.receive(pull, Nothing)
	for _, op := range []board.Op{edit, remark} {
		if out := b.copy.Do(2000, 0, title("seen"), op); out.Result.Code != CodeNoBody || out.Result.Status != board.Rejected || b.copy.Pending() != 0 || !strings.Contains(out.Result.Text, "fetch it") {
			t.Fatalf("%+v", out.Result)
		}
	}
	if out := b.copy.Do(2000, 0, title("new")); out.Result.Status != board.Committed || out.Result.N != 1 {
		t.Fatalf("%+v", out.Result)
	}
	row, _ := b.table.Row(hidden)
	if need := b.copy.ReceiveBodies(&board.Bodies{To: b.head.Seq, Rows: []*board.Row{row.Body()}}); need != Nothing || b.copy.Base().Lacks(hidden) {
		t.Fatalf("need %d", need)
	}
	b.wantTitle("new")
	if out := b.copy.Do(2000, 0, edit); out.Result.Status != board.Committed || out.Result.N != 2 {
		t.Fatalf("%+v", out.Result)
	}
	// Its copy is forgotten, and there are heads again: the user goes on seeing what they wrote, and cannot build on it until the text is here.
	b.copy.Forget()
	again := *pull
	again.Reset, again.From = true, 0
	b.receive(&again, Nothing)
	if shown, _ := b.copy.View().Row(hidden); shown.Regs[board.GroupBody].Value != mine || shown.Lacks(board.GroupBody) {
		t.Errorf("the user sees %+v", shown)
	}
	if out := b.copy.Do(2000, 0, edit); out.Result.Code != CodeNoBody {
		t.Errorf("%+v", out.Result)
	}
}

// TestBodiesNeed: what an answer that has not what is missing says of the copy.
func TestBodiesNeed(t *testing.T) {
	t.Parallel()
	card := board.Key{Kind: board.KindCard, ID: "c"}
	body := func(seq int64, text string) *board.Row {
		return &board.Row{Key: card, Regs: map[string]board.Register{board.GroupBody: {Value: board.Text(text), Seq: seq}}}
	}
	whole := body(4, "text")
	for name, c := range map[string]struct {
		bodies board.Bodies
		want   Need
		lacks  bool
	}{
		"as it should be":            {board.Bodies{To: 5, Rows: []*board.Row{body(4, "text")}}, Nothing, false},
		"later, and the same":        {board.Bodies{To: 9, Rows: []*board.Row{body(4, "text")}}, Nothing, false},
		"written since":              {board.Bodies{To: 6, Rows: []*board.Row{body(6, "new")}}, Pull, true},
		"purged since":               {board.Bodies{To: 6, Unknown: []board.Key{card}}, Pull, true},
		"read before":                {board.Bodies{To: 3, Rows: []*board.Row{body(2, "old")}}, Nothing, true},
		"another at the same moment": {board.Bodies{To: 5, Rows: []*board.Row{body(3, "other")}}, Reload, true},
		"gone at the same moment":    {board.Bodies{To: 5, Unknown: []board.Key{card}}, Reload, true},
		"none at the same moment":    {board.Bodies{To: 5, Rows: []*board.Row{{Key: card}}}, Reload, true},
		"of another hash":            {board.Bodies{To: 5, Rows: []*board.Row{body(4, "forged")}}, Reload, false},
		"of a row that is not here":  {board.Bodies{To: 9, Rows: []*board.Row{{Key: board.Key{Kind: board.KindCard, ID: "d"}}, nil}, Unknown: []board.Key{{}}}, Nothing, true},
	} {
		r := New(State{Client: "a"}, board.Rules{})
		if r.Ready() {
			t.Error("an empty copy is ready")
		}
		if need := r.Receive(&board.Delta{Reset: true, To: 5, Hash: board.FormatHash(whole.Hash()), Rows: []*board.Row{whole.Head()}}); need != Nothing || !r.Ready() {
			t.Fatalf("heads: need %d", need)
		}
		if need := r.ReceiveBodies(&c.bodies); need != c.want || r.Base().Lacks(card) != c.lacks {
			t.Errorf("%s: need %d, want %d; lacks its body: %v", name, need, c.want, r.Base().Lacks(card))
		}
	}
}

// FuzzReceive: whatever comes, a copy knows what it lacks.
func FuzzReceive(f *testing.F) {
	heads := `{"reset":true,"to":5,"hash":"0","rows":[{"kind":"card","id":"c","seq":5,"regs":{"title":["t",1,"a",5]},"without":{"body":4}},{"kind":"card","id":"d","without":{"x":1}}]}`
	f.Add([]byte(heads), []byte(`{"to":5,"rows":[{"kind":"card","id":"c","seq":5,"regs":{"body":["x",1,"a",4]}}],"unknown":[{"kind":"card","id":"d"}]}`))
	f.Add([]byte(`{"from":0,"to":1,"rows":[null,{"kind":"card","id":"c","regs":{"body":["",0,"",1]},"without":{"body":1}}]}`), []byte(`{"rows":[null,{"id":"d"}],"unknown":null}`))
	f.Fuzz(func(t *testing.T, delta, bodies []byte) {
		var d board.Delta
		var b board.Bodies
		if json.Unmarshal(delta, &d) != nil || json.Unmarshal(bodies, &b) != nil {
			return
		}
		r := New(State{Client: "a"}, board.Rules{})
		for range 2 {
			r.Receive(&d)
			r.ReceiveBodies(&b)
			missing := 0
			for _, row := range r.Base().All() {
				if len(row.Without) > 0 {
					missing++
				}
				for group := range row.Without {
					if _, has := row.Regs[group]; has {
						t.Fatalf("%s has and lacks %s", row.Key, group)
					}
				}
			}
			if missing != r.Base().Missing() {
				t.Fatalf("%d rows lack something, the copy says %d", missing, r.Base().Missing())
			}
		}
	})
}
