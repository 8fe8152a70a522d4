package replica

import (
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

// bed is a replica of a board with a column and a card, and that board.
type bed struct {
	t     *testing.T
	copy  *Replica
	table *board.Table
	head  board.Head
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, table: board.NewTable(), copy: New(State{Board: "b", User: "ann", Client: "a"}, board.Rules{})}
	d := b.apply(&board.Mutation{Client: "setup", N: 1, Schema: board.Schema, Ops: []board.Op{
		{Op: board.OpPut, Kind: board.KindColumn, ID: "todo", Values: map[string]board.Value{"title": board.Text("todo")}},
		{Op: board.OpPut, Kind: board.KindCard, ID: "c", Lane: "todo", Values: map[string]board.Value{"title": board.Text("old")}},
	}})
	b.receive(d, Nothing)
	return b
}

func (b *bed) apply(m *board.Mutation) *board.Delta {
	b.t.Helper()
	buffer, from := board.NewBuffer(b.table), b.head.Seq
	out, err := board.Rules{}.Apply(buffer, &b.head, m, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range buffer.Changed() {
		b.table.Put(r)
	}
	d := &board.Delta{Board: "b", From: from, To: b.head.Seq, HLC: b.head.HLC, Hash: board.FormatHash(b.head.Hash)}
	d.Add(m.Client, out)
	return d
}

func (b *bed) receive(d *board.Delta, want Need) {
	b.t.Helper()
	if need := b.copy.Receive(d); need != want {
		b.t.Errorf("need %d, want %d", need, want)
	}
}

func (b *bed) wantTitle(want string) {
	b.t.Helper()
	row, _ := b.copy.View().Row(board.Key{Kind: board.KindCard, ID: "c"})
	if row == nil || row.Regs["title"].Value.Text() != want {
		b.t.Errorf("the user sees %+v, want %s", row, want)
	}
}

func title(s string) board.Op {
	v := board.Text(s)
	return board.Op{Op: board.OpSet, Kind: board.KindCard, ID: "c", Group: "title", Value: &v}
}

// TestNoFlicker: between a result and the rows that go with it the user goes on seeing what they did.
func TestNoFlicker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	if out := b.copy.Do(2000, 0, title("mine")); out.Result.Status != board.Committed {
		t.Fatal(out)
	}
	b.wantTitle("mine")
	other := b.apply(&board.Mutation{Client: "z", N: 1, Schema: board.Schema, Base: 1, TS: 1, Ops: []board.Op{title("hers")}})
	d := b.apply(b.copy.Outgoing(10)[0])
	b.receive(&board.Delta{Results: d.Results}, Nothing)
	b.wantTitle("mine")
	if b.copy.Pending() != 1 || len(b.copy.Outgoing(10)) != 0 {
		t.Error("a mutation with a result is sent again, or has left before its rows have come")
	}
	b.receive(d, Pull) // other is missing
	b.receive(other, Nothing)
	b.wantTitle("mine")
	b.receive(d, Nothing)
	b.wantTitle("mine")
	if b.copy.Pending() != 0 {
		t.Error("a mutation stays after its end")
	}
	b.receive(d, Nothing) // once more: old
}

func TestRejectedStaysInDrawer(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.copy.Do(2000, 0, title("mine"))
	b.receive(&board.Delta{Results: []board.ClientResult{{Client: "a", Result: board.Result{N: 1, Status: board.Rejected, Code: board.CodeDenied}}}}, Nothing)
	b.wantTitle("old")
	if d := b.copy.Drawer(); len(d) != 1 || d[0].Result.Code != board.CodeDenied || d[0].Mutation.Ops[0].Value.Text() != "mine" {
		t.Errorf("drawer %+v", d)
	}
	b.copy.Dismiss(1)
	if len(b.copy.Drawer()) != 0 {
		t.Error("a dismissed mutation stays")
	}
	b.copy.Do(2000, 0, title("again"))
	b.receive(&board.Delta{Results: []board.ClientResult{{Client: "a", Result: board.Result{N: 2, Status: board.Gap, Next: 1}}}}, Nothing)
	if len(b.copy.Outgoing(10)) != 1 {
		t.Error("a gap is taken for an end")
	}
	b.receive(&board.Delta{Results: []board.ClientResult{{Client: "a", Result: board.Result{N: 2, Status: board.Rejected, Code: board.CodeNoBoard}}}}, Lost)
	b.copy.Revoked("new")
	if s := b.copy.State(); s.Client != "new" || s.Next != 1 || len(s.Pending) != 0 || len(s.Drawer) != 1 || b.copy.Base().Len() != 0 {
		t.Errorf("after the right was lost: %+v", s)
	}
}

// TestDivergence: a copy that differs is noticed, by a delta and by a head alone.
func TestDivergence(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.receive(&board.Delta{From: 1, To: 1, Hash: board.FormatHash(b.head.Hash)}, Nothing)
	b.receive(&board.Delta{From: 1, To: 1, Hash: "0000000000000007"}, Reload)
	b.receive(&board.Delta{From: 1, To: 2, Hash: "0000000000000007"}, Reload)
	b.copy.Forget()
	if b.copy.Seq() != 0 || b.copy.Base().Len() != 0 {
		t.Error("something is left")
	}
}
