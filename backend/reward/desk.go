package reward

import (
	"cmp"
	"slices"
)

// Purse is what an account has that counting does not touch. Its version guards what is read, decided upon and written.
type Purse struct {
	Spent   XP
	Claimed int64 // levels
	Privacy Privacy
	Version int64
}

// NewPurse is that of a user of whom nothing is known.
func NewPurse() Purse { return Purse{Claimed: 1, Privacy: Public} }

// Fill puts the purse into an account.
func (p *Purse) Fill(a *Account) {
	a.Spent, a.Claimed, a.Privacy, a.Version = p.Spent, p.Claimed, p.Privacy, p.Version
}

// Redeem spends points of an account, if there are as many.
func (p *Purse) Redeem(a *Account, cost XP) error {
	if a.XP-p.Spent < cost {
		return ErrPoor
	}
	p.Spent += cost
	return nil
}

// Claim takes what levels grant.
func (p *Purse) Claim(a *Account, level int64) error {
	switch {
	case level <= p.Claimed:
		return ErrTaken
	case level > a.Level:
		return ErrPoor
	}
	p.Claimed = level
	return nil
}

// Entry is a user's score as a leaderboard sorts it.
type Entry struct {
	User    string
	XP      XP
	Reached int64 // unix ms
}

// CompareEntries is the order of leaderboards.
func CompareEntries(a, b Entry) int {
	return cmp.Or(cmp.Compare(b.XP, a.XP), cmp.Compare(a.Reached, b.Reached), cmp.Compare(a.User, b.User))
}

// SortLeaders sorts what a store has found of a leaderboard by rank.
func SortLeaders(l []Leader) []Leader {
	slices.SortFunc(l, func(a, b Leader) int { return cmp.Compare(a.Rank, b.Rank) })
	return l
}

// Bound brings a query's numbers into their bounds.
func (q Query) Bound() Query {
	q.Limit, q.Around = min(max(q.Limit, 0), MaxLeaders), min(max(q.Around, 0), MaxLeaders)
	return q
}
