// Package rewardtest is what every [reward.Store] must do: one suite, run on all of them.
package rewardtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/reward"
)

// Bed is an empty store.
type Bed struct {
	reward.Store
	Desk func(*reward.Rules) reward.Desk // what users ask for
	Join func(team, user string)         // makes somebody a member
	Hurt func(id string) (heal func())   // has the store refuse events with that ID by a constraint; nil: it cannot
}

// Open opens an empty store.
type Open func(t *testing.T, rules *reward.Rules) *Bed

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, f := range map[string]func(*testing.T, Open){
		"any order": testAnyOrder, "once": testOnce, "data": testData, "concurrent": testConcurrent, "rescore": testRescore, "leaders": testLeaders,
		"leaks": testLeaks, "purse": testPurse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open)
		})
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// testAnyOrder: whatever the order, repetition and batches of a few days' events, all is as the oracle says; and rescoring by the same
// rules finds nothing to change.
func testAnyOrder(t *testing.T, open Open) { AnyOrder(t, open, 2) }

// AnyOrder is that part of the suite, with so many sets of events.
func AnyOrder(t *testing.T, open Open, rounds int) {
	t.Helper()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		rules := TestRules(reward.DayOf(time.Now().UnixMilli()))
		events := randomEvents(r, 200)
		b := open(t, rules)
		unlocks := make(map[string]int)
		total := make(map[string]reward.XP)
		for _, batch := range shuffled(r, events) {
			c := must(b.Count(t.Context(), batch))
			for _, g := range c.Gains {
				total[g.User] += g.XP
				if g.Total != total[g.User] {
					t.Fatalf("%s was told of %s in all, and of %s", g.User, total[g.User], g.Total)
				}
				for _, u := range g.Unlocks {
					unlocks[fmt.Sprint(g.User, " ", u.Key, " ", u.Tier)]++
				}
			}
		}
		WantOracle(t, b, rules, events)
		for unlock, n := range unlocks {
			if n != 1 {
				t.Errorf("%s was unlocked %d times", unlock, n)
			}
		}
	}
}

// must is for what must go well.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// WantOracle wants accounts, scores and leaderboards as they come of events that happened.
func WantOracle(t *testing.T, b *Bed, rules *reward.Rules, events []reward.Event) {
	t.Helper()
	ctx := t.Context()
	o := newOracle(rules, events)
	desk := b.Desk(rules)
	worthless := 0
	for _, user := range users {
		a := must(desk.Account(ctx, user))
		if a.XP != o.xp[user] || len(a.Counters) != len(o.counts[user]) || !reflect.DeepEqual(a.Tiers, o.tiers(rules, user)) || a.Level != rules.Level(a.XP) {
			t.Fatalf("%s has %+v, want %s, %v, %v", user, a, o.xp[user], o.counts[user], o.tiers(rules, user))
		}
		for kind, n := range o.counts[user] {
			if a.Counters[kind] != n {
				t.Fatalf("%s has %d of %s, want %d", user, a.Counters[kind], kind, n)
			}
		}
		if a.XP == 0 {
			worthless++
		}
	}
	if worthless == len(users) {
		t.Fatal("nobody has anything: the test shows nothing")
	}
	if again := must(b.Rescore(ctx, rules, true)); len(again.Diffs) > 0 {
		t.Fatalf("rescoring by the same rules changes %+v", again.Diffs)
	}
	for _, team := range teams {
		for _, user := range users {
			b.Join(team, user)
		}
	}
	must(b.Refresh(ctx, time.Now().Add(time.Hour)))
	for _, team := range teams {
		l := must(desk.Leaders(ctx, "ann", reward.Query{Team: team, Period: reward.PeriodAll}))
		for _, period := range reward.Periods(reward.DayOf(l.AsOf.UnixMilli())) {
			l := must(desk.Leaders(ctx, "ann", reward.Query{Team: team, Period: period, Limit: 100}))
			if want := o.leaders(team, period); !reflect.DeepEqual(l.Top, want) {
				t.Fatalf("%s %s: %v, want %v", team, period, l.Top, want)
			}
		}
	}
}

func card(n int, user, kind string) reward.Event {
	now := time.Now().UnixMilli()
	return reward.Event{ID: fmt.Sprintf("board:red:%d:0", n), Kind: kind, User: user, Team: "red", Subject: "red/c", At: now, Born: now - 3_600_000}
}

// testOnce: an event counts once, and what is taken back is exactly what was given, whoever takes it back and even if that is known
// first.
func testOnce(t *testing.T, open Open) {
	rules := reward.BuiltIn()
	b, ctx := open(t, rules), t.Context()
	want := func(what string, points reward.XP, events ...reward.Event) reward.Counted {
		t.Helper()
		c := must(b.Count(ctx, events))
		if a := must(b.Desk(rules).Account(ctx, "ann")); a.XP != points*1000 {
			t.Errorf("%s: ann has %s, want %d", what, a.XP, points)
		}
		return c
	}
	done := card(1, "ann", "completed")
	if c := want("done", 20, done); c.Fresh != 1 || len(c.Gains) != 1 || c.Gains[0].XP != 20_000 || len(c.Gains[0].Unlocks) != 1 || c.Gains[0].Event != done.ID {
		t.Errorf("%+v", c)
	}
	if c := want("done, once more", 20, done, done); c.Fresh != 0 || c.Duplicates != 2 || len(c.Gains) != 0 {
		t.Errorf("%+v", c)
	}
	want("done a second time", 20, card(3, "ann", "completed"))
	want("which bob takes back", 0, card(4, "bob", "reopened"))
	want("and what was between", 0, card(2, "bob", "reopened"))
	late := card(6, "bob", "reopened")
	late.Subject = "red/d"
	want("taken back", 0, late)
	early := card(5, "ann", "completed")
	early.Subject = "red/d"
	want("before it was done", 0, early)
	again := card(7, "ann", "completed")
	again.Subject = "red/d"
	want("and done again", 20, again)
	if got := must(b.Known(ctx, []string{"board:red:1:0", "board:red:9:0"})); !reflect.DeepEqual(got, []bool{true, false}) {
		t.Errorf("known %v", got)
	}
}

