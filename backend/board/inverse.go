package board

import "slices"

// Inverse returns the operations that put back what changes changed, last one first. stands reports whether a register
// is still as the change left it; what somebody else has changed since is left alone and returned in left.
//
// A new row is deleted (a new column, which must not take cards with it, archived). Rows come back to the position that
// they had.
func Inverse(changes []Change, stands func(Key, string, Register) bool) (ops []Op, left []Change) {
	made := make(map[Key]bool) // rows that the changes made
	last := make(map[registerName]Register)
	for _, c := range changes {
		made[c.Key] = made[c.Key] || c.Group == GroupLife && c.Before == Register{}
		last[registerName{c.Key, c.Group}] = c.After
	}
	for _, c := range slices.Backward(changes) {
		if made[c.Key] && c.Group != GroupLife || c.Group == GroupInto {
			continue
		}
		if now := last[registerName{c.Key, c.Group}]; !stands(c.Key, c.Group, now) {
			left = append(left, c)
			continue
		}
		ops = append(ops, undoOp(c))
	}
	slices.SortStableFunc(ops, func(a, b Op) int { return rankUndo(a) - rankUndo(b) })
	return ops, left
}

// rankUndo has columns come back before the cards that return to them.
func rankUndo(o Op) int {
	if o.Op == OpLife && o.Kind == KindColumn {
		return 0
	}
	return 1
}

type registerName struct {
	Key
	group string
}

func undoOp(c Change) Op {
	before := c.Before.Value
	switch c.Group {
	case GroupPlace:
		p, _ := before.Place()
		return Op{Op: OpMove, Kind: c.Key.Kind, ID: c.Key.ID, Lane: p.Lane, Pos: p.Pos}
	case GroupBody:
		to := Text(before.Text())
		return Op{Op: OpText, ID: c.Key.ID, From: c.After.Value.Text(), Value: &to}
	case GroupPresent:
		card, set, element := splitMark(c.Key.ID)
		return Op{Op: OpMark, ID: card, Set: set, Element: element, Present: before.Bool()}
	case GroupLife:
		switch {
		case !before.IsNull():
		case c.Key.Kind == KindColumn:
			before = Text(Archived)
		default:
			before = Text(Deleted)
		}
		return Op{Op: OpLife, Kind: c.Key.Kind, ID: c.Key.ID, Value: &before}
	default:
		if c.After.Value.kind == kindBool {
			before = Bool(before.Bool()) // a truth that was never set
		}
		return Op{Op: OpSet, Kind: c.Key.Kind, ID: c.Key.ID, Group: c.Group, Value: &before}
	}
}
