package board

import (
	"errors"
	"strings"
	"testing"
)

func TestLaterIntentWins(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	b.want(b.do("ann", 0, 200, set("c", "title", Text("monday"))), Committed, 0)
	b.want(b.do("bob", 1, 100, set("c", "title", Text("friday, offline"))), Superseded, 1)
	if got := b.reg(KindCard, "c", "title").Text(); got != "monday" {
		t.Errorf("title %q", got)
	}
	b.want(b.do("bob", 2, 300, set("c", "title", Text("later"))), Committed, 1)
	// Who knows what he overwrites wins, whatever his clock says.
	b.want(b.do("ann", 0, 1, set("c", "title", Text("seen"))), Committed, 0)
	if got := b.reg(KindCard, "c", "title").Text(); got != "seen" {
		t.Errorf("title %q", got)
	}
	b.want(b.do("bob", 1, 150, set("c", "prio", Integer(2))), Committed, 0) // another register
}

func TestClockInTheFuture(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	b.do("ann", 0, maxInteger, set("c", "title", Text("from the future")))
	row, _ := b.table.Row(Key{KindCard, "c"})
	if ts := row.Regs["title"].Stamp.TS; ts > b.head.HLC || ts < testNow*1000 {
		t.Errorf("stamp %d, the board's clock is %d", ts, b.head.HLC)
	}
	b.want(b.do("bob", 1, maxInteger, set("c", "title", Text("next"))), Committed, 1)
}

func TestDeletionStands(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	b.do("ann", 0, 100, life(KindCard, "c", Deleted))
	out := b.do("bob", 1, 200, set("c", "title", Text("edited offline")))
	b.want(out, Committed, 0)
	if len(out.Result.Hidden) != 1 || b.reg(KindCard, "c", GroupLife).Text() != Deleted {
		t.Errorf("an edit brought back what was deleted: %+v", out.Result)
	}
	b.want(b.do("bob", 2, 300, life(KindCard, "c", Archived)), Superseded, 1)
	b.want(b.do("bob", 0, 10, life(KindCard, "c", Live)), Committed, 0) // he has seen that it was deleted
	b.want(b.do("ann", 1, 5, life(KindCard, "c", Deleted)), Committed, 1)
	b.want(b.do("bob", 1, 900, life(KindCard, "c", Live)), Superseded, 1)
}

func TestMoveAndAnchors(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("a", "b", "c", "d")
	b.wantLane("todo", "a b c d ")
	b.do("ann", 0, 100, move("d", "todo", "a"))
	b.wantLane("todo", "a d b c ")
	b.want(b.do("ann", 0, 110, move("a", "doing", "")), Committed, 0)
	b.want(b.do("bob", 1, 105, move("a", "done", "")), Superseded, 1)
	b.wantLane("doing", "a ")
	b.wantLane("done", "")
	// The anchor has left: the one in front of it counts, then the position, then the end.
	b.do("bob", 0, 200, Op{Op: OpMove, Kind: KindCard, ID: "c", Lane: "todo", After: "a", Before: "d"})
	b.wantLane("todo", "c d b ")
	b.do("bob", 0, 210, Op{Op: OpMove, Kind: KindCard, ID: "b", Lane: "todo", After: "a", Before: "gone", Pos: "Z0"})
	b.wantLane("todo", "b c d ")
	b.do("bob", 0, 220, Op{Op: OpMove, Kind: KindCard, ID: "d", Lane: "todo", Pos: "Z0"})
	b.wantLane("todo", "b d c ")
	b.do("bob", 0, 230, move("b", "todo", "b"))
	b.wantLane("todo", "d c b ")
}

// TestPastesDoNotInterleave: two people paste behind the same card.
func TestPastesDoNotInterleave(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("x", "y")
	paste := func(ids ...string) (ops []Op) {
		after := "x"
		for _, id := range ids {
			ops = append(ops, put(KindCard, id, "todo", after))
			after = id
		}
		return ops
	}
	b.do("ann", 0, 100, paste("a1", "a2", "a3")...)
	b.do("bob", 1, 100, paste("b1", "b2", "b3")...)
	b.wantLane("todo", "x b1 b2 b3 a1 a2 a3 y ")
}

func TestRekey(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.rules.RekeyOver = 6
	b.cards("x", "y", "z")
	for range 300 {
		b.do("ann", 0, 100, move("z", "todo", "x"))
		b.do("ann", 0, 100, move("y", "todo", "x"))
	}
	b.wantLane("todo", "x y z ")
	rows, _ := b.table.Lane("todo")
	for _, r := range rows {
		if p, _ := r.Place(); len(p.Pos) > 6 {
			t.Errorf("%s stands at %s", r.ID, p.Pos)
		}
	}
	b.do("bob", 1, 50, move("x", "todo", "z")) // a re-keying is nobody's intent
	b.wantLane("todo", "y z x ")
}

