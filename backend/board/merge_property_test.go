package board

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestOrderOfArrival: of mutations that knew nothing of each other, any order of arrival gives the same registers, where the
// order is not what decides: fields, sets, lives, and the columns of cards. And what lost is a conflict.
func TestOrderOfArrival(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var all []Mutation
		for i := range 6 {
			m := Mutation{Client: fmt.Sprintf("client%d", i), N: 1, Schema: Schema, TS: 100 + r.Int64N(50)}
			for j := range 3 {
				o := randomRegisterOp(r, fmt.Sprintf("v%d.%d", i, j))
				// Who deletes and restores unseen by others leaves it to the order of arrival what else they did to that life.
				if o.Op != OpLife || !slices.ContainsFunc(m.Ops, func(p Op) bool { return p.Op == OpLife && p.ID == o.ID }) {
					m.Ops = append(m.Ops, o)
				}
			}
			all = append(all, m)
		}
		var want string
		for range 4 {
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			b := newBed(t)
			b.cards("c0", "c1", "c2")
			base := b.head.Seq
			lost := make(map[string]bool)
			for _, m := range all {
				m.Base, m.Ops = base, slices.Clone(m.Ops)
				for _, c := range b.apply(&m).Conflicts {
					lost[c.Lost.Value.String()] = true
				}
			}
			if got := registers(b.table); want == "" {
				want = got
			} else if got != want {
				t.Fatalf("seed %d: order matters:\n%s\n%s", seed, want, got)
			}
			wantNothingLost(t, seed, b, all, lost)
		}
	}
}

func wantNothingLost(t *testing.T, seed uint64, b *bed, all []Mutation, lost map[string]bool) {
	t.Helper()
	for _, m := range all {
		for i, o := range m.Ops {
			if o.Op != OpSet || slices.ContainsFunc(m.Ops[i+1:], func(later Op) bool { return later.ID == o.ID && later.Group == o.Group }) {
				continue
			}
			if b.reg(KindCard, o.ID, o.Group) != o.value() && !lost[o.value().String()] {
				t.Errorf("seed %d: %s of %s vanished", seed, o.value(), m.Client)
			}
		}
	}
}

func randomRegisterOp(r *rand.Rand, token string) Op {
	card := fmt.Sprintf("c%d", r.IntN(3))
	switch r.IntN(5) {
	case 0, 1:
		return set(card, "title", Text(token))
	case 2:
		return move(card, []string{"todo", "doing", "done"}[r.IntN(3)], "")
	case 3:
		return Op{Op: OpMark, ID: card, Set: "label", Element: fmt.Sprintf("l%d", r.IntN(2)), Present: r.IntN(2) == 0}
	default:
		return life(KindCard, card, []string{Live, Archived, Deleted}[r.IntN(3)])
	}
}

// registers is a board without positions and stamps.
func registers(t *Table) string {
	var b strings.Builder
	for _, row := range t.All() {
		for _, g := range []string{"title", GroupLife, GroupPresent} {
			fmt.Fprintf(&b, "%s %s %s\n", row.Key, g, row.Regs[g].Value)
		}
		p, _ := row.Place()
		fmt.Fprintln(&b, p.Lane)
	}
	return b.String()
}

// TestMergeTextProperty: edits of different lines are all there, in either order; equal edits are one.
func TestMergeTextProperty(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 8))
		var base []string
		for i := range 3 + r.IntN(20) {
			base = append(base, fmt.Sprintf("line %d\n", i%7)) // some lines are alike
		}
		split := 1 + r.IntN(len(base)-1)
		edit := func(lines []string, who string) []string {
			out := slices.Clone(lines)
			for range r.IntN(3) {
				i := r.IntN(len(out) + 1)
				out = slices.Insert(out, i, fmt.Sprintf("%s %d\n", who, r.IntN(1000)))
			}
			return out
		}
		anchor := []string{"an anchor that nobody touches\n"}
		top, bottom := base[:split], base[split:]
		newTop, newBottom := edit(top, "ann"), edit(bottom, "bob")
		join := func(a, b []string) string { return strings.Join(slices.Concat(a, anchor, b), "") }
		want := join(newTop, newBottom)
		for _, order := range [][2]string{{join(newTop, bottom), join(top, newBottom)}, {join(top, newBottom), join(newTop, bottom)}} {
			if got, clean := mergeText(join(top, bottom), order[0], order[1]); got != want || !clean {
				t.Fatalf("seed %d: merged to %q, clean %v, want %q", seed, got, clean, want)
			}
		}
		if got, clean := mergeText(join(top, bottom), want, want); got != want || !clean {
			t.Fatalf("seed %d: equal edits merged to %q", seed, got)
		}
	}
}

