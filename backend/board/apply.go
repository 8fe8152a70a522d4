package board

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// Rules decide where the merge has a choice. The zero value is the product's; a test of tests puts wrong ones in.
type Rules struct {
	Wins      func(incoming, stored Stamp) bool    // of two intents that knew nothing of each other; default: the later one
	Between   func(a, b string) (string, error)    // makes positions; default [Between]
	RekeyOver int                                  // bytes of a position at which its lane gets new ones; default 32
	Schema    int                                  // of the operations; default [Schema]
	Upgrade   map[int]func(m *Mutation) *Rejection // from a schema to the next, for those that are still taken
}

const defaultRekeyOver = 32

// Schema is the version of the operations that this package makes and takes.
const Schema = 1

// applier applies one mutation.
type applier struct {
	rules     Rules
	rows      *Buffer
	m         *Mutation
	gc        int64
	seq       int64
	stamp     Stamp
	out       Outcome
	touchedID map[string]bool // rows noted as hidden
}

// Apply merges a mutation into a board, whose lock the caller holds. now is the time in unix ms. What has changed is put into
// rows, and head goes on; when the mutation is rejected neither is touched, but the clock. An error is one of rows.
//
// Stamp: the intent's time is at most the board's clock, so nobody wins the future, and after all that its client says
// to have seen, so who overwrites knowingly always wins.
func (r Rules) Apply(rows *Buffer, head *Head, m *Mutation, now int64) (Outcome, error) {
	head.HLC = max(head.HLC+1, now*1000)
	a := &applier{
		rules: r, rows: NewBuffer(rows), m: m, gc: head.GC, seq: head.Seq + 1,
		stamp:     Stamp{min(m.TS, head.HLC), m.Client},
		touchedID: make(map[string]bool),
	}
	a.out.Result = Result{N: m.N, Seq: a.seq, Status: Committed}
	err := a.run(head.Seq)
	if rejection, ok := errors.AsType[*Rejection](err); ok {
		return Outcome{Result: Result{N: m.N, Status: Rejected, Code: rejection.Code, Text: rejection.Text}}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	for key, row := range a.rows.changed {
		before, err := rows.Row(key)
		if err != nil {
			return Outcome{}, err
		}
		if before != nil {
			head.Hash -= before.Hash()
		}
		head.Hash += row.Hash()
	}
	rows.take(a.rows)
	head.Seq = a.seq
	return a.out, nil
}

func (a *applier) run(seen int64) error {
	if a.m.fault != nil {
		return a.m.fault
	}
	if a.m.Base > seen {
		return reject(CodeBase, "base %d, the board is at %d", a.m.Base, seen)
	}
	if r := a.rules.upcast(a.m); r != nil {
		return r
	}
	if r := a.m.check(); r != nil {
		return r
	}
	for i := range a.m.Ops {
		if err := a.apply(&a.m.Ops[i]); err != nil {
			return err
		}
	}
	return nil
}

// upcast takes a mutation of an older schema up to the present one, step by step.
func (r Rules) upcast(m *Mutation) *Rejection {
	current := cmp.Or(r.Schema, Schema)
	for m.Schema < current {
		step := r.Upgrade[m.Schema]
		if step == nil {
			break
		}
		if rejection := step(m); rejection != nil {
			return rejection
		}
		m.Schema++
	}
	if m.Schema != current {
		return reject(CodeSchema, "schema %d, this server takes %d: load the program anew, what you did is kept", m.Schema, current)
	}
	return nil
}

func (a *applier) apply(o *Op) error {
	switch o.Op {
	case OpPut:
		return a.put(o)
	case OpMark:
		return a.mark(o)
	}
	row, err := a.existing(o.Key())
	if err != nil {
		return err
	}
	if row.Life() == Deleted && o.Op != OpLife && o.Op != OpColumnDelete {
		a.hidden(row.ID)
	}
	switch o.Op {
	case OpSet:
		if kinds[row.Kind][o.Group].rule == ruleParent {
			return a.setParent(row, o.value())
		}
		return a.set(row, o.Group, o.value())
	case OpText:
		return a.text(row, o.From, o.value().Text())
	case OpMove:
		return a.move(row, o)
	case OpLife:
		return a.life(row, o.value().Text())
	default:
		return a.deleteColumn(row, o.Into)
	}
}

func (a *applier) hidden(id string) {
	if !a.touchedID[id] {
		a.touchedID[id] = true
		a.out.Result.Hidden = append(a.out.Result.Hidden, id)
	}
}

// existing is a row that must be there.
func (a *applier) existing(k Key) (*Row, error) {
	row, err := a.rows.Row(k)
	switch {
	case err != nil:
		return nil, err
	case row != nil:
		return row, nil
	case a.m.Base < a.gc:
		return nil, reject(CodeGone, "%s was deleted long ago and is purged, or never was", k)
	default:
		return nil, reject(CodeUnknown, "there is no %s", k)
	}
}

// write sets a register.
func (a *applier) write(k Key, group string, reg Register) error {
	old, err := a.rows.Row(k)
	if err != nil {
		return err
	}
	row := &Row{Key: k, Regs: make(map[string]Register)}
	if old != nil {
		row = old.Clone()
	}
	a.out.Changes = append(a.out.Changes, Change{Key: k, Group: group, Before: row.Regs[group], After: reg})
	row.Seq = a.seq
	row.Regs[group] = reg
	delete(row.Without, group)
	a.rows.Put(row)
	return nil
}

// after is the mutation's stamp, or one later than stored: for who knew of that. What the same mutation has stored has its
// stamp already.
func (a *applier) after(stored Stamp) Stamp {
	if stored.Less(a.stamp) || stored == a.stamp {
		return a.stamp
	}
	return Stamp{stored.TS + 1, a.stamp.Client}
}

// concurrent reports whether the mutation knew nothing of the register's value.
func (a *applier) concurrent(stored Register) bool {
	return stored.Seq > a.m.Base && stored.Stamp.Client != a.m.Client
}

// contest decides whether the mutation may overwrite a register, and with which stamp. A value that loses without its
// author's knowledge is noted, unless quiet.
func (a *applier) contest(row *Row, group string, v Value, quiet bool) (Register, bool) {
	stored, ok := row.Regs[group]
	if !ok {
		return Register{v, a.stamp, a.seq}, true
	}
	if !a.concurrent(stored) {
		return Register{v, a.after(stored.Stamp), a.seq}, true
	}
	incoming := Register{v, a.stamp, a.seq}
	wins := a.rules.wins(incoming.Stamp, stored.Stamp)
	kept, lost := stored, incoming
	if wins {
		kept, lost = incoming, stored
	}
	if stored.Value != v && !quiet {
		a.conflict(row.Key, group, kept, lost)
	}
	if !wins {
		a.out.Result.worsen(Superseded)
	}
	return incoming, wins
}

func (r Rules) wins(incoming, stored Stamp) bool {
	if r.Wins != nil {
		return r.Wins(incoming, stored)
	}
	return stored.Less(incoming)
}

func (a *applier) conflict(k Key, group string, kept, lost Register) {
	a.out.Conflicts = append(a.out.Conflicts, Conflict{Seq: a.seq, Row: k, Group: group, Kept: kept, Lost: lost})
}

func (a *applier) set(row *Row, group string, v Value) error {
	reg, wins := a.contest(row, group, v, false)
	if !wins {
		return nil
	}
	return a.write(row.Key, group, reg)
}

// put makes a row. Its registers are written in the order of their names, so that everybody has the same changes.
func (a *applier) put(o *Op) error {
	k := o.Key()
	old, err := a.rows.Row(k)
	if err != nil {
		return err
	}
	if old != nil {
		return reject(CodeExists, "there is a %s already", k)
	}
	if about, ok := o.Values[GroupCard]; ok && o.Kind == KindComment {
		if err := a.onCard(about.Text()); err != nil {
			return err
		}
	}
	row := &Row{Key: k, Seq: a.seq, Regs: make(map[string]Register)}
	values := make(map[string]Value, len(o.Values)+2)
	maps.Copy(values, o.Values)
	values[GroupLife] = Text(Live)
	if _, placed := kinds[o.Kind][GroupPlace]; placed {
		lane, err := a.lane(o)
		if err != nil {
			return err
		}
		pos, err := a.position(lane, o)
		if err != nil {
			return err
		}
		values[GroupPlace] = At(lane, pos)
	}
	if parent := values[GroupParent]; !parent.IsNull() {
		if err := a.checkParent(o.ID, parent.Text()); err != nil {
			return err
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		reg := Register{values[name], a.stamp, a.seq}
		row.Regs[name] = reg
		a.out.Changes = append(a.out.Changes, Change{Key: k, Group: name, After: reg})
	}
	a.rows.Put(row)
	return a.rekeyIfLong(row)
}

// onCard checks that there is such a card, and notes if it is deleted.
func (a *applier) onCard(id string) error {
	card, err := a.existing(Key{KindCard, id})
	if err != nil {
		return err
	}
	if card.Life() == Deleted {
		a.hidden(card.ID)
	}
	return nil
}

// mark adds or removes an element of a set. Each element is a register of its own: nobody's addition is lost because
// somebody else removed another.
func (a *applier) mark(o *Op) error {
	if err := a.onCard(o.ID); err != nil {
		return err
	}
	if o.Set == "reaction" {
		o = &Op{Op: OpMark, ID: o.ID, Set: o.Set, Element: a.m.User + "/" + o.Element, Present: o.Present} // one's own
	}
	k := o.Key()
	row, err := a.rows.Row(k)
	if err != nil {
		return err
	}
	if row == nil {
		return a.write(k, GroupPresent, Register{Bool(o.Present), a.stamp, a.seq})
	}
	return a.set(row, GroupPresent, Bool(o.Present))
}

// text merges an edit of a card's body into what it has become meanwhile. That a register is stamped by the same client does not
// mean here that it knows the text: it may have been merged with somebody else's.
func (a *applier) text(row *Row, from, to string) error {
	stored, ok := row.Regs[GroupBody]
	if !ok || stored.Seq <= a.m.Base || stored.Value.Text() == from {
		return a.write(row.Key, GroupBody, Register{Text(to), a.after(stored.Stamp), a.seq})
	}
	mine, theirs := to, stored.Value.Text()
	wins := a.rules.wins(a.stamp, stored.Stamp)
	preferred, other := theirs, mine
	if wins {
		preferred, other = mine, theirs
	}
	merged, clean := mergeText(from, preferred, other)
	if len(merged) > MaxText {
		merged, clean = preferred, false
	}
	reg := Register{Text(merged), stored.Stamp, a.seq}
	if wins {
		reg.Stamp = a.stamp
	}
	a.out.Result.worsen(Merged)
	if !clean {
		kept, lost := stored, Register{Text(mine), a.stamp, a.seq}
		if wins {
			kept, lost = Register{Text(mine), a.stamp, a.seq}, stored
		} else {
			a.out.Result.worsen(Superseded)
		}
		a.conflict(row.Key, GroupBody, kept, lost)
	}
	if reg.Value == stored.Value && reg.Stamp == stored.Stamp {
		return nil
	}
	return a.write(row.Key, GroupBody, reg)
}

// life changes whether a row is live, archived or deleted. Among those who knew nothing of each other deletion stands, however
// late the others: what is deleted comes back only by somebody who saw that it was.
func (a *applier) life(row *Row, to string) error {
	stored := row.Regs[GroupLife]
	if !a.concurrent(stored) || stored.Value.Text() == to && to != Deleted {
		return a.write(row.Key, GroupLife, Register{Text(to), a.after(stored.Stamp), a.seq})
	}
	switch {
	case to == Deleted:
		reg := Register{Text(Deleted), a.after(stored.Stamp), a.seq}
		if stored.Value.Text() == Deleted {
			reg.Stamp.Client = "" // several deleted it: it is the deed of none that the same client could take back unseen
		} else {
			a.conflict(row.Key, GroupLife, reg, stored)
		}
		return a.write(row.Key, GroupLife, reg)
	case stored.Value.Text() == Deleted:
		a.out.Result.worsen(Superseded)
		a.hidden(row.ID)
		a.conflict(row.Key, GroupLife, stored, Register{Text(to), a.stamp, a.seq})
		return nil
	default:
		return a.set(row, GroupLife, Text(to))
	}
}

// setParent makes a card part of another. The order of arrival decides, under the lock: by the time of intents two moves
// that are each right could make a circle together.
func (a *applier) setParent(row *Row, parent Value) error {
	if !parent.IsNull() {
		if err := a.checkParent(row.ID, parent.Text()); err != nil {
			return err
		}
	}
	stored, ok := row.Regs[GroupParent]
	reg := Register{parent, a.after(stored.Stamp), a.seq}
	if ok && a.concurrent(stored) && stored.Value != parent {
		a.conflict(row.Key, GroupParent, reg, stored)
	}
	return a.write(row.Key, GroupParent, reg)
}

func (a *applier) checkParent(id, parent string) error {
	if _, err := a.existing(Key{KindCard, parent}); err != nil {
		return err
	}
	for depth := 0; parent != ""; depth++ {
		if parent == id {
			return reject(CodeCycle, "card %s would be part of itself", id)
		}
		if depth == maxDepth {
			return reject(CodeTooDeep, "card %s would be more than %d levels down", id, maxDepth)
		}
		row, err := a.rows.Row(Key{KindCard, parent})
		if err != nil {
			return err
		}
		if row == nil {
			return nil // a parent that was purged
		}
		parent = row.Regs[GroupParent].Value.Text()
	}
	return nil
}
