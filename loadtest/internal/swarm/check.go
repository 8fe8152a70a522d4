package swarm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check is a named expression on what happens to one client, as k6's checks are: COMPARISON && COMPARISON …, each FIELD OP NUMBER. All fields
// are of the same event.
type Check struct {
	Name      string
	Scenarios uint64 // bits of the loads it is about; 0: everything
	event     checkEvent
	terms     []term
}

type term struct {
	field int
	op    string
	bound float64
}

// checkEvent is what a check looks at.
type checkEvent uint8

const (
	eventMsg     checkEvent = iota // a delivery of the steady phase
	eventAck                       // the answer to a publication of the steady phase
	eventRes                       // the answer to a request
	eventConnect                   // the answer to a handshake
	eventSession                   // the end of a connection that had been made
	checkEvents
)

// fields of the events, in the order in which check gets them. Times are in milliseconds.
var checkFields = map[string]struct {
	event checkEvent
	index int
}{
	"msg.latency": {eventMsg, 0}, "msg.service": {eventMsg, 1}, "msg.size": {eventMsg, 2},
	"ack.duration": {eventAck, 0}, "ack.code": {eventAck, 1},
	"res.duration": {eventRes, 0}, "res.code": {eventRes, 1}, "res.size": {eventRes, 2},
	"connect.duration": {eventConnect, 0}, "connect.status": {eventConnect, 1},
	"session.duration": {eventSession, 0}, "session.code": {eventSession, 1},
}

// ParseCheck reads an expression.
func ParseCheck(name, expr string) (Check, error) {
	c := Check{Name: name, event: checkEvents}
	if name == "" || strings.ContainsAny(name, ",{}\n") {
		return c, fmt.Errorf("checks: %q is no name: it must not be empty, nor have a comma, a brace or a line end", name)
	}
	for part := range strings.SplitSeq(expr, "&&") {
		at := strings.IndexAny(part, "<>=!")
		if at < 0 {
			return c, fmt.Errorf("checks: %s: %q is no comparison: want FIELD OP NUMBER, such as msg.latency<50", name, part)
		}
		field, ok := checkFields[strings.TrimSpace(part[:at])]
		if !ok {
			return c, fmt.Errorf("checks: %s: there is no field %q; there are %s", name, strings.TrimSpace(part[:at]),
				strings.Join(slices.Sorted(maps.Keys(checkFields)), ", "))
		}
		if c.event != checkEvents && c.event != field.event {
			return c, fmt.Errorf("checks: %s: its fields are of different events", name)
		}
		c.event = field.event
		end := at + len(part[at:]) - len(strings.TrimLeft(part[at:], "<>=!"))
		t := term{field: field.index, op: part[at:end]}
		if !slices.Contains([]string{"<", "<=", ">", ">=", "==", "===", "!="}, t.op) {
			return c, fmt.Errorf("checks: %s: there is no comparison %q; there are < <= > >= == === !=", name, t.op)
		}
		var err error
		if t.bound, err = strconv.ParseFloat(strings.TrimSpace(part[end:]), 64); err != nil {
			return c, fmt.Errorf("checks: %s: %q is not a number", name, strings.TrimSpace(part[end:]))
		}
		c.terms = append(c.terms, t)
	}
	return c, nil
}

func (t term) holds(v float64) bool {
	switch t.op {
	case "<":
		return v < t.bound
	case "<=":
		return v <= t.bound
	case ">":
		return v > t.bound
	case ">=":
		return v >= t.bound
	case "!=":
		return v != t.bound
	}
	return v == t.bound
}

// check makes the checks of an event.
func (s *Swarm) check(event checkEvent, scenario uint64, a, b, c float64) {
	if len(s.checks[event]) == 0 {
		return
	}
	values := [...]float64{a, b, c}
	for i := range s.checks[event] {
		check := &s.checks[event][i]
		if check.Scenarios != 0 && check.Scenarios&scenario == 0 {
			continue
		}
		good := true
		for _, t := range check.terms {
			good = good && t.holds(values[t.field])
		}
		s.metrics.Checks.Add(check.Name, good)
	}
}

// checkSession makes the checks of the end of a connection; label is its close code.
func (s *Swarm) checkSession(i int32, label string) {
	code, _ := strconv.Atoi(label) // timeout and such are 0
	s.check(eventSession, s.scenarioOf(i), millis(s.loop.Clock()-s.clients[i].began), float64(code), 0)
}

func millis(nanos int64) float64 { return float64(nanos) / float64(time.Millisecond) }