func TestHashTellsRowsApart(t *testing.T) {
	t.Parallel()
	row := func(id string, done bool) *Row {
		return &Row{Key: Key{KindCard, id}, Regs: map[string]Register{"done": {Bool(done), Stamp{1, "ann"}, 1}}}
	}
	a := row("a", true).Hash() + row("b", false).Hash()
	if b := row("a", false).Hash() + row("b", true).Hash(); a == b {
		t.Error("two rows that swap their values have the same sum")
	}
}

func FuzzDecodeMutation(f *testing.F) {
	f.Add([]byte(`{"client":"c","n":1,"schema":1,"ops":[{"op":"move","kind":"card","id":"a","lane":"todo","pos":"a0"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, head := NewTable(), new(Head)
		out, err := (Rules{}).Apply(NewBuffer(table), head, DecodeMutation(data), testNow)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(out.Result); err != nil {
			t.Fatal(err)
		}
	})
}

var update = flag.Bool("update", false, "write testdata anew")

// vector is one step of testdata/merge.json: a mutation, and what comes of it. See docs/BOARDS.md section 7.
type vector struct {
	Now      int64     `json:"now"`
	User     string    `json:"user"`
	Mutation *Mutation `json:"mutation"`
	Delta    Delta     `json:"delta"`
}

type posVector struct {
	A       string `json:"a"`
	B       string `json:"b"`
	Between string `json:"between"`
}

type textVector struct {
	Base   string `json:"base"`
	Ours   string `json:"ours"`
	Theirs string `json:"theirs"`
	Merged string `json:"merged"`
	Clean  bool   `json:"clean"`
}

// TestVectors writes what clients in other languages test themselves against, from a fixed seed, and fails when the
// files are not what this code makes of it (go test ./backend/board -update writes them).
func TestVectors(t *testing.T) {
	t.Parallel()
	wantFile(t, "merge.json", mergeVectors(t))
	wantFile(t, "positions.json", posVectors(t))
	wantFile(t, "texts.json", textVectors())
	wantFile(t, "heads.json", headVectors(t))
}

func mergeVectors(t *testing.T) []vector {
	r := rand.New(rand.NewPCG(2026, 7))
	b := newBed(t)
	b.table, b.head = NewTable(), Head{}
	b.rules.RekeyOver = 0
	var out []vector
	n := make(map[string]int64)
	for i := range 250 {
		client := []string{"ann-1", "bob-1", "cyd-1"}[r.IntN(3)]
		n[client]++
		m := &Mutation{
			Client: client, N: n[client], Schema: Schema, Base: max(0, b.head.Seq-r.Int64N(30)),
			TS: testNow*1000 + int64(i)*10 - r.Int64N(400), User: client[:3],
		}
		if i < 3 {
			m.Ops = []Op{put(KindColumn, fmt.Sprintf("col%d", i), "", "")}
		}
		if i >= 3 && i < 7 {
			m.Ops = append(m.Ops, put(KindCard, fmt.Sprintf("card%d", i-3), "col0", ""))
		}
		for i >= 7 && len(m.Ops) < 1+r.IntN(2) {
			m.Ops = append(m.Ops, randomOp(r, fmt.Sprintf("word%d", i)))
		}
		now := testNow + int64(i)/100
		buffer := NewBuffer(b.table)
		sent, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		head := b.head
		o, err := b.rules.Apply(buffer, &b.head, m, now)
		if err != nil {
			t.Fatal(err)
		}
		d := Delta{Board: "board", From: head.Seq, To: b.head.Seq, HLC: b.head.HLC, Hash: FormatHash(b.head.Hash)}
		d.Add(client, o)
		copied := NewTable()
		for _, row := range b.table.All() {
			copied.Put(row)
		}
		for _, row := range buffer.Changed() {
			b.table.Put(row)
		}
		if d.From < d.To && d.Apply(copied).Hash() != b.table.Hash() {
			t.Fatal("a copy that applies the delta is not the board")
		}
		back := new(Mutation)
		if err := json.Unmarshal(sent, back); err != nil {
			t.Fatal(err)
		}
		out = append(out, vector{now, m.User, back, d})
	}
	return out
}

func randomOp(r *rand.Rand, word string) Op {
	card := fmt.Sprintf("card%d", r.IntN(6))
	column := fmt.Sprintf("col%d", r.IntN(3))
	other := fmt.Sprintf("card%d", r.IntN(6))
	switch r.IntN(12) {
	case 0:
		return put(KindCard, card, column, other)
	case 1:
		return text(card, "intro\nend\n", word+"\nintro\nend\n")
	case 2:
		return Op{Op: OpMove, Kind: KindCard, ID: card, Lane: column, After: other}
	case 3:
		return Op{Op: OpMove, Kind: KindCard, ID: card, Lane: column, Before: other, Pos: "a1"}
	case 4:
		return set(card, GroupParent, Text(other))
	case 5:
		return life(KindCard, card, []string{Live, Archived, Deleted}[r.IntN(3)])
	case 6:
		return text(card, "", "intro\n"+word+" ä <&>\nend\n")
	case 7:
		return Op{Op: OpMark, ID: card, Set: "reaction", Element: "👍", Present: r.IntN(2) == 0}
	case 8:
		return set(card, "due", []Value{{}, Integer(r.Int64N(1 << 50))}[r.IntN(2)])
	case 9:
		return set(card, "done", Bool(r.IntN(2) == 0))
	case 10:
		if r.IntN(4) == 0 {
			return Op{Op: OpColumnDelete, ID: column, Into: fmt.Sprintf("col%d", r.IntN(3))}
		}
		return life(KindColumn, column, Live)
	default:
		return set(card, "title", Text(word))
	}
}

func posVectors(t *testing.T) []posVector {
	r := rand.New(rand.NewPCG(2026, 8))
	lane := []string{}
	var out []posVector
	for range 200 {
		i := r.IntN(len(lane) + 1)
		if r.IntN(2) == 0 {
			i = len(lane) / 2
		}
		v := posVector{}
		if i > 0 {
			v.A = lane[i-1]
		}
		if i < len(lane) {
			v.B = lane[i]
		}
		var err error
		if v.Between, err = Between(v.A, v.B); err != nil {
			t.Fatal(err)
		}
		lane = slices.Insert(lane, i, v.Between)
		out = append(out, v)
	}
	return out
}

func textVectors() []textVector {
	r := rand.New(rand.NewPCG(2026, 9))
	edit := func(base []string) string {
		out := slices.Clone(base)
		for range r.IntN(4) {
			i := r.IntN(len(out) + 1)
			line := fmt.Sprintf("l%d\n", r.IntN(6))
			if i < len(out) && r.IntN(2) == 0 {
				out = slices.Delete(out, i, i+1)
			} else {
				out = slices.Insert(out, i, line)
			}
		}
		return strings.Join(out, "")
	}
	var out []textVector
	for range 100 {
		var base []string
		for range r.IntN(8) {
			base = append(base, fmt.Sprintf("l%d\n", r.IntN(6)))
		}
		v := textVector{Base: strings.Join(base, ""), Ours: edit(base), Theirs: edit(base)}
		v.Merged, v.Clean = mergeText(v.Base, v.Ours, v.Theirs)
		out = append(out, v)
	}
	return out
}

func wantFile[T any](t *testing.T, name string, vectors []T) {
	t.Helper()
	var b strings.Builder
	b.WriteString("[\n")
	for i, v := range vectors {
		line, err := marshalPlain(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		if i < len(vectors)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(stored) != b.String() {
		t.Errorf("%s is not what this code makes: a client that was tested against it would differ. If that is meant: go test ./backend/board -update", path)
	}
}