func TestColumnDelete(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("a", "b")
	del := func(id, into string) Op { return Op{Op: OpColumnDelete, ID: id, Into: into} }
	b.do("ann", 0, 100, put(KindCard, "x", "doing", ""))
	b.want(b.do("ann", 0, 100, del("todo", "doing")), Committed, 0)
	b.wantLane("doing", "x a b ")
	b.want(b.do("bob", 1, 50, put(KindCard, "late", "todo", "a")), Redirected, 0)
	b.wantLane("doing", "x a late b ")
	b.want(b.do("ann", 0, 100, del("doing", "todo")), Rejected, 0) // todo leads back to doing
	b.want(b.do("ann", 0, 100, del("doing", "done")), Committed, 0)
	b.want(b.do("bob", 1, 50, move("a", "todo", "")), Redirected, 0) // through both
	b.wantLane("done", "x late b a ")
	b.want(b.do("ann", 0, 100, life(KindColumn, "todo", Live)), Committed, 0)
	b.want(b.do("ann", 0, 100, move("a", "todo", "")), Committed, 0)
}

func TestParentCycle(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("a", "b", "c")
	b.do("ann", 0, 100, set("a", GroupParent, Text("b")))
	b.do("ann", 0, 100, set("b", GroupParent, Text("c")))
	out := b.do("bob", 2, 200, set("c", GroupParent, Text("a")))
	b.want(out, Rejected, 0)
	if out.Result.Code != CodeCycle {
		t.Errorf("code %s", out.Result.Code)
	}
	b.want(b.do("bob", 0, 200, set("b", GroupParent, Value{})), Committed, 0)
	b.want(b.do("bob", 0, 200, set("c", GroupParent, Text("a"))), Committed, 0)
}

