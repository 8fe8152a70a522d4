package board

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Names of operations.
const (
	OpPut          = "put"           // makes a row: Kind, ID, Values; Lane and the anchors for one that has a place
	OpSet          = "set"           // writes a register: Kind, ID, Group, Value
	OpMove         = "move"          // changes a place: Kind, ID, Lane, After, Before, Pos
	OpText         = "text"          // edits a card's body: ID, From (what the editor began with), Value
	OpMark         = "mark"          // adds to or removes from a set of a card: ID, Set, Element, Present
	OpLife         = "life"          // archives, deletes, restores: Kind, ID, Value
	OpColumnDelete = "column_delete" // deletes a column: ID, Into
)

// Op is one step of a mutation. Which fields it has depends on Op.
type Op struct {
	Op      string           `json:"op"`
	Kind    string           `json:"kind,omitempty"`
	ID      string           `json:"id"`
	Group   string           `json:"group,omitempty"`
	Value   *Value           `json:"value,omitempty"`
	Values  map[string]Value `json:"values,omitempty"`
	Lane    string           `json:"lane,omitempty"`
	After   string           `json:"after,omitempty"`  // the row behind which it goes
	Before  string           `json:"before,omitempty"` // the row in front of which it goes
	Pos     string           `json:"pos,omitempty"`    // where it goes if neither anchor is in the lane any more; default: the end
	From    string           `json:"from,omitempty"`
	Set     string           `json:"set,omitempty"`
	Element string           `json:"element,omitempty"`
	Present bool             `json:"present,omitempty"`
	Into    string           `json:"into,omitempty"`
}

// Key is the row that the operation is about.
func (o *Op) Key() Key {
	switch o.Op {
	case OpText:
		return Key{KindCard, o.ID}
	case OpColumnDelete:
		return Key{KindColumn, o.ID}
	case OpMark:
		return Key{KindMark, MarkID(o.ID, o.Set, o.Element)}
	default:
		return Key{o.Kind, o.ID}
	}
}

// Value is that of the operation; nothing if it has none. JSON's null is no value either.
func (o *Op) value() Value {
	if o.Value == nil {
		return Value{}
	}
	return *o.Value
}

// Mutation is what a client wants done to a board, together or not at all.
type Mutation struct {
	Client string `json:"client"`         // who sends it: random, made anew with each copy of a board
	N      int64  `json:"n"`              // counts a client's mutations to a board, from 1
	Schema int    `json:"schema"`         // of the operations: [Schema]
	Base   int64  `json:"base"`           // what of the board the client had seen: a sequence number
	TS     int64  `json:"ts"`             // when it was meant, by a clock that is never behind what its client has seen
	Undo   int64  `json:"undo,omitempty"` // the N that this takes back
	Ops    []Op   `json:"ops"`

	User string `json:"-"` // who is behind the client: said by the connection, never by the client

	fault *Rejection // found while decoding
}

// Codes of rejections, for programs; [Rejection.Text] is for people.
const (
	CodeMalformed = "malformed"        // the mutation is not what docs/BOARDS.md says
	CodeSchema    = "upgrade_required" // of a schema that this server no longer or not yet takes
	CodeBase      = "bad_base"         // claims to have seen what is yet to come
	CodeUnknown   = "unknown"          // a row that does not exist
	CodeGone      = "gone"             // a row that does not exist, perhaps since it was purged
	CodeExists    = "exists"           // a row of that ID is there
	CodeCycle     = "cycle"            // a card would be its own ancestor, a column its own redirect
	CodeTooDeep   = "too_deep"         // more than 32 generations
	CodeDenied    = "denied"           // no right to change this board
	CodeNoBoard   = "no_board"         // no such board, or not for this user: nothing is remembered of the mutation
	CodePosition  = "bad_position"     // no position, or over 48 bytes
	CodeTooLarge  = "too_large"        // too many operations, or too many bytes
)

// Rejection says why a mutation has no effect.
type Rejection struct{ Code, Text string }

func (r *Rejection) Error() string { return r.Code + ": " + r.Text }

func reject(code, format string, args ...any) *Rejection {
	return &Rejection{code, fmt.Sprintf(format, args...)}
}

// DecodeMutation reads a mutation from JSON. What is wrong with it becomes its result when it is applied, so that one that
// cannot be read does not hold up others: of that only Client and N are needed, and N is 0 if not even these can be read.
func DecodeMutation(data []byte) *Mutation {
	m := new(Mutation)
	fault := func(format string, args ...any) *Mutation {
		name := struct {
			Client string `json:"client"`
			N      int64  `json:"n"`
		}{}
		_ = json.Unmarshal(data, &name) // as far as it goes
		return &Mutation{Client: name.Client, N: name.N, fault: reject(CodeMalformed, format, args...)}
	}
	if !utf8.Valid(data) {
		return fault("not UTF-8")
	}
	if err := json.Unmarshal(data, m); err != nil {
		return fault("%v", err)
	}
	return m
}

