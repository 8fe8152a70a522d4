package reward

import (
	"cmp"
	"maps"
	"slices"
)

// Everything is all that a store has counted.
type Everything struct {
	Facts []Fact
	Days  []*DayState
	Users []*UserState
}

// Rescored is what other rules would change.
type Rescored struct {
	Rules string         `json:"rules"` // their version
	Facts int            `json:"facts"`
	Users int            `json:"users"`
	Diffs []RescoredUser `json:"diffs"` // users for whom it makes a difference, by name
}

// RescoredUser is what other rules change for a user.
type RescoredUser struct {
	User    string   `json:"user"`
	Old     XP       `json:"old"`
	New     XP       `json:"new"`
	Unlocks []Unlock `json:"unlocks,omitempty"` // what is unlocked stays so
}

// Rescore computes everything from the facts, and says what there is to write and for whom it makes a difference. Reached times stay.
func Rescore(all *Everything, rules *Rules) (*Changes, Rescored) {
	fresh := make(map[string]bool, len(all.Facts))
	for i := range all.Facts {
		fresh[all.Facts[i].ID] = true
	}
	d := newDiff(rules)
	d.compare(all.Facts, fresh)
	changes, _ := d.apply(State{})
	changes.Scores = nil

	out := Rescored{Rules: rules.Version, Facts: len(all.Facts)}
	scores := make(map[Score]XP)
	newDays := make(map[DayKey]*DayState, len(changes.Days))
	for _, day := range changes.Days {
		newDays[day.DayKey] = day
	}
	for _, old := range all.Days {
		k := old.DayKey
		day := newDays[k]
		if day == nil { // worth nothing now
			day = newDay(k)
			changes.Days = append(changes.Days, day)
		}
		rise(scores, k, old.Teams, day.Teams)
		delete(newDays, k)
	}
	for k, day := range newDays {
		rise(scores, k, nil, day.Teams)
	}
	slices.SortFunc(changes.Days, func(a, b *DayState) int { return compareDays(a.DayKey, b.DayKey) })
	d.reached = make(map[Score]int64)
	changes.Scores = d.scores(scores)

	users := make(map[string]*UserState)
	for _, u := range changes.Users {
		users[u.User] = u
	}
	old := make(map[string]*UserState)
	for _, o := range all.Users {
		old[o.User] = o
		if users[o.User] == nil {
			users[o.User] = NewUser(o.User)
			changes.Users = append(changes.Users, users[o.User])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u, o := users[name], cmp.Or(old[name], NewUser(name))
		diff := RescoredUser{User: name, Old: o.XP, New: u.XP}
		u.Told = max(u.Told, o.Told)
		u.Tiers = maps.Clone(o.Tiers)
		diff.Unlocks = u.unlock(rules)
		if diff.Old != diff.New || len(diff.Unlocks) > 0 {
			out.Diffs = append(out.Diffs, diff)
		}
	}
	out.Users = len(users)
	slices.SortFunc(changes.Users, func(a, b *UserState) int { return cmp.Compare(a.User, b.User) })
	return changes, out
}