func TestSets(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	mark := func(set, element string, present bool) Op {
		return Op{Op: OpMark, ID: "c", Set: set, Element: element, Present: present}
	}
	b.do("ann", 0, 100, mark("label", "red", true))
	b.want(b.do("bob", 1, 50, mark("label", "blue", true)), Committed, 0)
	b.want(b.do("bob", 2, 60, mark("label", "red", false)), Superseded, 1)
	b.do("bob", 0, 60, mark("reaction", "+1", true))
	if !b.reg(KindMark, "c/label/red", GroupPresent).Bool() || !b.reg(KindMark, "c/reaction/bob/+1", GroupPresent).Bool() {
		t.Error("marks are missing")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	base := "one\ntwo\nthree\nfour\n"
	b.do("ann", 0, 100, text("c", "", base))
	b.do("ann", 0, 110, text("c", base, "ONE\ntwo\nthree\nfour\n"))
	b.want(b.do("bob", 1, 105, text("c", base, "one\ntwo\nthree\nFOUR\nfive\n")), Merged, 0)
	if got := b.reg(KindCard, "c", GroupBody).Text(); got != "ONE\ntwo\nthree\nFOUR\nfive\n" {
		t.Errorf("body %q", got)
	}
	// Ann has not seen the merge, and writes on from what she has.
	b.want(b.do("ann", 1, 120, text("c", "ONE\ntwo\nthree\nfour\n", "ONE\nzwei\nthree\nfour\n")), Merged, 0)
	if got := b.reg(KindCard, "c", GroupBody).Text(); got != "ONE\nzwei\nthree\nFOUR\nfive\n" {
		t.Errorf("body %q", got)
	}
	b.want(b.do("bob", 1, 90, text("c", "ONE\ntwo\nthree\nFOUR\nfive\n", "ONE\ndos\nthree\nFOUR\nfive\nsix\n")), Superseded, 1)
	if got := b.reg(KindCard, "c", GroupBody).Text(); got != "ONE\nzwei\nthree\nFOUR\nfive\nsix\n" {
		t.Errorf("body %q", got)
	}
}

func TestRejections(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	long := strings.Repeat("z", MaxPos+1)
	for _, c := range []struct {
		code string
		m    Mutation
	}{
		{CodeMalformed, Mutation{}},
		{CodeMalformed, Mutation{Ops: []Op{{Op: "explode", ID: "c"}}}},
		{CodeMalformed, Mutation{Ops: []Op{set("c", "title", Integer(1))}}},
		{CodeMalformed, Mutation{Ops: []Op{set("c", "nothing", Integer(1))}}},
		{CodeMalformed, Mutation{Ops: []Op{set("c", "title", Text("\xff"))}}},
		{CodeMalformed, Mutation{Ops: []Op{{Op: OpPut, Kind: KindCard, ID: "d", Lane: "todo"}}}},
		{CodeMalformed, Mutation{Ops: []Op{life(KindColumn, "todo", Deleted)}}},
		{CodeUnknown, Mutation{Ops: []Op{set("d", "title", Text("x"))}}},
		{CodeUnknown, Mutation{Ops: []Op{move("c", "nowhere", "")}}},
		{CodeExists, Mutation{Ops: []Op{put(KindCard, "c", "todo", "")}}},
		{CodePosition, Mutation{Ops: []Op{{Op: OpMove, Kind: KindCard, ID: "c", Lane: "todo", Pos: long}}}},
		{CodeBase, Mutation{Base: 1000, Ops: []Op{move("c", "todo", "")}}},
		{CodeSchema, Mutation{Schema: 9, Ops: []Op{move("c", "todo", "")}}},
		{CodeTooLarge, Mutation{Ops: make([]Op, MaxOps+1)}},
	} {
		head := b.head
		c.m.Client, c.m.N = "ann", 1
		if c.m.Schema == 0 {
			c.m.Schema = Schema
		}
		out := b.apply(&c.m)
		if out.Result.Status != Rejected || out.Result.Code != c.code || out.Result.Text == "" {
			t.Errorf("%+v: %+v, want %s", c.m, out.Result, c.code)
		}
		if b.head.Seq != head.Seq || b.head.Hash != head.Hash {
			t.Errorf("%+v was rejected and changed the board", c.m)
		}
	}
	b.head.GC = b.head.Seq
	out := b.do("ann", 1, 100, set("purged", "title", Text("x")))
	if out.Result.Code != CodeGone {
		t.Errorf("an edit of what may be purged: %+v", out.Result)
	}
	// One bad operation takes the others of its mutation with it.
	b.want(b.do("ann", 0, 100, set("c", "title", Text("half")), set("d", "title", Text("x"))), Rejected, 0)
	if got := b.reg(KindCard, "c", "title").Text(); got != "c" {
		t.Errorf("half of a rejected mutation took effect: %q", got)
	}
}

func TestUpcast(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	b.rules = Rules{Schema: 3, Upgrade: map[int]func(*Mutation) *Rejection{
		2: func(m *Mutation) *Rejection { // "name" became "title"
			for i := range m.Ops {
				m.Ops[i].Group = "title"
			}
			return nil
		},
	}}
	old := set("c", "name", Text("by an old client"))
	for schema, want := range map[int]Status{1: Rejected, 2: Committed, 4: Rejected} {
		out := b.apply(&Mutation{Client: "ann", N: 1, Schema: schema, Base: b.head.Seq, Ops: []Op{old}})
		b.want(out, want, 0)
	}
	if got := b.reg(KindCard, "c", "title").Text(); got != "by an old client" {
		t.Errorf("title %q", got)
	}
}

func TestDecodeMutation(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for body, n := range map[string]int64{
		`{"client":"ann","n":7,"schema":1,"ops":[{"op":"set","value":1.5}]}`: 7,
		`{"client":"ann","n":8,"ops":{}}`:                                    8,
		"{\"client\":\"ann\",\"n\":9,\"ops\":[\"\xff\"]}":                    9,
		`nonsense`: 0,
	} {
		out := b.apply(DecodeMutation([]byte(body)))
		if out.Result.Status != Rejected || out.Result.Code != CodeMalformed || out.Result.N != n {
			t.Errorf("%s: %+v", body, out.Result)
		}
	}
}

// TestStoreFailure: an error of the store is nobody's rejection.
func TestStoreFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	m := &Mutation{Client: "ann", N: 1, Schema: Schema, Ops: []Op{move("c", "todo", "")}}
	if _, err := (Rules{}).Apply(NewBuffer(brokenRows{broken}), new(Head), m, testNow); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type brokenRows struct{ err error }

func (b brokenRows) Row(Key) (*Row, error)                       { return nil, b.err }
func (b brokenRows) Neighbor(string, string, bool) (*Row, error) { return nil, b.err }
func (b brokenRows) Lane(string) ([]*Row, error)                 { return nil, b.err }

func TestInverse(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("a", "b", "c")
	mine := func(k Key, group string, reg Register) bool {
		row, _ := b.table.Row(k)
		return row != nil && row.Regs[group].Stamp == reg.Stamp
	}
	done := b.do("ann", 0, 100, move("b", "doing", ""), set("a", "title", Text("x")), set("a", "done", Bool(true)),
		text("c", "", "body\n"), life(KindCard, "c", Archived), put(KindCard, "new", "todo", "a"),
		Op{Op: OpMark, ID: "a", Set: "member", Element: "bob", Present: true}, Op{Op: OpColumnDelete, ID: "todo", Into: "done"})
	b.want(done, Committed, 0)
	b.do("bob", 0, 200, set("a", "title", Text("mine now")))
	ops, left := Inverse(done.Changes, mine)
	if len(left) != 1 || left[0].Group != "title" {
		t.Errorf("left alone: %+v", left)
	}
	b.want(b.do("ann", 0, 300, ops...), Committed, 0)
	b.wantLane("todo", "a b c ")
	if b.reg(KindCard, "a", "title").Text() != "mine now" || b.reg(KindCard, "a", "done").Bool() || b.reg(KindCard, "new", GroupLife).Text() != Deleted ||
		b.reg(KindCard, "c", GroupLife).Text() != Live || b.reg(KindCard, "c", GroupBody).Text() != "" || b.reg(KindMark, "a/member/bob", GroupPresent).Bool() {
		t.Error("not everything was taken back")
	}
}
