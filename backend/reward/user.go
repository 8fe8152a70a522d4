package reward

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// UserState is what counting knows of a user.
type UserState struct {
	User   string
	XP     XP    // all days, and the streaks
	Told   int64 // the highest level that the user ever had
	Runs   Runs  // active days
	Counts map[string]int64
	Tiers  map[string]int // unlocked, by achievement
}

// NewUser is a user who has done nothing.
func NewUser(name string) *UserState {
	return &UserState{User: name, Told: 1, Counts: make(map[string]int64), Tiers: make(map[string]int)}
}

// Clone is a copy that shares nothing with it.
func (u *UserState) Clone() *UserState {
	c := *u
	c.Runs, c.Counts, c.Tiers = slices.Clone(u.Runs), maps.Clone(u.Counts), maps.Clone(u.Tiers)
	return &c
}

// counter is the value of a counter.
func (u *UserState) counter(name string) (n int64) {
	switch name {
	case counterStreak:
		return u.Runs.Longest()
	case counterDays:
		for _, run := range u.Runs {
			n += int64(run[1]-run[0]) + 1
		}
		return n
	default:
		return u.Counts[name]
	}
}

// unlock notes tiers that are reached and not unlocked. A tier is reached in whatever order things came, since counters only
// grow.
func (u *UserState) unlock(rules *Rules) (out []Unlock) {
	for _, a := range rules.Achievements {
		for u.Tiers[a.Key] < len(a.Tiers) {
			for counter, n := range a.Tiers[u.Tiers[a.Key]] {
				if u.counter(counter) < n {
					goto next
				}
			}
			u.Tiers[a.Key]++
			out = append(out, Unlock{a.Key, a.Title, u.Tiers[a.Key]})
		}
	next:
	}
	return out
}

// Account is what the user is shown; what stores keep beside counting is theirs to fill in.
func (u *UserState) Account(rules *Rules) Account {
	level := rules.Level(u.XP)
	a := Account{
		User: u.User, XP: u.XP, Level: level, Next: rules.Starts(level + 1), Longest: u.Runs.Longest(), Counters: maps.Clone(u.Counts), Tiers: u.Tiers,
		Privacy: Public,
	}
	a.Streak, a.LastDay = u.Runs.Last()
	return a
}

// Encode is runs, counts and tiers as text, for a store.
func (u *UserState) Encode() string {
	b := appendNumber(nil, int64(len(u.Runs)))
	for _, run := range u.Runs {
		b = appendNumber(appendNumber(b, int64(run[0])), int64(run[1]))
	}
	b = appendCounts(b, u.Counts)
	return string(appendCounts(b, u.Tiers))
}

// DecodeUser reads what Encode has written.
func DecodeUser(name string, xp XP, told int64, text string) (*UserState, error) {
	u, f := NewUser(name), fields(text)
	u.XP, u.Told = xp, told
	err := f.list(func() error {
		first, err1 := f.number()
		last, err2 := f.number()
		u.Runs = append(u.Runs, [2]Day{Day(first), Day(last)})
		return cmp.Or(err1, err2)
	})
	err = cmp.Or(err, readCounts(&f, u.Counts), readCounts(&f, u.Tiers))
	if err != nil {
		return nil, fmt.Errorf("reward: user %q: %w", name, err)
	}
	return u, nil
}
