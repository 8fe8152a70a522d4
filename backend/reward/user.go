package reward

import (
	"encoding/json"
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

// stored is what Encode writes.
type stored struct {
	Runs   Runs             `json:"r,omitempty"`
	Counts map[string]int64 `json:"c,omitempty"`
	Tiers  map[string]int   `json:"t,omitempty"`
}

// Encode is runs, counts and tiers as text, for a store.
func (u *UserState) Encode() string {
	b, err := json.Marshal(stored{u.Runs, u.Counts, u.Tiers})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(b)
}

// DecodeUser reads what Encode has written.
func DecodeUser(name string, xp XP, told int64, text string) (*UserState, error) {
	var s stored
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("reward: user %q: %w", name, err)
	}
	u := NewUser(name)
	u.XP, u.Told, u.Runs = xp, told, s.Runs
	maps.Copy(u.Counts, s.Counts)
	maps.Copy(u.Tiers, s.Tiers)
	return u, nil
}
