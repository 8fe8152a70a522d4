// Package memory is a [reward.Store] and a [reward.Desk] that forget: for tests. All of it is one lock.
package memory

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millracehq/millrace/backend/reward"
)

// Store is a store in memory.
type Store struct {
	// Immutable after New.
	member func(team, user string) bool
	now    func() time.Time

	mu       sync.Mutex
	rules    *reward.Rules                          // Guarded by mu.
	facts    map[string]reward.Fact                 // Guarded by mu. By ID.
	units    map[string][]string                    // Guarded by mu. IDs by unit.
	days     map[reward.DayKey]*reward.DayState     // Guarded by mu.
	users    map[string]*reward.UserState           // Guarded by mu.
	scores   map[[3]string]reward.Entry             // Guarded by mu. By team, period and user.
	purses   map[string]reward.Purse                // Guarded by mu.
	redeemed map[[2]string]bool                     // Guarded by mu. By user and ID.
	boards   map[[2]string]map[string]reward.Leader // Guarded by mu. Leaderboards by team and period, as of the last refresh.
	asOf     time.Time                              // Guarded by mu.
}

// New is an empty Store. member says who belongs to a team; now is the clock, default [time.Now].
func New(rules *reward.Rules, member func(team, user string) bool, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{
		rules: rules, member: member, now: now,
		facts: make(map[string]reward.Fact), units: make(map[string][]string), days: make(map[reward.DayKey]*reward.DayState),
		users: make(map[string]*reward.UserState), scores: make(map[[3]string]reward.Entry), purses: make(map[string]reward.Purse),
		redeemed: make(map[[2]string]bool), boards: make(map[[2]string]map[string]reward.Leader),
	}
}

// Desk is what users ask for, with levels by these rules.
func (s *Store) Desk(rules *reward.Rules) reward.Desk {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = rules
	return s
}

// Close implements [reward.Store].
func (*Store) Close() error { return nil }

// Count implements [reward.Store].
func (s *Store) Count(_ context.Context, events []reward.Event) (reward.Counted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return reward.Count((*tx)(s), s.rules, events)
}

// Known implements [reward.Store].
func (s *Store) Known(_ context.Context, ids []string) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]bool, len(ids))
	for i, id := range ids {
		_, out[i] = s.facts[id]
	}
	return out, nil
}

// Rescore implements [reward.Store].
func (s *Store) Rescore(_ context.Context, rules *reward.Rules, dry bool) (reward.Rescored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, out := reward.Rescore(&reward.Everything{
		Facts: slices.Collect(maps.Values(s.facts)), Days: slices.Collect(maps.Values(s.days)), Users: slices.Collect(maps.Values(s.users)),
	}, rules)
	if dry {
		return out, nil
	}
	return out, (*tx)(s).Save(changes)
}

// tx is the store, with its lock held.
type tx Store

// Insert implements [reward.Tx].
func (t *tx) Insert(facts []reward.Fact, likely reward.Keys) (reward.Found, error) {
	fresh, units := make(map[string]bool), make(map[string]bool)
	for _, f := range facts {
		units[f.Unit] = true
		if _, ok := t.facts[f.ID]; ok {
			continue
		}
		fresh[f.ID] = true
		t.facts[f.ID] = f
		t.units[f.Unit] = append(t.units[f.Unit], f.ID)
	}
	var all []reward.Fact
	for unit := range units {
		for _, id := range t.units[unit] {
			all = append(all, t.facts[id])
		}
	}
	state, err := t.Load(likely)
	return reward.Found{Fresh: fresh, Units: all, State: state}, err
}

// Load implements [reward.Tx].
func (t *tx) Load(keys reward.Keys) (reward.State, error) {
	days, users := make(map[reward.DayKey]*reward.DayState), make(map[string]*reward.UserState)
	for _, k := range keys.Days {
		if d := t.days[k]; d != nil {
			days[k] = d.Clone()
		}
	}
	for _, name := range keys.Users {
		if u := t.users[name]; u != nil {
			users[name] = u.Clone()
		}
	}
	return reward.State{Days: days, Users: users}, nil
}

// Save implements [reward.Tx].
func (t *tx) Save(c *reward.Changes) error {
	for _, d := range c.Days {
		t.days[d.DayKey] = d
	}
	for _, u := range c.Users {
		t.users[u.User] = u
	}
	for _, score := range c.Scores {
		for _, period := range reward.Periods(score.Day) {
			k := [3]string{score.Team, period, score.User}
			e := t.scores[k]
			t.scores[k] = reward.Entry{User: score.User, XP: e.XP + score.XP, Reached: max(e.Reached, score.Reached)}
		}
	}
	return nil
}
