package board

import (
	"testing"
)

// bed is a board under test with two clients who see everything, unless a mutation says otherwise.
type bed struct {
	t     *testing.T
	rules Rules
	table *Table
	head  Head
	n     map[string]int64
}

const testNow = 1_000_000 // unix ms

func newBed(t *testing.T) *bed {
	b := &bed{t: t, table: NewTable(), n: make(map[string]int64)}
	for _, c := range []string{"todo", "doing", "done"} {
		b.do("setup", 0, 1, put(KindColumn, c, "", ""))
	}
	return b
}

func put(kind, id, lane, after string) Op {
	values := map[string]Value{"title": Text(id)}
	return Op{Op: OpPut, Kind: kind, ID: id, Lane: lane, After: after, Values: values}
}

func set(id, group string, v Value) Op {
	return Op{Op: OpSet, Kind: KindCard, ID: id, Group: group, Value: &v}
}

func move(id, lane, after string) Op {
	return Op{Op: OpMove, Kind: KindCard, ID: id, Lane: lane, After: after}
}

func life(kind, id, v string) Op {
	value := Text(v)
	return Op{Op: OpLife, Kind: kind, ID: id, Value: &value}
}

func text(id, from, to string) Op {
	value := Text(to)
	return Op{Op: OpText, ID: id, From: from, Value: &value}
}

// do applies a mutation of a client that had seen the board up to back mutations ago.
func (b *bed) do(client string, back, ts int64, ops ...Op) Outcome {
	b.t.Helper()
	b.n[client]++
	m := &Mutation{Client: client, N: b.n[client], Schema: Schema, Base: max(0, b.head.Seq-back), TS: ts, User: client, Ops: ops}
	return b.apply(m)
}

func (b *bed) apply(m *Mutation) Outcome {
	b.t.Helper()
	buffer := NewBuffer(b.table)
	out, err := b.rules.Apply(buffer, &b.head, m, testNow)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range buffer.Changed() {
		b.table.Put(row)
	}
	if b.head.Hash != b.table.Hash() {
		b.t.Fatalf("after %+v the head's hash is not that of the rows", m)
	}
	return out
}

func (b *bed) want(out Outcome, status Status, conflicts int) {
	b.t.Helper()
	if out.Result.Status != status || len(out.Conflicts) != conflicts {
		b.t.Errorf("%+v with conflicts %v, want %s with %d", out.Result, out.Conflicts, status, conflicts)
	}
}

func (b *bed) reg(kind, id, group string) Value {
	b.t.Helper()
	row, _ := b.table.Row(Key{kind, id})
	if row == nil {
		b.t.Fatalf("no %s %s", kind, id)
	}
	return row.Regs[group].Value
}

func (b *bed) lane(lane string) string {
	rows, _ := b.table.Lane(lane)
	s := ""
	for _, r := range rows {
		s += r.ID + " "
	}
	return s
}

func (b *bed) wantLane(lane, want string) {
	b.t.Helper()
	if got := b.lane(lane); got != want {
		b.t.Errorf("%s: %q, want %q", lane, got, want)
	}
}

func (b *bed) cards(ids ...string) {
	for _, id := range ids {
		b.do("setup", 0, 2, put(KindCard, id, "todo", ""))
	}
}