func testData(t *testing.T, open Open) {
	b, ctx := open(t, reward.BuiltIn()), t.Context()
	for what, change := range map[string]func(*reward.Event){
		"no id": func(e *reward.Event) { e.ID = "" }, "no user": func(e *reward.Event) { e.User = "" }, "no kind": func(e *reward.Event) { e.Kind = "" },
		"U+0000": func(e *reward.Event) { e.Subject = "a\x00b" }, "not UTF-8": func(e *reward.Event) { e.Team = "\xff" },
		"too long": func(e *reward.Event) { e.Whom = strings.Repeat("x", reward.MaxText+1) }, "seconds": func(e *reward.Event) { e.At /= 1000 },
		"prio": func(e *reward.Event) { e.Prio = 5 }, "est": func(e *reward.Event) { e.Est = -1 }, "born": func(e *reward.Event) { e.Born = e.At * 2 },
	} {
		good, bad := card(1, "ann", "completed"), card(2, "ann", "created")
		change(&bad)
		_, err := b.Count(ctx, []reward.Event{good, bad})
		if e, ok := errors.AsType[*reward.DataError](err); !ok || e.Event != bad.ID {
			t.Errorf("%s: %v", what, err)
		}
	}
	if known := must(b.Known(ctx, []string{"board:red:1:0"})); known[0] {
		t.Error("part of a batch was counted")
	}
	long := card(1, "ann", "completed")
	long.Subject, long.User, long.Team, long.Whom = strings.Repeat("ü", 256), strings.Repeat("u", 512), strings.Repeat("'", 512), `"\{}%`
	if c := must(b.Count(ctx, []reward.Event{long})); c.Fresh != 1 {
		t.Errorf("%+v", c)
	}
	if b.Hurt == nil {
		return
	}
	heal := b.Hurt("board:red:7:0")
	_, err := b.Count(ctx, []reward.Event{card(6, "ann", "completed"), card(7, "ann", "created")})
	if _, ok := errors.AsType[*reward.DataError](err); !ok {
		t.Errorf("a constraint: %v", err)
	}
	heal()
	if c := must(b.Count(ctx, []reward.Event{card(6, "ann", "completed"), card(7, "ann", "created")})); c.Fresh != 2 {
		t.Errorf("healed: %+v", c)
	}
}

// testConcurrent: several count at the same time, all of them everything, in different orders.
func testConcurrent(t *testing.T, open Open) {
	rules := TestRules(reward.DayOf(time.Now().UnixMilli()))
	b := open(t, rules)
	events := randomEvents(rand.New(rand.NewPCG(5, 5)), 200)
	var wait sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for i := range uint64(4) {
		wait.Go(func() {
			for _, batch := range shuffled(rand.New(rand.NewPCG(i, 6)), events) {
				c, err := b.Count(t.Context(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fresh += c.Fresh
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if fresh != len(events) {
		t.Errorf("%d events were counted %d times", len(events), fresh)
	}
	WantOracle(t, b, rules, events)
}

func testRescore(t *testing.T, open Open) {
	rules := TestRules(reward.DayOf(time.Now().UnixMilli()))
	b, ctx := open(t, rules), t.Context()
	events := randomEvents(rand.New(rand.NewPCG(9, 9)), 150)
	must(b.Count(ctx, events))
	other := *rules
	other.Version = "other"
	other.Eras = other.Eras[:1]
	dry := must(b.Rescore(ctx, &other, true))
	if len(dry.Diffs) == 0 || dry.Facts != len(events) || dry.Rules != "other" {
		t.Fatalf("%+v", dry)
	}
	WantOracle(t, b, rules, events)
	if wet := must(b.Rescore(ctx, &other, false)); !reflect.DeepEqual(wet, dry) {
		t.Errorf("%+v, and dry %+v", wet, dry)
	}
	o := newOracle(&other, events)
	for _, user := range users {
		if a := must(b.Desk(&other).Account(ctx, user)); a.XP != o.xp[user] {
			t.Errorf("%s has %s, want %s", user, a.XP, o.xp[user])
		}
	}
	if again := must(b.Rescore(ctx, &other, false)); len(again.Diffs) != 0 {
		t.Errorf("again %+v", again)
	}
	must(b.Refresh(ctx, time.Now().Add(time.Hour)))
	for _, team := range teams {
		for period, want := range map[string][]reward.Leader{"all": o.leaders(team, "all")} {
			l := must(b.Desk(&other).Leaders(ctx, "ann", reward.Query{Team: team, Period: period, Limit: 100}))
			if !reflect.DeepEqual(l.Top, want) {
				t.Errorf("%s: %v, want %v", team, l.Top, want)
			}
		}
	}
}
