package rewardtest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/reward"
)

// race is a team of n users u00, u01, … with falling scores.
func race(t *testing.T, b *Bed, team string, n int) {
	t.Helper()
	var events []reward.Event
	now := time.Now().UnixMilli()
	for i := range n {
		user := fmt.Sprintf("u%02d", i)
		b.Join(team, user)
		for j := range n - i {
			subject := fmt.Sprintf("%s/%d-%d", team, i, j)
			events = append(events, reward.Event{ID: "x:" + subject, Kind: "reviewed", User: user, Team: team, Subject: subject, At: now})
		}
	}
	_, err := b.Count(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
}

func names(l []reward.Leader) string {
	var out []string
	for _, one := range l {
		out = append(out, fmt.Sprintf("%d %s", one.Rank, one.User))
	}
	return strings.Join(out, ", ")
}

func testLeaders(t *testing.T, open Open) {
	rules := reward.BuiltIn()
	b, ctx := open(t, rules), t.Context()
	race(t, b, "red", 6)
	desk := b.Desk(rules)
	refresh := func() {
		t.Helper()
		if did, err := b.Refresh(ctx, time.Now().Add(time.Hour)); err != nil || !did {
			t.Fatal(did, err)
		}
	}
	want := func(user string, q reward.Query, top, around string) {
		t.Helper()
		q.Team, q.Period = "red", "all"
		l, err := desk.Leaders(ctx, user, q)
		if err != nil || names(l.Top) != top || names(l.Around) != around {
			t.Errorf("%s, %+v: %s; %s; %v; want %s; %s", user, q, names(l.Top), names(l.Around), err, top, around)
		}
	}
	want("u01", reward.Query{Limit: 3}, "", "") // before the first refresh
	refresh()
	if did, err := b.Refresh(ctx, time.Now().Add(-time.Minute)); err != nil || did {
		t.Errorf("refreshed twice in a minute: %v, %v", did, err)
	}
	want("u01", reward.Query{Limit: 3}, "1 u00, 2 u01, 3 u02", "")
	want("u05", reward.Query{Around: 1}, "", "5 u04, 6 u05")
	want("u02", reward.Query{Limit: 1, Around: 1}, "1 u00", "2 u01, 3 u02, 4 u03")
	want("u00", reward.Query{Limit: -1, Around: 1000}, "", "1 u00, 2 u01, 3 u02, 4 u03, 5 u04, 6 u05")

	for user, p := range map[string]reward.Privacy{"u01": reward.Private, "u02": reward.Out} {
		if _, err := desk.SetPrivacy(ctx, user, p, 0); err != nil {
			t.Fatal(err)
		}
	}
	// It holds at once; ranks are those of the last refresh.
	want("u00", reward.Query{Limit: 3}, "1 u00, 4 u03, 5 u04", "")
	want("u01", reward.Query{Limit: 3}, "1 u00, 2 u01, 4 u03", "")
	want("u02", reward.Query{Limit: 2, Around: 2}, "1 u00, 4 u03", "")
	want("u03", reward.Query{Around: 2}, "", "1 u00, 4 u03, 5 u04, 6 u05")
	refresh()
	want("u03", reward.Query{Around: 2}, "", "1 u00, 3 u03, 4 u04, 5 u05")
	want("u01", reward.Query{Around: 1}, "", "1 u00, 2 u01, 3 u03")

	l, err := desk.Leaders(ctx, "u00", reward.Query{Team: "red", Period: "all"})
	if age := time.Since(l.AsOf); err != nil || age < -time.Minute || age > time.Hour {
		t.Errorf("as of %v, %v", l.AsOf, err)
	}
	if l, err := desk.Leaders(ctx, "u00", reward.Query{Team: "red", Period: "1999-01", Limit: 10}); err != nil || len(l.Top) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// testLeaks: nobody sees anything of a team that they are not in.
func testLeaks(t *testing.T, open Open) {
	rules := reward.BuiltIn()
	b, ctx := open(t, rules), t.Context()
	race(t, b, "red", 3)
	race(t, b, "blue", 2)
	b.Join("green", "eve")
	if _, err := b.Refresh(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	desk := b.Desk(rules)
	for _, period := range reward.Periods(reward.DayOf(time.Now().UnixMilli())) {
		for user, sees := range map[string]map[string]string{
			"u02": {"red": "1 u00, 2 u01, 3 u02"}, "u01": {"red": "1 u00, 2 u01, 3 u02", "blue": "1 u00, 2 u01"}, "eve": {"green": ""}, "mallory": nil, "": nil,
		} {
			for _, team := range []string{"red", "blue", "green", "none", ""} {
				l, err := desk.Leaders(ctx, user, reward.Query{Team: team, Period: period, Limit: 100, Around: 100})
				want, member := sees[team]
				switch {
				case !member && (!errors.Is(err, reward.ErrNotFound) || !reflect.DeepEqual(l, reward.Leaders{})):
					t.Errorf("%q sees of %q: %+v, %v", user, team, l, err)
				case member && (err != nil || names(l.Top) != want):
					t.Errorf("%q sees of %q: %+v, %v", user, team, l, err)
				}
			}
		}
	}
	if a, err := desk.Account(ctx, "mallory"); err != nil || a.XP != 0 || a.Level != 1 || a.User != "mallory" {
		t.Errorf("%+v, %v", a, err)
	}
}

// testPurse: what is read, decided upon and written is guarded by a version; counting does not disturb it.
func testPurse(t *testing.T, open Open) {
	rules := reward.BuiltIn()
	b, ctx := open(t, rules), t.Context()
	race(t, b, "red", 15) // u00 has 10*8 in full and 5 less; over 100
	desk := b.Desk(rules)
	a, err := desk.Account(ctx, "u00")
	if err != nil || a.Level != 2 || a.Version != 0 || a.Claimed != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	_, err = desk.Redeem(ctx, "u00", reward.Redemption{ID: "r0", Item: "mug", Cost: a.XP + 1}, 0)
	wantErr(t, "too dear", err, reward.ErrPoor)
	var wait sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i := range 4 { // all decide on what they have seen at the same time
		wait.Go(func() {
			_, err := desk.Redeem(ctx, "u00", reward.Redemption{ID: fmt.Sprint("r", i+1), Item: "mug", Cost: a.XP / 2}, 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done++
			} else if e, ok := errors.AsType[*reward.VersionError](err); !ok || e.Current.Version != 1 || e.Current.Spent != a.XP/2 {
				t.Errorf("redeem: %v", err)
			}
		})
	}
	wait.Wait()
	if done != 1 {
		t.Errorf("%d of 4 have redeemed at once", done)
	}
	race(t, b, "blue", 1)
	b2, err := desk.Redeem(ctx, "u00", reward.Redemption{ID: "again", Item: "mug", Cost: 1000}, 1)
	if err != nil || b2.Version != 2 || b2.Spent != a.XP/2+1000 || b2.XP < a.XP {
		t.Errorf("%+v, %v", b2, err)
	}
	_, err = desk.Redeem(ctx, "u00", reward.Redemption{ID: "again", Item: "mug", Cost: 1000}, 1)
	wantErr(t, "the same once more", err, reward.ErrTaken)
	_, err = desk.Redeem(ctx, "u01", reward.Redemption{ID: "again", Item: "mug", Cost: 1000}, 0)
	if err != nil {
		t.Errorf("an id of somebody else's: %v", err)
	}
	if _, err = desk.Redeem(ctx, "u01", reward.Redemption{ID: "free", Cost: 0}, 1); err == nil {
		t.Error("redeemed nothing")
	}
	_, err = desk.Claim(ctx, "u00", 3, 2)
	wantErr(t, "a level to come", err, reward.ErrPoor)
	if c, err := desk.Claim(ctx, "u00", 2, 2); err != nil || c.Claimed != 2 || c.Version != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = desk.Claim(ctx, "u00", 2, 3)
	wantErr(t, "a level twice", err, reward.ErrTaken)
	if c, err := desk.SetPrivacy(ctx, "nobody", reward.Private, 0); err != nil || c.Privacy != reward.Private || c.Version != 1 || c.Level != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = desk.SetPrivacy(ctx, "nobody", reward.Out, 0)
	if e, ok := errors.AsType[*reward.VersionError](err); !ok || e.Current.Privacy != reward.Private {
		t.Errorf("an old version: %v", err)
	}
}
