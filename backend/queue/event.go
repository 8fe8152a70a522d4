package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Name is the name of the queue: its streams are PREFIX:{P}:rw.
const Name = "rw"

// Event is something that happened and is to be counted once.
type Event struct {
	ID      string // one for one thing that happened, whoever says so and however often; see [BoardID]
	Kind    string // what
	User    string // whose it is to be counted
	Team    string // for which team, "" for none
	Subject string // what it was done to, "" for nothing in particular
	Whom    string // the other user that it concerns, "" for nobody
	At      int64  // unix ms when it happened
	Prio    int64  // of the card, 0 to 4
	Est     int64  // of the card
	Born    int64  // unix ms when the card was made; 0: not known

	// Of a retry.
	attempt int
	first   int64 // unix ms of the first attempt
}

// maxText is the most bytes of a text of an event.
const maxText = 512

// Fields that a retry adds.
const (
	fieldAttempt = "attempt"
	fieldFirst   = "first"
)

// ErrEvent is wrapped by what is wrong with an event.
var ErrEvent = errors.New("no event")

// Check says what is wrong with an event: nothing, for one that can be counted.
func (e *Event) Check() error {
	for _, f := range []struct {
		name, value string
		required    bool
	}{{"id", e.ID, true}, {"kind", e.Kind, true}, {"user", e.User, true}, {"team", e.Team, false}, {"subject", e.Subject, false}, {"whom", e.Whom, false}} {
		switch {
		case f.required && f.value == "":
			return fmt.Errorf("%w: %s is missing", ErrEvent, f.name)
		case len(f.value) > maxText:
			return fmt.Errorf("%w: %s has %d bytes, at most %d", ErrEvent, f.name, len(f.value), maxText)
		case !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Errorf("%w: %s is not UTF-8 without control characters", ErrEvent, f.name)
		}
	}
	if e.At <= 0 {
		return fmt.Errorf("%w: at is not a time in unix ms", ErrEvent)
	}
	return nil
}

// Fields are those of its entry, and their values.
func (e *Event) Fields() []string {
	out := []string{"id", e.ID, "kind", e.Kind, "user", e.User}
	for _, f := range [...][2]string{{"team", e.Team}, {"subject", e.Subject}, {"whom", e.Whom}} {
		if f[1] != "" {
			out = append(out, f[0], f[1])
		}
	}
	out = append(out, "at", strconv.FormatInt(e.At, 10))
	for _, f := range [...]struct {
		name  string
		value int64
	}{{"prio", e.Prio}, {"est", e.Est}, {"born", e.Born}, {fieldAttempt, int64(e.attempt)}, {fieldFirst, e.first}} {
		if f.value != 0 {
			out = append(out, f.name, strconv.FormatInt(f.value, 10))
		}
	}
	return out
}

// Decode reads an entry. Fields that it does not know are passed over. What is wrong is told together with as much of the
// event as could be read.
func Decode(fields []string) (e Event, err error) {
	if len(fields)%2 != 0 {
		return e, fmt.Errorf("%w: %d fields and values", ErrEvent, len(fields))
	}
	number := func(name, value string, to *int64) {
		n, parseErr := strconv.ParseInt(value, 10, 64)
		if parseErr != nil || n < 0 {
			err = fmt.Errorf("%w: %s %.40q is not a number from 0 on", ErrEvent, name, value)
		}
		*to = n
	}
	var attempt int64
	for i := 0; i < len(fields); i += 2 {
		switch name, value := fields[i], fields[i+1]; name {
		case "id":
			e.ID = value
		case "kind":
			e.Kind = value
		case "user":
			e.User = value
		case "team":
			e.Team = value
		case "subject":
			e.Subject = value
		case "whom":
			e.Whom = value
		case "at":
			number(name, value, &e.At)
		case "prio":
			number(name, value, &e.Prio)
		case "est":
			number(name, value, &e.Est)
		case "born":
			number(name, value, &e.Born)
		case fieldAttempt:
			number(name, value, &attempt)
		case fieldFirst:
			number(name, value, &e.first)
		}
	}
	e.attempt = int(attempt)
	if err != nil {
		return e, err
	}
	return e, e.Check()
}

// RetryFields are the fields that a retry adds, which a replay leaves out.
func RetryFields() []string { return []string{fieldAttempt, fieldFirst} }
