package boardfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// sample is what Trello's export has, as far as it matters here: out of order, with things that are left out.
const sample = `{"name":"Home","lists":[{"id":"5f0000000000000000000002","name":"Done","closed":true,"pos":200},{"id":"5f0000000000000000000001","name":"To do","pos":100.5}],
"labels":[{"id":"l1","name":"","color":"red"},{"id":"l1","name":"twice"}],
"cards":[{"id":"c2","name":"Second","idList":"5f0000000000000000000001","pos":2,"due":"2026-01-02T03:04:05.000Z","dueComplete":true,"closed":true},
{"id":"c1","name":"First","desc":"text","idList":"5f0000000000000000000001","pos":1,"idLabels":["l1","l9"],"idMembers":["m"],"attachments":[{},{}]},
{"id":"c3","name":"Lost","idList":"none"}],
"checklists":[{"name":"Steps","idCard":"c1","checkItems":[{"id":"i2","name":"b","state":"complete","pos":2},{"id":"i1","name":"a","state":"incomplete","pos":1}]},{"name":"X","idCard":"c3"}],
"actions":[{"id":"a2","type":"commentCard","memberCreator":{"username":"bob"},"data":{"text":"newer","card":{"id":"c1"}}},{"id":"a3","type":"updateCard"},
{"id":"a1","type":"commentCard","memberCreator":{"username":"ann"},"data":{"text":"older","card":{"id":"c1"}}}]}`

// applied applies a file to an empty board, and wants every operation to be taken.
func applied(t *testing.T, f *File) *board.Table {
	t.Helper()
	rows, head := board.NewTable(), board.Head{}
	for n := int64(1); len(f.Ops) > 0; n++ {
		some := f.Ops[:min(board.MaxOps, len(f.Ops))]
		f.Ops = f.Ops[len(some):]
		buffer := board.NewBuffer(rows)
		o, err := board.Rules{}.Apply(buffer, &head, &board.Mutation{Client: "c", N: n, Schema: board.Schema, TS: n, User: "u", Ops: some}, time.Now().UnixMilli())
		if err != nil || o.Result.Status == board.Rejected {
			t.Fatalf("mutation %d: %v %+v", n, err, o.Result)
		}
		for _, r := range buffer.Changed() {
			rows.Put(r)
		}
	}
	return rows
}

func describe(rows *board.Table) string {
	var b strings.Builder
	for _, r := range rows.All() {
		p, _ := r.Place()
		fmt.Fprintf(&b, "%s %s in %q: %s%s %s\n", r.Kind, r.ID, p.Lane, r.Regs["title"].Value.Text(), r.Regs["text"].Value.Text(), r.Life())
	}
	return b.String()
}

func TestTrello(t *testing.T) {
	f, err := ReadTrello(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	if f.Title != "Home" || !reflect.DeepEqual(f.Rows, map[string]int{"column": 2, "card": 2, "label": 1, "mark": 1, "item": 2, "comment": 2}) {
		t.Errorf("%q %v", f.Title, f.Rows)
	}
	for _, text := range []string{`a label without an ID, or with one that is there twice: "l1"`, `card "First": 1 members`, `card "First": 2 attachments`, `card "Lost": its list`, `checklist "X"`} {
		if !strings.Contains(strings.Join(f.Skipped, "\n"), text) {
			t.Errorf("no %s in %q", text, f.Skipped)
		}
	}
	rows := applied(t, f)
	want := `card c1 in "5f0000000000000000000001": First live
card c2 in "5f0000000000000000000001": Second archived
column 5f0000000000000000000001 in "": To do live
column 5f0000000000000000000002 in "": Done archived
comment a1 in "": ann: older live
comment a2 in "": bob: newer live
item i1 in "c1": a live
item i2 in "c1": b live
label l1 in "":  live
mark c1/label/l1 in "":  live
`
	if got := describe(rows); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	lane, err := rows.Lane("5f0000000000000000000001")
	if err != nil || len(lane) != 2 || lane[0].ID != "c1" || lane[1].Regs["due"].Value.Integer() != 1767323045000 || !lane[1].Regs["done"].Value.Bool() {
		t.Errorf("the order is %v, %v", lane, err)
	}
	for text, fault := range map[string]string{"": "not Trello's JSON", "[]": "not Trello's JSON", `{"name":"x"}`: "no lists", `{"lists":[],"cards":[{"pos":"x"}]}`: "cannot unmarshal"} {
		if _, err := ReadTrello(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCSV(t *testing.T) {
	f, err := ReadCSV(strings.NewReader("\ufeffName,Status,Description,Due date,Priority,Est,Done,Tags,Owner\r\n" +
		"\"Buy, \"\"milk\"\"\",To do,\"two\nlines\",2026-01-02,3,8,no,\"red; big\",ann\r\n" +
		"Rest,Done,,2026-01-02T03:04:05Z,9,x,yes,red\r\n" +
		",To do\r\nAlone\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.Rows, map[string]int{"column": 3, "card": 3, "label": 2, "mark": 3}) {
		t.Errorf("%v", f.Rows)
	}
	want := `["column 9 of the table, \"Owner\"" "line 4: prio \"9\"" "line 4: est \"x\"" "line 5: it has no title"]`
	if got := fmt.Sprintf("%q", f.Skipped); got != want {
		t.Errorf("skipped %s, want %s", got, want)
	}
	rows := applied(t, f)
	card, err := rows.Row(board.Key{Kind: board.KindCard, ID: "card-2"})
	if err != nil || card.Regs["title"].Value.Text() != `Buy, "milk"` || card.Regs["body"].Value.Text() != "two\nlines" || card.Regs["due"].Value.Integer() != 1767312000000 ||
		card.Regs["prio"].Value.Integer() != 3 || card.Regs["est"].Value.Integer() != 8 || card.Regs["done"].Value.Bool() {
		t.Errorf("%+v %v", card, err)
	}
	for text, fault := range map[string]string{"": "no line with headings", "a,b\n": "no heading is title", "title\n\"x": "line 2"} {
		if _, err := ReadCSV(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadCSV(strings.NewReader("title\n" + strings.Repeat("x\n", MaxRows+1))); err == nil || !strings.Contains(err.Error(), "in parts") {
		t.Errorf("too many: %v", err)
	}
}

// FuzzTrello and FuzzCSV: whatever is read is taken by the rules of boards, whole, and is the same each time.
func FuzzTrello(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"lists":[{"id":"ü","name":"\u0000"}],"cards":[{"id":"/","idList":"ü","name":"x","due":"1000-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, func() (*File, error) { return ReadTrello(bytes.NewReader(data)) })
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("title,column,labels,due,done\nx,y,\"a,b;c\",2026-01-02,x\n"))
	f.Add([]byte("title,title\n\x00,\xff\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, func() (*File, error) { return ReadCSV(bytes.NewReader(data)) })
	})
}

func check(t *testing.T, read func() (*File, error)) {
	t.Helper()
	a, err := read()
	b, again := read()
	if (err == nil) != (again == nil) {
		t.Fatalf("%v, then %v", err, again)
	}
	if err != nil {
		return
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if !bytes.Equal(x, y) {
		t.Fatalf("%s, then %s", x, y)
	}
	applied(t, a)
}
