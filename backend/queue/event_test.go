package queue

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

func TestEventFields(t *testing.T) {
	full := Event{
		ID: "i", Kind: "k", User: "u", Team: "t", Subject: "s", Whom: "w", At: 5, Prio: 4, Est: 1000, Born: 3, attempt: 2, first: 9,
	}
	for _, e := range []Event{full, {ID: "i", Kind: "k", User: "ü", At: 1}} {
		got, err := Decode(append(e.Fields(), "new", "field"))
		if err != nil || got != e {
			t.Errorf("%+v, %v; want %+v", got, err, e)
		}
	}
	for want, change := range map[string]func(e *Event){
		"id is missing":     func(e *Event) { e.ID = "" },
		"kind is missing":   func(e *Event) { e.Kind = "" },
		"user is missing":   func(e *Event) { e.User = "" },
		"at is not a time":  func(e *Event) { e.At = 0 },
		"513 bytes":         func(e *Event) { e.Team = strings.Repeat("x", 513) },
		"subject is not":    func(e *Event) { e.Subject = "\xff" },
		"whom is not UTF-8": func(e *Event) { e.Whom = "a\x00" },
	} {
		e := full
		change(&e)
		if _, err := Decode(e.Fields()); !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Decode([]string{"id"}); !errors.Is(err, ErrEvent) {
		t.Errorf("an odd number of fields and values: %v", err)
	}
	if _, err := Decode(append(full.Fields(), "prio", "-1")); !errors.Is(err, ErrEvent) {
		t.Errorf("a negative number: %v", err)
	}
}

func TestBoardEvents(t *testing.T) {
	got := BoardEvents(&board.Record{Board: "b", Workspace: "w", Seq: 7, User: "ann", At: 5, Deeds: []board.Deed{
		{Kind: board.DeedCreated, ID: "c", Card: "c", Born: 4}, {Kind: board.DeedReacted, ID: "c/reaction/ann/+", Card: "c", Whom: "bob", Prio: 1, Est: 2},
	}})
	want := []Event{
		{ID: "board:b:7:0", Kind: "created", User: "ann", Team: "w", Subject: "b/c", At: 5, Born: 4},
		{ID: "board:b:7:1", Kind: "reacted", User: "ann", Team: "w", Subject: "b/c/reaction/ann/+", Whom: "bob", At: 5, Prio: 1, Est: 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// FuzzDecode: whatever is in an entry, it is an event that can be written and read, or an error.
func FuzzDecode(f *testing.F) {
	f.Add("id", "i", "kind", "k", "at", "1")
	f.Add("user", "\xff", "prio", "9999999999999999999", "", "")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		got, err := Decode([]string{"user", "u", a, b, c, d, e, g})
		if err != nil {
			return
		}
		again, err := Decode(got.Fields())
		if err != nil || again != got {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
	})
}
