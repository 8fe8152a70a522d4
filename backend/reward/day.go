package reward

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// DayKey names a day of a user.
type DayKey struct {
	User string
	Day  Day
}

// DayState is what a user did on a day, and what it is worth.
type DayState struct {
	DayKey
	Items map[slot]int64 // how many of each
	Teams map[string]XP  // what they are worth, by team
}

func newDay(k DayKey) *DayState {
	return &DayState{DayKey: k, Items: make(map[slot]int64), Teams: make(map[string]XP)}
}

// Clone is a copy that shares nothing with it.
func (d *DayState) Clone() *DayState {
	return &DayState{DayKey: d.DayKey, Items: maps.Clone(d.Items), Teams: maps.Clone(d.Teams)}
}

// XP is what the day is worth.
func (d *DayState) XP() (sum XP) {
	for _, xp := range d.Teams {
		sum += xp
	}
	return sum
}

// add adds items, or takes some away.
func (d *DayState) add(s slot, n int64) {
	if d.Items[s] += n; d.Items[s] == 0 {
		delete(d.Items, s)
	}
}

// sorted is the order in which items are looked at: it must not depend on how they came.
func (d *DayState) sorted() []slot {
	return slices.SortedFunc(maps.Keys(d.Items), func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(b.xp, a.xp), cmp.Compare(a.team, b.team))
	})
}

// score computes what the items are worth together: the best ones of a kind in full, each one after them less, up to the cap of
// the kind and that of the day.
func (d *DayState) score(era *Era) {
	d.Teams = make(map[string]XP)
	var total, ofKind XP
	var rank int64
	kind := ""
	for _, s := range d.sorted() {
		if s.kind != kind {
			kind, rank, ofKind = s.kind, 0, 0
		}
		k := era.Kinds[kind]
		for range d.Items[s] {
			rank++
			xp := s.xp
			if rank > k.Full {
				xp = xp * XP(k.Full) / XP(rank)
			}
			xp = min(xp, k.Cap-ofKind)
			ofKind += xp
			xp = min(xp, era.DayCap-total)
			if xp <= 0 {
				break // and no later one of these is worth more
			}
			total += xp
			d.Teams[s.team] += xp
		}
	}
}

// Encode is the day as text, for a store: items and teams in their order.
func (d *DayState) Encode() string {
	b := appendNumber(nil, int64(len(d.Items)))
	for _, s := range d.sorted() {
		b = appendText(appendText(b, s.kind), s.team)
		b = appendNumber(appendNumber(b, int64(s.xp)), d.Items[s])
	}
	return string(appendCounts(b, d.Teams))
}

// DecodeDay reads what Encode has written.
func DecodeDay(k DayKey, text string) (*DayState, error) {
	d, f := newDay(k), fields(text)
	err := f.list(func() error {
		kind, err1 := f.text()
		team, err2 := f.text()
		xp, err3 := f.number()
		n, err4 := f.number()
		d.Items[slot{kind: kind, team: team, xp: XP(xp)}] = n
		return cmp.Or(err1, err2, err3, err4)
	})
	if err = cmp.Or(err, readCounts(&f, d.Teams)); err != nil {
		return nil, fmt.Errorf("reward: day %d of %q: %w", k.Day, k.User, err)
	}
	return d, nil
}
