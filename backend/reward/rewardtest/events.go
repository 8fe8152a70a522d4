package rewardtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millracehq/millrace/backend/reward"
)

// TestRules have caps and an end of an era that small tests reach.
func TestRules(today reward.Day) *reward.Rules {
	rules, err := reward.ParseRules(fmt.Appendf(nil, `
version: test
eras:
  - from: 1970-01-01
    day_cap: 60
    streak: {xp: 0.5, days: 3}
    prio: [1, 1, 1.2, 1.5, 2]
    est: 0.1
    kinds: &kinds
      completed: {xp: 7, weigh: true, min_age: 60, full: 2, cap: 30}
      created: {xp: 2, full: 2, cap: 5}
      commented: {xp: 3, full: 2, cap: 9}
      mentioned: {xp: 2, not_self: true, full: 2, cap: 5}
      reacted: {xp: 1, to: whom, not_self: true, full: 3, cap: 4}
      reviewed: {xp: 8, not_self: true, full: 10, cap: 160}
      login: {xp: 5, full: 1, cap: 5}
      reopened: {undoes: [completed]}
      deleted: {undoes: [created]}
      restored: {redoes: [created]}
      uncommented: {undoes: [commented, mentioned]}
      unreacted: {undoes: [reacted]}
  - from: %s
    day_cap: 35
    streak: {xp: 1.5, days: 2}
    prio: [1, 1, 1, 1, 3]
    est: 0
    kinds: *kinds
levels: {first: 20, step: 10}
achievements:
  - {key: finisher, title: Finisher, tiers: [{completed: 1}, {completed: 3}, {completed: 9}]}
  - {key: steady, title: Steady, tiers: [{streak: 2}, {streak: 3}]}
  - {key: all, title: All, tiers: [{completed: 1, commented: 2, days: 2}, {completed: 3, reacted: 2}]}
`, (today - 1).Time().Format(time.DateOnly)))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return rules
}

var (
	users = []string{"ann", "bob", "cid", "dan"}
	teams = []string{"red", "blue"}
)

// randomEvents are days of two teams: what boards tell, with all that is taken back and done again, and other applications.
func randomEvents(r *rand.Rand, n int) []reward.Event {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	now := time.Now().UnixMilli()
	at := now - 4*24*60*60*1000
	seq := make(map[string]int64)
	var out []reward.Event
	for len(out) < n {
		at += r.Int64N(2 * (now - at) / int64(n-len(out)+1))
		team := pick(teams...)
		seq[team]++
		card := fmt.Sprintf("%s/c%d", team, r.IntN(6))
		e := reward.Event{
			ID: fmt.Sprintf("board:%s:%d:0", team, seq[team]), User: pick(users...), Team: team, Subject: card, At: at, Prio: r.Int64N(5), Est: r.Int64N(20),
			Born: max(1, at-r.Int64N(1_000_000)),
		}
		switch e.Kind = pick("completed", "completed", "reopened", "created", "deleted", "restored", "commented", "uncommented", "mentioned", "reacted", "unreacted", "reviewed", "login", "login", "unknown"); e.Kind {
		case "commented", "uncommented", "mentioned":
			e.Subject = fmt.Sprintf("%s/k%d", team, r.IntN(6))
			e.Whom = pick(users...)
		case "reacted", "unreacted":
			e.Subject = card + "/reaction/" + e.User + "/" + pick("+1", "heart")
			e.Whom = pick(users...)
		case "reviewed", "login":
			e.ID = fmt.Sprintf("%s:%d", e.Kind, len(out))
			e.Subject, e.Team = "", pick("", team)
		}
		out = append(out, e)
	}
	return out
}

// shuffled is the events in another order, some of them several times, in batches.
func shuffled(r *rand.Rand, events []reward.Event) (batches [][]reward.Event) {
	all := slices.Clone(events)
	for range len(events) / 3 {
		all = append(all, events[r.IntN(len(events))])
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		n := 1 + r.IntN(min(len(all), 40))
		batches = append(batches, all[:n])
		all = all[n:]
	}
	return batches
}
