package queue

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/millracehq/millrace/backend/reward"
)

// Name is the name of the queue: its streams are PREFIX:{P}:rw.
const Name = "rw"

// Event is what is counted.
type Event = reward.Event

// entry is an event as it is in the queue.
type entry struct {
	Event
	attempt int   // how often it was tried alone
	first   int64 // unix ms of the first of these attempts
}

// Fields that a retry adds.
const (
	fieldAttempt = "attempt"
	fieldFirst   = "first"
)

// RetryFields are the fields that a retry adds, which a replay leaves out.
func RetryFields() []string { return []string{fieldAttempt, fieldFirst} }

// ErrEvent is wrapped by what is wrong with an entry.
var ErrEvent = errors.New("no event")

// fields are those of the entry, and their values.
func (e *entry) fields() []string {
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

// decode reads an entry. Fields that it does not know are passed over. What is wrong is told together with as much of the
// event as could be read.
func decode(fields []string) (e entry, err error) {
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
	if err == nil {
		if err = e.Check(); err != nil {
			err = fmt.Errorf("%w: %w", ErrEvent, err)
		}
	}
	return e, err
}
