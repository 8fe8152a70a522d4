package boardfile

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/board"
)

// headings are the names that a column of a table may have, in lower case, and what is in it.
func headings() map[string]string {
	return map[string]string{
		"title": "title", "name": "title", "card": "title", "summary": "title", "task": "title",
		"column": "column", "list": "column", "status": "column", "state": "column",
		"body": "body", "description": "body", "desc": "body", "notes": "body",
		"due": "due", "due date": "due", "priority": "prio", "prio": "prio", "estimate": "est", "est": "est",
		"done": "done", "completed": "done", "labels": "labels", "label": "labels", "tags": "labels",
	}
}

const noColumn = "Imported" // where a card goes that names no column

// ReadCSV reads a table (RFC 4180) whose first line has headings, of which one must be title. Each further line is a card. Columns come in the
// order in which they are first named. A due date is YYYY-MM-DD or RFC 3339; labels have ; or , between them.
func ReadCSV(r io.Reader) (*File, error) {
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("there is no line with headings: %w", err)
	}
	t := &table{File: newFile(), at: make(map[string]int), columns: make(map[string]string), labels: make(map[string]string)}
	known := headings()
	for i, h := range head {
		what := known[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))]
		if _, twice := t.at[what]; what == "" || twice {
			t.skip("column %d of the table, %.60q", i+1, h)
			continue
		}
		t.at[what] = i
	}
	if _, ok := t.at["title"]; !ok {
		return nil, fmt.Errorf("no heading is title: the first line has %.200q", head)
	}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return t.end()
		}
		if err != nil {
			return nil, fmt.Errorf("not a table: %w", err)
		}
		line, _ := c.FieldPos(0)
		t.card(record, line)
		if t.Rows[board.KindCard] > MaxRows {
			return t.end()
		}
	}
}

// table is a CSV file that is being read.
type table struct {
	*File
	at      map[string]int    // where in a line something is
	columns map[string]string // IDs by title
	labels  map[string]string
}

func (t *table) field(record []string, what string) string {
	i, ok := t.at[what]
	if !ok || i >= len(record) {
		return ""
	}
	return strings.TrimSpace(record[i])
}

func (t *table) card(record []string, line int) {
	what := fmt.Sprintf("line %d", line)
	title := t.field(record, "title")
	if title == "" {
		t.skip("%s: it has no title", what)
		return
	}
	column := t.field(record, "column")
	if column == "" {
		column = noColumn
	}
	id := fmt.Sprintf("card-%d", line)
	values := map[string]board.Value{"title": t.text(what, title, board.MaxTitle)}
	if body := t.field(record, "body"); body != "" {
		values[board.GroupBody] = t.text(what, body, board.MaxText)
	}
	if due, ok := parse(t, what, "due date", t.field(record, "due"), date); ok {
		values["due"] = board.Integer(due)
	}
	if n, ok := parse(t, what, "prio", t.field(record, "prio"), upTo(4)); ok {
		values["prio"] = board.Integer(n)
	}
	if n, ok := parse(t, what, "est", t.field(record, "est"), upTo(1000)); ok {
		values["est"] = board.Integer(n)
	}
	switch strings.ToLower(t.field(record, "done")) {
	case "true", "yes", "y", "x", "1", "done", "completed":
		values["done"] = board.Bool(true)
	}
	t.put(board.KindCard, id, t.named(t.columns, board.KindColumn, column), values)
	for _, label := range strings.FieldsFunc(t.field(record, "labels"), func(r rune) bool { return r == ';' || r == ',' }) {
		if label = strings.TrimSpace(label); label != "" {
			t.label(id, t.named(t.labels, board.KindLabel, label))
		}
	}
}

// named is the ID of a column or label of a title, which is made where it is met first.
func (t *table) named(ids map[string]string, kind, title string) string {
	id, ok := ids[title]
	if !ok {
		id = fmt.Sprintf("%s-%d", kind, len(ids)+1)
		ids[title] = id
		t.put(kind, id, "", map[string]board.Value{"title": t.text(kind, title, board.MaxTitle)})
	}
	return id
}

// parse reads a field that is not a text; what cannot be read is left out.
func parse(t *table, what, name, text string, f func(string) (int64, error)) (int64, bool) {
	if text == "" {
		return 0, false
	}
	n, err := f(text)
	if err != nil {
		t.skip("%s: %s %.40q", what, name, text)
		return 0, false
	}
	return n, true
}

func date(text string) (int64, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if d, err := time.Parse(layout, text); err == nil && d.UnixMilli() >= 0 {
			return d.UnixMilli(), nil
		}
	}
	return 0, errors.New("no date")
}

func upTo(most int64) func(string) (int64, error) {
	return func(text string) (int64, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil && (n < 0 || n > most) {
			err = errors.New("out of range")
		}
		return n, err
	}
}
