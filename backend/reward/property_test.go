package reward_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/millracehq/millrace/backend/reward"
)

func TestBuiltInRules(t *testing.T) {
	r := reward.BuiltIn()
	e := reward.Event{ID: "x", Kind: "completed", User: "ann", Whom: "bob", Prio: 4, Est: 7, At: 1_700_000_000_000, Born: 1_600_000_000_000}
	for _, c := range []struct {
		change func(*reward.Event)
		user   string
		xp     reward.XP
	}{
		{func(*reward.Event) {}, "ann", 52_000}, // 20 * 2 * 1.3
		{func(e *reward.Event) { e.Prio, e.Est = 0, 0 }, "ann", 20_000},
		{func(e *reward.Event) { e.Prio, e.Est = 2, 1000 }, "ann", 48_000}, // 20 * 1.2 * 2
		{func(e *reward.Event) { e.Born = e.At - 59_999 }, "ann", 0},
		{func(e *reward.Event) { e.Born = 0 }, "ann", 52_000},
		{func(e *reward.Event) { e.Kind = "created" }, "ann", 2_000},
		{func(e *reward.Event) { e.Kind = "reacted" }, "bob", 1_000},
		{func(e *reward.Event) { e.Kind, e.Whom = "reacted", "ann" }, "ann", 0},
		{func(e *reward.Event) { e.Kind, e.Whom = "mentioned", "ann" }, "ann", 0},
		{func(e *reward.Event) { e.Kind = "reopened" }, "ann", 0},
		{func(e *reward.Event) { e.Kind = "unheard" }, "ann", 0},
	} {
		e := e
		c.change(&e)
		if user, xp := r.Worth(&e); user != c.user || xp != c.xp {
			t.Errorf("%+v: %s to %s, want %s to %s", e, xp, user, c.xp, c.user)
		}
	}
	for total, level := range map[reward.XP]int64{-1: 1, 0: 1, 99_999: 1, 100_000: 2, 249_999: 2, 250_000: 3, 450_000: 4, 1 << 62: 1000} {
		if got := r.Level(total); got != level {
			t.Errorf("%s is level %d, want %d", total, got, level)
		}
	}
	for level := int64(1); level < 999; level++ {
		if start := r.Starts(level); r.Level(start) != level || level > 1 && r.Level(start-1) != level-1 {
			t.Errorf("level %d starts at %s, which is level %d", level, start, r.Level(start))
		}
	}
}

// TestRulesFaults: each fault is found and says where it is.
func TestRulesFaults(t *testing.T) {
	const good = `{version: v, eras: [{from: 1970-01-01, day_cap: 1, prio: [1, 1, 1, 1, 1], kinds: {a: {xp: 1, full: 1, cap: 1}, b: {undoes: [a]}}}], levels: {first: 1}, achievements: [{key: k, tiers: [{a: 1}]}]}`
	if _, err := reward.ParseRules([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"version: v": "version: ''", "1970-01-01": "2026-13-01", "day_cap: 1": "day_cap: -1", "day_cap": "daycap", "xp: 1": "xp: .nan", "full: 1": "full: 0",
		"undoes: [a]": "undoes: [c]", "undoes: [a]}": "undoes: [a], xp: 1, full: 1, cap: 1}", "first: 1": "first: 0", "{a: 1}": "{c: 1}", "[{a: 1}]": "[]",
		"[1, 1, 1, 1, 1]": "[1]", "from: 1970-01-01": "from: 1970-01-02", "xp: 1,": "xp: 1, to: you,", "key: k": "key: ''", "cap: 1}}": "cap: 0}}", "{a: 1}]": "{}]", "b:": "days:",
	} {
		bad := strings.Replace(good, from, to, 1)
		if bad == good && from != "cap: 1}}" {
			t.Fatalf("%q is not there", from)
		}
		if _, err := reward.ParseRules([]byte(bad)); err == nil && bad != good {
			t.Errorf("%s: no fault", bad)
		} else if err != nil && !strings.HasPrefix(err.Error(), "rules: ") {
			t.Error(err)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add([]byte("version: v1\neras: [{from: 1970-01-01}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := reward.ParseRules(data)
		if err != nil {
			return
		}
		e := reward.Event{ID: "x", Kind: "a", User: "u", At: 1_700_000_000_000, Prio: 4, Est: 1000}
		if _, xp := r.Worth(&e); xp < 0 {
			t.Errorf("worth %s", xp)
		}
		r.Level(1 << 40)
	})
}

func FuzzDecodeDay(f *testing.F) {
	f.Add("1;9;completed3;red20000;3;1;3;red60000;")
	f.Add("1;9;comp")
	f.Add("0;9223372036854775807;")
	f.Fuzz(func(t *testing.T, text string) {
		k := reward.DayKey{User: "u", Day: 20_000}
		d, err := reward.DecodeDay(k, text)
		if err != nil {
			return
		}
		again, err := reward.DecodeDay(k, d.Encode())
		if err != nil || again.Encode() != d.Encode() {
			t.Errorf("%q became %q, %v", d.Encode(), again.Encode(), err)
		}
	})
}

func FuzzDecodeUser(f *testing.F) {
	f.Add("2;1;3;5;5;1;9;completed1;1;8;finisher1;")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := reward.DecodeUser("u", 1, 1, text)
		if err != nil {
			return
		}
		again, err := reward.DecodeUser("u", 1, 1, u.Encode())
		if err != nil || again.Encode() != u.Encode() {
			t.Errorf("%q became %q, %v", u.Encode(), again.Encode(), err)
		}
	})
}

// TestRuns: like a set of days, in any order.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var runs reward.Runs
		set := make(map[reward.Day]bool)
		for range r.IntN(60) {
			d := reward.Day(r.IntN(50))
			if runs.Add(d) == set[d] {
				t.Fatal("wrong about what was there")
			}
			set[d] = true
		}
		var want reward.Runs
		for d := range reward.Day(51) {
			switch {
			case set[d] && !set[d-1]:
				want = append(want, [2]reward.Day{d, d})
			case set[d]:
				want[len(want)-1][1] = d
			}
		}
		if !slices.Equal(runs, want) {
			t.Fatalf("%v, want %v", runs, want)
		}
	}
}

func TestPeriods(t *testing.T) {
	for ms, want := range map[int64][3]string{
		1_735_603_200_000: {"all", "2025-W01", "2024-12"}, // 2024-12-31
		1_798_675_200_000: {"all", "2026-W53", "2026-12"}, // 2026-12-31
	} {
		if got := reward.Periods(reward.DayOf(ms)); !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %v, want %v", ms, got, want)
		}
	}
}
