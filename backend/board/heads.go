package board

import (
	"iter"
	"maps"
)

// Heads are rows without their bodies: the texts of cards and comments, which only an opened card shows. A copy of a board may begin with
// heads and get the bodies when they are needed. Which value a row lacks is known by the mutation that wrote it, so a body that comes late,
// early or twice cannot be taken for another one.

// MaxBodies is the most rows whose bodies one request asks for.
const MaxBodies = 500

// Bodies is the answer to who asks for what heads leave out.
type Bodies struct {
	Board   string `json:"board"`
	To      int64  `json:"to"`                // where the board was when they were read
	More    bool   `json:"more,omitempty"`    // not all that were asked for: ask for the others again
	Rows    []*Row `json:"rows"`              // of each what heads leave out, and no other register
	Unknown []Key  `json:"unknown,omitempty"` // what is not on the board, or no more
}

// BodyGroup is the register of rows of a kind that heads leave out; "" if they are sent whole.
func BodyGroup(kind string) string {
	switch kind {
	case KindCard:
		return GroupBody
	case KindComment:
		return GroupText
	default:
		return ""
	}
}

// Head is the row without its body, as a copy; the row itself if it has none.
func (r *Row) Head() *Row {
	group := BodyGroup(r.Kind)
	body, ok := r.Regs[group]
	if !ok {
		return r
	}
	h := r.Clone()
	delete(h.Regs, group)
	h.leaveOut(group, body.Seq)
	return h
}

// Body is what [Row.Head] leaves out.
func (r *Row) Body() *Row {
	b := &Row{Key: r.Key, Seq: r.Seq, Regs: make(map[string]Register)}
	group := BodyGroup(r.Kind)
	if body, ok := r.Regs[group]; ok {
		b.Regs[group] = body
	}
	return b
}

// Lacks reports whether the row has a register that is not here.
func (r *Row) Lacks(group string) bool {
	_, ok := r.Without[group]
	return ok
}

func (r *Row) leaveOut(group string, seq int64) {
	delete(r.Regs, group)
	if r.Without == nil {
		r.Without = make(map[string]int64)
	}
	r.Without[group] = seq
}

// Patched is the row with the registers that a delta has of it. What the delta leaves out stays if it is here as it was last written.
func (r *Row) Patched(patch *Row) *Row {
	p := &Row{Key: patch.Key, Seq: patch.Seq, Regs: make(map[string]Register, max(len(r.Regs), len(patch.Regs))), Without: maps.Clone(r.Without)}
	maps.Copy(p.Regs, r.Regs)
	for group, reg := range patch.Regs {
		p.Regs[group] = reg
		delete(p.Without, group)
	}
	for group, seq := range patch.Without {
		if have, ok := p.Regs[group]; !ok || have.Seq != seq {
			p.leaveOut(group, seq)
		}
	}
	return p
}

// Filled is the row with those registers of a body that it lacks. A value that an earlier or later mutation wrote is not taken.
func (r *Row) Filled(body *Row) *Row {
	f := r.Clone()
	for group, reg := range body.Regs {
		if seq, lacks := r.Without[group]; lacks && seq == reg.Seq {
			f.Regs[group] = reg
			delete(f.Without, group)
		}
	}
	return f
}

// Missing is how many rows lack their bodies.
func (t *Table) Missing() int { return len(t.missing) }

// MissingKeys are the rows that lack their bodies, in no order.
func (t *Table) MissingKeys() iter.Seq[Key] { return maps.Keys(t.missing) }

// Lacks reports whether a row is there and lacks its body.
func (t *Table) Lacks(k Key) bool {
	_, ok := t.missing[k]
	return ok
}
