package board

import (
	"slices"
	"strings"
)

// Kinds of deeds.
const (
	DeedCreated     = "created"     // a card was made
	DeedDeleted     = "deleted"     // a card was deleted
	DeedRestored    = "restored"    // a deleted card came back
	DeedCompleted   = "completed"   // a card is done now
	DeedReopened    = "reopened"    // it is not any more
	DeedCommented   = "commented"   // a comment was made
	DeedUncommented = "uncommented" // it was deleted
	DeedMentioned   = "mentioned"   // a new comment has @Whom
	DeedReacted     = "reacted"     // Whom's card got a reaction
	DeedUnreacted   = "unreacted"   // it was taken back
)

// maxMentions is how many users one comment can mention.
const maxMentions = 20

// Deed is something that a mutation has brought about and that others may count: who did how much. It has all that counting
// needs of the board as it was at that moment, so that it is the same whenever it is counted.
type Deed struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`             // of the card, comment or mark that it is about
	Card string `json:"card"`           // of the card that this belongs to
	Whom string `json:"whom,omitempty"` // the other user: who made the card, or is mentioned
	Prio int64  `json:"prio,omitempty"` // of the card
	Est  int64  `json:"est,omitempty"`  // of the card
	Born int64  `json:"born,omitempty"` // unix ms when the card was made
}

// Record is the deeds of one mutation.
type Record struct {
	Board     string
	Workspace string
	Seq       int64
	User      string
	At        int64 // unix ms
	Deeds     []Deed
}

// Deeds lists what a mutation has brought about; rows are those after it. Only what has changed counts: a card that was done
// is not completed again. userOf says who is behind a client. Who made a row is known by the register that was written first, as long as one is left that was
// written with the row.
func Deeds(rows Rows, o *Outcome, userOf func(client string) (string, error)) ([]Deed, error) {
	var out []Deed
	for i := range o.Changes {
		c := &o.Changes[i]
		kind := deedKind(c)
		if kind == "" {
			continue
		}
		d := Deed{Kind: kind, ID: c.Key.ID}
		row, err := rows.Row(c.Key)
		if err != nil {
			return nil, err
		}
		switch c.Key.Kind {
		case KindCard:
			d.Card = d.ID
		case KindComment:
			d.Card = row.Regs[GroupCard].Value.Text()
		default:
			d.Card, _, _ = splitMark(d.ID)
		}
		if err := d.describe(rows, userOf); err != nil {
			return nil, err
		}
		out = append(out, d)
		if kind == DeedCommented {
			for _, user := range mentions(row.Regs["text"].Value.Text()) {
				m := d
				m.Kind, m.Whom = DeedMentioned, user
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// deedKind is "" for a change that is none.
func deedKind(c *Change) string {
	fresh := c.Before.Seq == 0
	switch {
	case c.Key.Kind == KindCard && c.Group == "done" && c.Before.Value.Bool() != c.After.Value.Bool():
		return either(c.After.Value.Bool(), DeedCompleted, DeedReopened)
	case c.Key.Kind == KindCard && c.Group == GroupLife && fresh:
		return DeedCreated
	case c.Key.Kind == KindCard && c.Group == GroupLife && (c.Before.Value.Text() == Deleted) != (c.After.Value.Text() == Deleted):
		return either(c.After.Value.Text() == Deleted, DeedDeleted, DeedRestored)
	case c.Key.Kind == KindComment && c.Group == GroupLife && fresh:
		return DeedCommented
	case c.Key.Kind == KindComment && c.Group == GroupLife && c.Before.Value.Text() != Deleted && c.After.Value.Text() == Deleted:
		return DeedUncommented
	case c.Key.Kind == KindMark && c.Before.Value.Bool() != c.After.Value.Bool():
		if _, set, _ := splitMark(c.Key.ID); set == "reaction" {
			return either(c.After.Value.Bool(), DeedReacted, DeedUnreacted)
		}
	}
	return ""
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// describe adds what is to be said of the card.
func (d *Deed) describe(rows Rows, userOf func(client string) (string, error)) error {
	card, err := rows.Row(Key{KindCard, d.Card})
	if err != nil || card == nil {
		return err
	}
	d.Prio, d.Est = card.Regs["prio"].Value.Integer(), card.Regs["est"].Value.Integer()
	first := card.first()
	d.Born = first.Stamp.TS / 1000
	if d.Kind == DeedReacted || d.Kind == DeedUnreacted {
		d.Whom, err = userOf(first.Stamp.Client)
	}
	return err
}

// first is the register that was written first.
func (r *Row) first() (first Register) {
	for _, reg := range r.Regs {
		if first.Seq == 0 || reg.Seq < first.Seq || reg.Seq == first.Seq && reg.Stamp.Less(first.Stamp) {
			first = reg
		}
	}
	return first
}

// mentions are the users that a text names as @user, each once, in their order. A name begins a word, ends at a blank, and is
// without the punctuation that stands there.
func mentions(text string) (users []string) {
	for word := range strings.FieldsSeq(text) {
		name, ok := strings.CutPrefix(strings.TrimLeft(word, "([{<'\""), "@")
		name = strings.TrimRight(name, ".,;:!?)]}>'\"")
		if !ok || name == "" || len(name) > maxUser || slices.Contains(users, name) {
			continue
		}
		if users = append(users, name); len(users) == maxMentions {
			break
		}
	}
	return users
}
