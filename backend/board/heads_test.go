package board

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHead: a head is the row without its body, and with it the row again.
func TestHead(t *testing.T) {
	t.Parallel()
	row := &Row{Key: Key{KindCard, "c"}, Seq: 9, Regs: map[string]Register{
		"title": {Text("t"), Stamp{1, "ann"}, 9}, GroupBody: {Text("long"), Stamp{2, "bob"}, 7},
	}}
	before := asJSON(t, row)
	head := row.Head()
	if want := `{"kind":"card","id":"c","seq":9,"regs":{"title":["t",1,"ann",9]},"without":{"body":7}}`; asJSON(t, head) != want {
		t.Errorf("head %s", asJSON(t, head))
	}
	if want := `{"kind":"card","id":"c","seq":9,"regs":{"body":["long",2,"bob",7]}}`; asJSON(t, row.Body()) != want {
		t.Errorf("body %s", asJSON(t, row.Body()))
	}
	if asJSON(t, head.Filled(row.Body())) != before || asJSON(t, row) != before || !head.Lacks(GroupBody) {
		t.Errorf("filled %s, the row is %s now, the head %s", asJSON(t, head.Filled(row.Body())), asJSON(t, row), asJSON(t, head))
	}
	column := &Row{Key: Key{KindColumn, "c"}, Regs: map[string]Register{GroupBody: {Value: Text("of another kind")}}}
	if column.Head() != column || len(column.Body().Regs) != 0 {
		t.Error("a column has a body")
	}
}

// TestWriteOverHead: what is written is there, though what it was before is not; of the row underneath nothing changes.
func TestWriteOverHead(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cards("c")
	b.want(b.do("ann", 1, 100, text("c", "", "long\n")), Committed, 0)
	row, _ := b.table.Row(Key{KindCard, "c"})
	head := row.Head()
	b.table.Put(head)
	buffer := NewBuffer(b.table)
	m := &Mutation{Client: "bob", N: 1, Schema: Schema, Base: 1, TS: 5, Ops: []Op{text("c", "mine\n", "mine too\n"), set("c", "title", Text("new"))}}
	if out, err := b.rules.Apply(buffer, &b.head, m, testNow); err != nil || out.Result.Status != Committed {
		t.Fatalf("%+v, %v", out, err)
	}
	got, _ := buffer.Row(head.Key)
	if got.Lacks(GroupBody) || got.Regs[GroupBody].Value.Text() != "mine too\n" || !head.Lacks(GroupBody) {
		t.Errorf("written: %+v over %+v", got, head)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// headVector is what becomes of a copy's row when a delta has something of it, and then a body comes. See docs/BOARDS.md section 7.
type headVector struct {
	Row     *Row `json:"row"`
	Patch   *Row `json:"patch"`
	Patched *Row `json:"patched"`
	Body    *Row `json:"body"`
	Filled  *Row `json:"filled"`
}

func headVectors(t *testing.T) []headVector {
	t.Helper()
	r := rand.New(rand.NewPCG(2026, 10))
	reg := func(group string, seq int64) Register { // one value for each number: as a log has it
		return Register{Text(fmt.Sprintf("%s of %d", group, seq)), Stamp{1000 * seq, "ann"}, seq}
	}
	var out []headVector
	for range 40 {
		kind, body := KindCard, GroupBody
		if r.IntN(3) == 0 {
			kind, body = KindComment, GroupText
		}
		row := func(most int64, groups ...string) *Row {
			row := &Row{Key: Key{kind, "r"}, Seq: most, Regs: make(map[string]Register)}
			for _, group := range groups {
				row.Regs[group] = reg(group, 1+r.Int64N(most))
			}
			if r.IntN(2) == 0 {
				return row.Head()
			}
			return row
		}
		v := headVector{Row: row(3, GroupLife, body)}
		patched := v.Row.Without[body]
		if have, ok := v.Row.Regs[body]; ok {
			patched = have.Seq
		}
		switch r.IntN(3) {
		case 0: // of another register
			v.Patch = &Row{Key: v.Row.Key, Seq: 4, Regs: map[string]Register{GroupLife: reg(GroupLife, 4)}}
		case 1: // written meanwhile
			patched = 4
			v.Patch = &Row{Key: v.Row.Key, Seq: 4, Regs: map[string]Register{body: reg(body, 4)}}
		default: // the whole row, by a pull
			v.Patch = &Row{Key: v.Row.Key, Seq: 4, Regs: map[string]Register{GroupLife: reg(GroupLife, 4), body: reg(body, patched)}}
		}
		if r.IntN(2) == 0 {
			v.Patch = v.Patch.Head()
		}
		v.Patched = v.Row.Patched(v.Patch)
		v.Body = &Row{Key: v.Row.Key, Seq: 4, Regs: map[string]Register{body: reg(body, 1+r.Int64N(4))}}
		v.Filled = v.Patched.Filled(v.Body)
		if have, ok := v.Filled.Regs[body]; ok && have != reg(body, patched) || ok == v.Filled.Lacks(body) || !ok && v.Filled.Without[body] != patched {
			t.Errorf("the body is of %d: %s", patched, asJSON(t, v))
		}
		out = append(out, v)
	}
	return out
}

// TestTableMissing: a table knows which rows lack something, however they come and go.
func TestTableMissing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	table := NewTable()
	for range 500 {
		row := &Row{Key: Key{KindCard, fmt.Sprint(r.IntN(6))}, Regs: map[string]Register{GroupBody: {Seq: 1}}}
		switch r.IntN(3) {
		case 0:
			table.Put(row)
		case 1:
			table.Put(row.Head())
		default:
			table.Delete(row.Key)
		}
		var want []string
		for _, row := range table.All() {
			if row.Lacks(GroupBody) {
				want = append(want, row.ID)
			}
			if table.Lacks(row.Key) != row.Lacks(GroupBody) {
				t.Fatalf("%s: %v", row.ID, table.Lacks(row.Key))
			}
		}
		var got []string
		for k := range table.MissingKeys() {
			got = append(got, k.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || table.Missing() != len(want) {
			t.Fatalf("missing %v (%d), want %v", got, table.Missing(), want)
		}
	}
}
