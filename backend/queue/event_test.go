package queue

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/board"
)

func TestEventFields(t *testing.T) {
	full := entry{
		Event:   Event{ID: "i", Kind: "k", User: "u", Team: "t", Subject: "s", Whom: "w", At: 1.7e12, Prio: 4, Est: 1000, Born: 1.6e12},
		attempt: 2, first: 9,
	}
	for _, e := range []entry{full, {Event: Event{ID: "i", Kind: "k", User: "ü", At: 1.7e12}}} {
		got, err := decode(append(e.fields(), "new", "field"))
		if err != nil || got != e {
			t.Errorf("%+v, %v; want %+v", got, err, e)
		}
	}
	for want, change := range map[string]func(e *entry){
		"id is missing":     func(e *entry) { e.ID = "" },
		"kind is missing":   func(e *entry) { e.Kind = "" },
		"user is missing":   func(e *entry) { e.User = "" },
		"at is in the year": func(e *entry) { e.At = 0 },
		"513 bytes":         func(e *entry) { e.Team = strings.Repeat("x", 513) },
		"subject is not":    func(e *entry) { e.Subject = "\xff" },
		"whom is not UTF-8": func(e *entry) { e.Whom = "a\x00" },
	} {
		e := full
		change(&e)
		if _, err := decode(e.fields()); !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := decode([]string{"id"}); !errors.Is(err, ErrEvent) {
		t.Errorf("an odd number of fields and values: %v", err)
	}
	if _, err := decode(append(full.fields(), "prio", "-1")); !errors.Is(err, ErrEvent) {
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
		got, err := decode([]string{"user", "u", a, b, c, d, e, g})
		if err != nil {
			return
		}
		again, err := decode(got.fields())
		if err != nil || again != got {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
	})
}
