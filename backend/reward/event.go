package reward

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is something that happened and is to be counted once.
type Event struct {
	ID      string // one for one thing that happened, whoever says so and however often
	Kind    string // what: a kind of the rules; others are kept and are worth nothing
	User    string // who did it
	Team    string // for which team (a workspace), "" for none
	Subject string // what it was done to, "" for nothing in particular
	Whom    string // the other user that it concerns, "" for nobody
	At      int64  // unix ms when it happened
	Prio    int64  // of the card, 0 to 4
	Est     int64  // of the card, 0 to 1000
	Born    int64  // unix ms when the card was made; 0: not known
}

// MaxText is the most bytes of each text of an event.
const MaxText = 512

// Years in which something can have happened. A clock that is far off would make a day that nobody can ever reach.
const (
	minYear = 2000
	maxYear = 2200
)

// DataError says that an event cannot be counted, however often it is tried.
type DataError struct {
	Event string // its ID; "" if it is not known which one of the batch
	Err   error
}

func (e *DataError) Error() string {
	if e.Event == "" {
		return fmt.Sprintf("one of these events cannot be counted: %v", e.Err)
	}
	return fmt.Sprintf("event %.100q cannot be counted: %v", e.Event, e.Err)
}

func (e *DataError) Unwrap() error { return e.Err }

// Check says what is wrong with an event, or nothing.
func (e *Event) Check() error {
	for _, text := range []struct {
		name, value string
		must        bool
	}{{"id", e.ID, true}, {"kind", e.Kind, true}, {"user", e.User, true}, {"team", e.Team, false}, {"subject", e.Subject, false}, {"whom", e.Whom, false}} {
		switch {
		case text.value == "" && text.must:
			return errors.New(text.name + " is missing")
		case len(text.value) > MaxText:
			return fmt.Errorf("%s has %d bytes, at most %d", text.name, len(text.value), MaxText)
		case !utf8.ValidString(text.value) || strings.IndexByte(text.value, 0) >= 0:
			return errors.New(text.name + " is not UTF-8 without U+0000")
		}
	}
	if year := time.UnixMilli(e.At).UTC().Year(); year < minYear || year > maxYear {
		return fmt.Errorf("at is in the year %d: it is in unix ms", year)
	}
	if e.Prio < 0 || e.Prio > 4 {
		return fmt.Errorf("prio %d is not from 0 to 4", e.Prio)
	}
	if e.Est < 0 || e.Est > 1000 {
		return fmt.Errorf("est %d is not from 0 to 1000", e.Est)
	}
	if e.Born < 0 || e.Born > e.At+dayMS {
		return errors.New("born is not a time before at")
	}
	return nil
}

const dayMS = 24 * 60 * 60 * 1000

// Day counts days since 1970-01-01, in UTC.
type Day int64

// DayOf is the day of a time in unix ms.
func DayOf(ms int64) Day { return Day(ms / dayMS) }

// Time is its beginning.
func (d Day) Time() time.Time { return time.UnixMilli(int64(d) * dayMS).UTC() }

// Fact is an event as it is kept, with what follows from it alone.
type Fact struct {
	Event
	Unit  string // facts of one unit are looked at together
	Order int64  // place among the facts of its unit
}

// FactOf is the fact of an event.
func FactOf(e Event) Fact {
	f := Fact{Event: e, Unit: e.Subject, Order: e.At}
	if e.Subject == "" {
		f.Unit = "day:" + strconv.FormatInt(int64(DayOf(e.At)), 10) + ":" + e.User
	}
	if card, rest, ok := strings.Cut(f.Unit, "/reaction/"); ok { // CARD/reaction/USER/EMOJI: all reactions of one user to one card
		user, _, _ := strings.Cut(rest, "/")
		f.Unit = card + "/reaction/" + user
	}
	if seq, ok := boardSeq(e.ID); ok {
		f.Order = seq
	}
	return f
}

// boardSeq is the sequence number in the ID of a board's event, board:BOARD:SEQ:I. Clocks of backends differ; a board's numbers
// are in the order in which things happened.
func boardSeq(id string) (int64, bool) {
	parts := strings.Split(id, ":")
	if len(parts) != 4 || parts[0] != "board" {
		return 0, false
	}
	seq, err := strconv.ParseInt(parts[2], 10, 64)
	return seq, err == nil
}
