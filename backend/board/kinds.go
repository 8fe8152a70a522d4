package board

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kinds of rows.
const (
	KindColumn  = "column"
	KindCard    = "card"
	KindItem    = "item"    // of a card's checklist
	KindComment = "comment" // on a card
	KindLabel   = "label"
	KindMark    = "mark" // an element of one of a card's sets: see [MarkID]
)

// Groups that have rules of their own.
const (
	GroupPlace   = "place"
	GroupLife    = "life"
	GroupBody    = "body"
	GroupParent  = "parent"
	GroupInto    = "into"    // of a deleted column: where its cards go
	GroupPresent = "present" // of a mark
	GroupCard    = "card"    // of a comment: what it is about
	GroupText    = "text"    // of a comment
)

// Values of [GroupLife].
const (
	Live     = "live"
	Archived = "archived"
	Deleted  = "deleted"
)

// Limits, in bytes but MaxOps and maxDepth.
const (
	MaxID     = 64
	MaxTitle  = 1000
	MaxText   = 20_000 // body of a card, comment
	MaxPos    = 48
	MaxOps    = 200 // of one mutation
	maxUser   = 128
	maxDepth  = 32 // of parents
	maxColumn = 64 // redirects that are followed
)

// rule says how a group is written.
type rule uint8

const (
	ruleRegister rule = iota // set: the later intent wins
	ruleText                 // text: three-way merge
	ruleParent               // set: in the order of arrival, without cycles
	ruleFixed                // put only
	rulePlace                // put, move
	ruleLife                 // put, life, column_delete
	ruleInto                 // column_delete
	ruleMark                 // mark
)

type group struct {
	rule     rule
	check    func(Value) error
	required bool // in a put
}

// kinds is the schema: the groups of each kind. Groups are only ever added.
var kinds = map[string]map[string]group{
	KindColumn: {
		"title": {check: textUpTo(MaxTitle), required: true}, "wip": {check: integerUpTo(10_000)},
		GroupPlace: {rule: rulePlace}, GroupLife: {rule: ruleLife}, GroupInto: {rule: ruleInto},
	},
	KindCard: {
		"title": {check: textUpTo(MaxTitle), required: true}, GroupBody: {rule: ruleText, check: textUpTo(MaxText)},
		"due": {check: integerUpTo(maxInteger)}, "prio": {check: integerUpTo(4)}, "est": {check: integerUpTo(1000)},
		"done": {check: truth}, GroupParent: {rule: ruleParent, check: idOrNull},
		GroupPlace: {rule: rulePlace}, GroupLife: {rule: ruleLife},
	},
	KindItem: {
		"title": {check: textUpTo(MaxTitle), required: true}, "done": {check: truth},
		GroupPlace: {rule: rulePlace}, GroupLife: {rule: ruleLife},
	},
	KindComment: {
		GroupText: {check: textUpTo(MaxText), required: true}, GroupCard: {rule: ruleFixed, check: idOrNull, required: true},
		GroupLife: {rule: ruleLife},
	},
	KindLabel: {
		"title": {check: textUpTo(MaxTitle), required: true}, "color": {check: textUpTo(MaxID)}, GroupLife: {rule: ruleLife},
	},
	KindMark: {GroupPresent: {rule: ruleMark, check: truth}},
}

// sets are those that a card has.
var sets = map[string]bool{"label": true, "member": true, "reaction": true}

// MarkID is the ID of a set's element: CARD/SET/ELEMENT. Reactions belong to a user each: their element is USER/EMOJI.
func MarkID(card, set, element string) string { return card + "/" + set + "/" + element }

// splitMark takes a mark's ID apart. The element of a reaction is without its user, whom the mutation says.
func splitMark(id string) (card, set, element string) {
	card, rest, _ := strings.Cut(id, "/")
	set, element, _ = strings.Cut(rest, "/")
	if set == "reaction" {
		element = element[strings.LastIndexByte(element, '/')+1:]
	}
	return card, set, element
}

// LaneKind is the kind of the rows that contain those of a kind, as lanes.
func LaneKind(kind string) string {
	switch kind {
	case KindCard:
		return KindColumn
	case KindItem:
		return KindCard
	default:
		return ""
	}
}

func textUpTo(limit int) func(Value) error {
	return func(v Value) error {
		switch {
		case v.kind != kindText:
			return fmt.Errorf("%s is not a text", v)
		case len(v.text) > limit:
			return fmt.Errorf("text of %d bytes, at most %d", len(v.text), limit)
		case !utf8.ValidString(v.text) || strings.IndexByte(v.text, 0) >= 0:
			return fmt.Errorf("text is not UTF-8 without U+0000")
		}
		return nil
	}
}

func integerUpTo(most int64) func(Value) error {
	return func(v Value) error {
		if v.IsNull() || v.kind == kindInteger && v.n >= 0 && v.n <= most {
			return nil
		}
		return fmt.Errorf("%s is neither null nor an integer from 0 to %d", v, most)
	}
}

func truth(v Value) error {
	if v.kind != kindBool {
		return fmt.Errorf("%s is neither true nor false", v)
	}
	return nil
}

func idOrNull(v Value) error {
	if v.IsNull() || v.kind == kindText && ValidID(v.text) {
		return nil
	}
	return fmt.Errorf("%s is neither null nor an ID", v)
}

// ValidID reports whether id can name a board, a client or a row that is no mark: 1 to 64 of A-Z a-z 0-9 _ -.
func ValidID(id string) bool {
	return id != "" && len(id) <= MaxID && strings.IndexFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
}
