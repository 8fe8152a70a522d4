package reward

import (
	"cmp"
	"slices"
)

// item is one thing that a user has done and that is worth something.
type item struct {
	user string
	day  Day
	slot
}

// slot is what items of a day can have in common.
type slot struct {
	kind, team string
	xp         XP // before diminishing and caps
}

// mark is what counters count: that a user has done something of a kind on a day, to what the unit is about.
type mark struct {
	user, kind string
	day        Day
}

// worth is what the facts of a unit come to.
type worth struct {
	live map[mark]slot // what counts now, one for each user, kind and day
	ever map[mark]bool // what has ever counted: this only grows
}

// unit looks at the facts of one unit, in any order.
func (r *Rules) unit(facts []Fact) worth {
	facts = slices.Clone(facts)
	slices.SortFunc(facts, func(a, b Fact) int {
		// IDs of one mutation end with a number.
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	type candidate struct {
		item
		subject string
		on      bool
	}
	var all []candidate
	turn := func(subject string, kinds []string, on bool) {
		for i := range all {
			if all[i].subject == subject && slices.Contains(kinds, all[i].kind) {
				all[i].on = on
			}
		}
	}
	w := worth{live: make(map[mark]slot), ever: make(map[mark]bool)}
	for i := range facts {
		f := &facts[i]
		day := DayOf(f.At)
		if k := r.Era(day).Kinds[f.Kind]; len(k.Undoes)+len(k.Redoes) > 0 {
			turn(f.Subject, k.Undoes, false)
			turn(f.Subject, k.Redoes, true)
			continue
		}
		if user, xp := r.Worth(&f.Event); xp > 0 {
			all = append(all, candidate{item{user, day, slot{f.Kind, f.Team, xp}}, f.Subject, true})
		}
	}
	for _, c := range all {
		m := mark{c.user, c.kind, c.day}
		w.ever[m] = true
		if best, ok := w.live[m]; c.on && (!ok || c.xp > best.xp || c.xp == best.xp && c.team < best.team) {
			w.live[m] = c.slot
		}
	}
	return w
}
