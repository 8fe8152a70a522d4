package rewardtest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/millracehq/millrace/backend/reward"
)

// oracle is the rules said once more, as simply as possible, over all events at once.
type oracle struct {
	xp     map[string]reward.XP // by user
	counts map[string]map[string]int64
	days   map[string]map[reward.Day]bool
	scores map[[3]string]reward.Entry // by team, period and user
}

func newOracle(rules *reward.Rules, given []reward.Event) *oracle {
	o := &oracle{
		xp: make(map[string]reward.XP), counts: make(map[string]map[string]int64), days: make(map[string]map[reward.Day]bool),
		scores: make(map[[3]string]reward.Entry),
	}
	var events []reward.Event
	seen := make(map[string]bool)
	for _, e := range given {
		if !seen[e.ID] {
			events = append(events, e)
		}
		seen[e.ID] = true
	}
	type group struct {
		unit, user, kind string
		day              reward.Day
	}
	best := make(map[group]*reward.Event)
	ever := make(map[group]bool)
	for i := range events {
		e := &events[i]
		user, xp := rules.Worth(e)
		if xp == 0 {
			continue
		}
		g := group{reward.FactOf(*e).Unit, user, e.Kind, reward.DayOf(e.At)}
		ever[g] = true
		if e.Team != "" {
			for _, p := range reward.Periods(g.day) {
				k := [3]string{e.Team, p, user}
				o.scores[k] = reward.Entry{User: user, XP: o.scores[k].XP, Reached: max(o.scores[k].Reached, e.At)}
			}
		}
		if live(rules, events, e) && (best[g] == nil || worth(rules, best[g]) < xp || worth(rules, best[g]) == xp && e.Team < best[g].Team) {
			best[g] = e
		}
	}
	for g := range ever {
		if o.counts[g.user] == nil {
			o.counts[g.user], o.days[g.user] = make(map[string]int64), make(map[reward.Day]bool)
		}
		o.counts[g.user][g.kind]++
		o.days[g.user][g.day] = true
	}
	byDay := make(map[reward.DayKey][]*reward.Event)
	for g, e := range best {
		k := reward.DayKey{User: g.user, Day: g.day}
		byDay[k] = append(byDay[k], e)
	}
	for k, list := range byDay {
		o.day(rules, k, list)
	}
	for user, days := range o.days {
		for d := range days {
			before := int64(0)
			for days[d-1-reward.Day(before)] {
				before++
			}
			era := rules.Era(d)
			o.xp[user] += era.StreakXP * reward.XP(min(before, era.StreakDays))
		}
	}
	return o
}

func worth(rules *reward.Rules, e *reward.Event) reward.XP {
	_, xp := rules.Worth(e)
	return xp
}

// live: what came last on the same subject, of what undoes and redoes this kind, decides.
func live(rules *reward.Rules, events []reward.Event, e *reward.Event) bool {
	last, on := order(e), true
	for i := range events {
		other := &events[i]
		k := rules.Era(reward.DayOf(other.At)).Kinds[other.Kind]
		undoes, redoes := slices.Contains(k.Undoes, e.Kind), slices.Contains(k.Redoes, e.Kind)
		if (undoes || redoes) && other.Subject == e.Subject && reward.FactOf(*other).Unit == reward.FactOf(*e).Unit && order(other) > last {
			last, on = order(other), redoes
		}
	}
	return on
}

func order(e *reward.Event) int64 {
	n, err := strconv.ParseInt(strings.Split(e.ID+":::", ":")[2], 10, 64)
	if err != nil {
		return e.At
	}
	return n
}

func (o *oracle) day(rules *reward.Rules, k reward.DayKey, list []*reward.Event) {
	slices.SortFunc(list, func(a, b *reward.Event) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(worth(rules, b), worth(rules, a)), cmp.Compare(a.Team, b.Team))
	})
	era := rules.Era(k.Day)
	ofKind, rank := make(map[string]reward.XP), make(map[string]int64)
	left := era.DayCap
	for _, e := range list {
		kind := era.Kinds[e.Kind]
		rank[e.Kind]++
		xp := worth(rules, e)
		if n := rank[e.Kind]; n > kind.Full {
			xp = xp * reward.XP(kind.Full) / reward.XP(n)
		}
		xp = min(xp, kind.Cap-ofKind[e.Kind])
		ofKind[e.Kind] += xp
		xp = min(xp, left)
		left -= xp
		o.xp[k.User] += xp
		if e.Team != "" {
			for _, p := range reward.Periods(k.Day) {
				s := [3]string{e.Team, p, k.User}
				o.scores[s] = reward.Entry{User: k.User, XP: o.scores[s].XP + xp, Reached: o.scores[s].Reached}
			}
		}
	}
}

// tiers are the achievements of a user.
func (o *oracle) tiers(rules *reward.Rules, user string) map[string]int {
	out := make(map[string]int)
	longest := int64(0)
	for d := range o.days[user] {
		n := int64(1)
		for o.days[user][d+reward.Day(n)] {
			n++
		}
		longest = max(longest, n)
	}
	for _, a := range rules.Achievements {
		for _, tier := range a.Tiers {
			for counter, n := range tier {
				has := o.counts[user][counter]
				switch counter {
				case "days":
					has = int64(len(o.days[user]))
				case "streak":
					has = longest
				}
				if has < n {
					goto next
				}
			}
			out[a.Key]++
		}
	next:
	}
	return out
}

// leaders is a leaderboard as everybody sees it.
func (o *oracle) leaders(team, period string) (out []reward.Leader) {
	var entries []reward.Entry
	for k, e := range o.scores {
		if k[0] == team && k[1] == period && e.XP > 0 {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b reward.Entry) int {
		switch {
		case a.XP != b.XP:
			return int(b.XP - a.XP)
		case a.Reached != b.Reached:
			return int(a.Reached - b.Reached)
		}
		return strings.Compare(a.User, b.User)
	})
	for i, e := range entries {
		out = append(out, reward.Leader{Rank: int64(i + 1), User: e.User, XP: e.XP})
	}
	return out
}
