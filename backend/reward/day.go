package reward

import (
	"cmp"
	"encoding/json"
	"errors"
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

func (d *DayState) clone() *DayState {
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

// storedDay is what Encode writes: a column for each thing, since that is read several times as fast as rows.
type storedDay struct {
	Kinds  []string `json:"k"` // of items, in their order
	Teams  []string `json:"m"`
	Worth  []XP     `json:"x"`
	Counts []int64  `json:"n"`
	Sums   []string `json:"t"` // teams
	XP     []XP     `json:"w"` // what the items are worth, by these
}

// Encode is the day as text, for a store: items and teams in their order.
func (d *DayState) Encode() string {
	out := storedDay{[]string{}, []string{}, []XP{}, []int64{}, []string{}, []XP{}}
	for _, s := range d.sorted() {
		out.Kinds, out.Teams = append(out.Kinds, s.kind), append(out.Teams, s.team)
		out.Worth, out.Counts = append(out.Worth, s.xp), append(out.Counts, d.Items[s])
	}
	for _, team := range slices.Sorted(maps.Keys(d.Teams)) {
		out.Sums, out.XP = append(out.Sums, team), append(out.XP, d.Teams[team])
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(b)
}

// DecodeDay reads what Encode has written.
func DecodeDay(k DayKey, text string) (*DayState, error) {
	var in storedDay
	err := json.Unmarshal([]byte(text), &in)
	if n := len(in.Kinds); err == nil && (len(in.Teams) != n || len(in.Worth) != n || len(in.Counts) != n || len(in.XP) != len(in.Sums)) {
		err = errors.New("its columns are not of one length")
	}
	if err != nil {
		return nil, fmt.Errorf("reward: day %d of %q: %w", k.Day, k.User, err)
	}
	d := newDay(k)
	for i, kind := range in.Kinds {
		d.Items[slot{kind: kind, team: in.Teams[i], xp: in.Worth[i]}] = in.Counts[i]
	}
	for i, team := range in.Sums {
		d.Teams[team] = in.XP[i]
	}
	return d, nil
}