// check is what can be said of a mutation without the board.
func (m *Mutation) check() *Rejection {
	switch {
	case !ValidID(m.Client):
		return reject(CodeMalformed, "client: %.80q is no ID", m.Client)
	case m.N < 1:
		return reject(CodeMalformed, "n: %d, they count from 1", m.N)
	case m.TS < 0 || m.TS > maxInteger || m.Base < 0:
		return reject(CodeMalformed, "ts or base is out of range")
	case len(m.Ops) == 0:
		return reject(CodeMalformed, "no operations")
	case len(m.Ops) > MaxOps:
		return reject(CodeTooLarge, "%d operations, at most %d: send several mutations", len(m.Ops), MaxOps)
	}
	for i := range m.Ops {
		if r := m.Ops[i].check(); r != nil {
			r.Text = fmt.Sprintf("operation %d (%.20s): %s", i+1, m.Ops[i].Op, r.Text)
			return r
		}
	}
	return nil
}

func (o *Op) check() *Rejection {
	if !ValidID(o.ID) {
		return reject(CodeMalformed, "id: %.80q is no ID: 1 to %d of A-Z a-z 0-9 _ -", o.ID, MaxID)
	}
	for _, id := range []string{o.Lane, o.After, o.Before, o.Into} {
		if id != "" && !ValidID(id) {
			return reject(CodeMalformed, "%.80q is no ID", id)
		}
	}
	if o.Pos != "" && !ValidPos(o.Pos) {
		return reject(CodePosition, "%.80q is no position of at most %d bytes", o.Pos, MaxPos)
	}
	switch o.Op {
	case OpPut:
		return o.checkPut()
	case OpSet:
		g, r := o.group(o.Group)
		if r != nil {
			return r
		}
		if g.rule != ruleRegister && g.rule != ruleParent {
			return reject(CodeMalformed, "%s of a %s cannot be set", o.Group, o.Kind)
		}
		return checkValue(o.Group, g, o.value())
	case OpMove:
		if LaneKind(o.Kind) == "" && o.Kind != KindColumn {
			return reject(CodeMalformed, "a %.20s has no place", o.Kind)
		}
		return o.checkLane()
	case OpText:
		if err := textUpTo(MaxText)(Text(o.From)); err != nil {
			return reject(CodeMalformed, "from: %v", err)
		}
		return checkValue(GroupBody, kinds[KindCard][GroupBody], o.value())
	case OpMark:
		return o.checkMark()
	case OpLife:
		if _, r := o.group(GroupLife); r != nil {
			return r
		}
		if v := o.value().Text(); v != Live && v != Archived && (v != Deleted || o.Kind == KindColumn) {
			return reject(CodeMalformed, "value: %s is not live, archived or deleted (a column is deleted by column_delete)", o.value())
		}
	case OpColumnDelete:
		if o.Into == "" {
			return reject(CodeMalformed, "into: say which column takes the cards")
		}
	default:
		return reject(CodeMalformed, "there is no such operation")
	}
	return nil
}

func (o *Op) checkPut() *Rejection {
	groups, ok := kinds[o.Kind]
	if !ok || o.Kind == KindMark {
		return reject(CodeMalformed, "kind: %.20q cannot be put", o.Kind)
	}
	for name, v := range o.Values {
		g, r := o.group(name)
		if r != nil {
			return r
		}
		if g.check == nil {
			return reject(CodeMalformed, "%s cannot be put as a value", name)
		}
		if r := checkValue(name, g, v); r != nil {
			return r
		}
	}
	for name, g := range groups {
		if _, ok := o.Values[name]; g.required && !ok {
			return reject(CodeMalformed, "%s is missing", name)
		}
	}
	return o.checkLane()
}

func (o *Op) checkLane() *Rejection {
	if inLane := LaneKind(o.Kind) != ""; inLane != (o.Lane != "") {
		return reject(CodeMalformed, "lane: %.80q: a card has its column there, an item its card, others nothing", o.Lane)
	}
	return nil
}

func (o *Op) checkMark() *Rejection {
	if !sets[o.Set] {
		return reject(CodeMalformed, "set: %.20q is not label, member or reaction", o.Set)
	}
	if o.Element == "" || len(o.Element) > maxUser || !utf8.ValidString(o.Element) || strings.ContainsFunc(o.Element, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return reject(CodeMalformed, "element: %.200q is not 1 to %d bytes without blanks", o.Element, maxUser)
	}
	return nil
}

func (o *Op) group(name string) (group, *Rejection) {
	groups, ok := kinds[o.Kind]
	if !ok {
		return group{}, reject(CodeMalformed, "kind: there is no %.20q", o.Kind)
	}
	g, ok := groups[name]
	if !ok {
		return group{}, reject(CodeMalformed, "group: a %s has no %.20q", o.Kind, name)
	}
	return g, nil
}

func checkValue(name string, g group, v Value) *Rejection {
	if err := g.check(v); err != nil {
		return reject(CodeMalformed, "%s: %v", name, err)
	}
	return nil
}
