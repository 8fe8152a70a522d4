package store

import (
	"strings"
	"time"
	"unicode"

	"github.com/millracehq/millrace/backend/board"
)

// Workspace is what boards belong to.
type Workspace struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role Role   `json:"role"` // of the user who asks
}

// Spot is a place in a list of conflicts, behind which it goes on. The zero Spot is before its beginning.
type Spot struct{ Seq, I int64 }

// Lost is a conflict with those who had it.
type Lost struct {
	board.Conflict
	At     time.Time `json:"at"`
	KeptBy string    `json:"kept_by"` // users
	LostBy string    `json:"lost_by"`
	Spot   Spot      `json:"-"` // where it stands in the list
}

// Query is what to search for.
type Query struct {
	Words     []string // as [Words] makes them: each must begin a word of the text, in any order. None: nothing is found
	Workspace string   // only there; "": everywhere
	Board     string   // only there
	After     *Hit     // go on behind this one; nil: from the beginning
	Limit     int      // of hits
}

// Hit is a card, an item of a checklist or a comment that has all words of a query.
type Hit struct {
	Board string `json:"board"`
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	Card  string `json:"card"` // the card itself, or that of an item or comment
	Text  string `json:"text"` // its title, or the beginning of a comment
	Life  string `json:"life"` // live or archived: what is deleted, or belongs to a deleted card, is not found
	TS    int64  `json:"ts"`   // when its texts were last meant, unix ms times 1000: hits come newest first
}

// MaxWords bounds the words of a query.
const MaxWords = 16

const (
	maxWord    = 100 // bytes
	maxExcerpt = 200 // bytes of a hit's text
)

// Words are those of a text that is searched for: letters and digits, in lower case, at most [MaxWords].
func Words(text string) (words []string) {
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		if len(w) <= maxWord && len(words) < MaxWords {
			words = append(words, w)
		}
	}
	return words
}

// textGroups are the registers that are searched.
func textGroups() []string { return []string{"title", board.GroupBody, "text"} }

// NewHit is the hit for a row.
func NewHit(id string, r *board.Row) Hit {
	h := Hit{Board: id, Kind: r.Kind, ID: r.ID, Card: r.ID, Life: r.Life()}
	switch r.Kind {
	case board.KindItem:
		p, _ := r.Place()
		h.Card = p.Lane
	case board.KindComment:
		h.Card = r.Regs[board.GroupCard].Value.Text()
	}
	for _, group := range textGroups() {
		reg, ok := r.Regs[group]
		if ok && group != board.GroupBody {
			h.Text = excerpt(reg.Value.Text())
		}
		h.TS = max(h.TS, reg.Stamp.TS)
	}
	return h
}

func excerpt(text string) string {
	if len(text) <= maxExcerpt {
		return text
	}
	return strings.ToValidUTF8(text[:maxExcerpt], "") + "…"
}

// Before reports whether a hit comes before another: newer ones do.
func (h *Hit) Before(o *Hit) bool {
	switch {
	case h.TS != o.TS:
		return h.TS > o.TS
	case h.Board != o.Board:
		return h.Board < o.Board
	case h.Kind != o.Kind:
		return h.Kind < o.Kind
	}
	return h.ID < o.ID
}

// Named is the text by which entries of the log that may be about a row are found: their mutations' JSON has it.
func Named(row board.Key) string { return `"` + row.ID + `"` }

// About reports whether a mutation is about a row: it made or changed it, or put something on it or into it (marks, items, comments; cards,
// of a column).
func About(m *board.Mutation, row board.Key) bool {
	for i := range m.Ops {
		o := &m.Ops[i]
		switch {
		case o.Key() == row, o.Op == board.OpMark && row == board.Key{Kind: board.KindCard, ID: o.ID}:
			return true
		case o.Op == board.OpColumnDelete && row == board.Key{Kind: board.KindColumn, ID: o.Into}:
			return true
		case o.Lane != "" && (o.Op == board.OpPut || o.Op == board.OpMove) && row == board.Key{Kind: board.LaneKind(o.Kind), ID: o.Lane}:
			return true
		case o.Kind == board.KindComment && o.Op == board.OpPut && row == board.Key{Kind: board.KindCard, ID: o.Values[board.GroupCard].Text()}:
			return true
		}
	}
	return false
}

// AboutRow takes from entries that may be about a row, newest first, those that are. next is the sequence number before which to go on, 0 when there
// were fewer than limit: that was all.
func AboutRow(may []Logged, row board.Key, limit int) (entries []Logged, next int64) {
	for _, e := range may {
		if About(e.Mutation, row) {
			entries = append(entries, e)
		}
	}
	if len(may) == limit {
		next = may[limit-1].Result.Seq
	}
	return entries, next
}
