package memory

import (
	"context"
	"slices"
	"time"

	"github.com/millracehq/millrace/backend/reward"
)

// Account implements [reward.Desk].
func (s *Store) Account(_ context.Context, user string) (reward.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(user), nil
}

func (s *Store) account(user string) reward.Account {
	u, ok := s.users[user]
	if !ok {
		u = reward.NewUser(user)
	}
	a, p := u.Account(s.rules), s.purse(user)
	p.Fill(&a)
	return a
}

func (s *Store) purse(user string) reward.Purse {
	if p, ok := s.purses[user]; ok {
		return p
	}
	return reward.NewPurse()
}

// change changes a purse, if it is of that version.
func (s *Store) change(user string, version int64, f func(*reward.Account, *reward.Purse) error) (reward.Account, error) {
	a, p := s.account(user), s.purse(user)
	if p.Version != version {
		return reward.Account{}, &reward.VersionError{Current: a}
	}
	if err := f(&a, &p); err != nil {
		return reward.Account{}, err
	}
	p.Version++
	s.purses[user] = p
	return s.account(user), nil
}

// SetPrivacy implements [reward.Desk].
func (s *Store) SetPrivacy(_ context.Context, user string, privacy reward.Privacy, version int64) (reward.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(user, version, func(_ *reward.Account, p *reward.Purse) error {
		p.Privacy = privacy
		return nil
	})
}

// Redeem implements [reward.Desk].
func (s *Store) Redeem(_ context.Context, user string, r reward.Redemption, version int64) (reward.Account, error) {
	if err := r.Check(); err != nil {
		return reward.Account{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redeemed[[2]string{user, r.ID}] {
		return reward.Account{}, reward.ErrTaken
	}
	out, err := s.change(user, version, func(a *reward.Account, p *reward.Purse) error { return p.Redeem(a, r.Cost) })
	s.redeemed[[2]string{user, r.ID}] = err == nil
	return out, err
}

// Claim implements [reward.Desk].
func (s *Store) Claim(_ context.Context, user string, level, version int64) (reward.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(user, version, func(a *reward.Account, p *reward.Purse) error { return p.Claim(a, level) })
}

// Refresh implements [reward.Store].
func (s *Store) Refresh(_ context.Context, since time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asOf.Before(since) {
		return false, nil
	}
	s.asOf = s.now()
	periods := reward.Periods(reward.DayOf(s.asOf.UnixMilli()))
	sorted := make(map[[2]string][]reward.Entry)
	for k, e := range s.scores {
		team, period, user := k[0], k[1], k[2]
		if e.XP > 0 && slices.Contains(periods[:], period) && s.purse(user).Privacy != reward.Out && s.member(team, user) {
			sorted[[2]string{team, period}] = append(sorted[[2]string{team, period}], e)
		}
	}
	clear(s.boards)
	for board, entries := range sorted {
		slices.SortFunc(entries, reward.CompareEntries)
		s.boards[board] = make(map[string]reward.Leader)
		for i, e := range entries {
			s.boards[board][e.User] = reward.Leader{Rank: int64(i + 1), User: e.User, XP: e.XP}
		}
	}
	return true, nil
}

// Leaders implements [reward.Desk].
func (s *Store) Leaders(_ context.Context, user string, q reward.Query) (reward.Leaders, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.member(q.Team, user) {
		return reward.Leaders{}, reward.ErrNotFound
	}
	q = q.Bound()
	out := reward.Leaders{AsOf: s.asOf}
	var seen []reward.Leader
	for _, l := range s.boards[[2]string{q.Team, q.Period}] {
		if p := s.purse(l.User).Privacy; p == reward.Public || p == reward.Private && l.User == user {
			seen = append(seen, l)
		}
	}
	reward.SortLeaders(seen)
	if i := slices.IndexFunc(seen, func(l reward.Leader) bool { return l.User == user }); i >= 0 && q.Around > 0 {
		out.Around = slices.Clone(seen[max(0, i-q.Around):min(len(seen), i+q.Around+1)])
	}
	out.Top = seen[:min(len(seen), q.Limit)]
	return out, nil
}
