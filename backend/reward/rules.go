package reward

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/millracehq/millrace/internal/strict"
)

//go:embed rules.yaml
var builtIn []byte

// XP are thousandths of a point.
type XP int64

// String is in points.
func (x XP) String() string {
	s := fmt.Sprintf("%d.%03d", x.abs()/1000, x.abs()%1000)
	if s = strings.TrimRight(strings.TrimRight(s, "0"), "."); x < 0 {
		return "-" + s
	}
	return s
}

func (x XP) abs() XP {
	if x < 0 {
		return -x
	}
	return x
}

// maxXP bounds what a single number of the rules can be, so that no sum overflows: in points.
const maxXP = 1_000_000

// Rules say how much what users do is worth. They are not changed once made.
type Rules struct {
	Version      string
	Eras         []Era // by From
	First, Step  XP    // of levels
	Achievements []Achievement
}

// Era is the rules of days from one on.
type Era struct {
	From       Day
	DayCap     XP
	StreakXP   XP
	StreakDays int64
	Prio       [5]int64 // thousandths
	Est        int64    // thousandths
	Kinds      map[string]Kind
	order      []string // of kinds that are worth something
}

// Kind is what is said of events of a kind.
type Kind struct {
	XP      XP
	Weigh   bool     // by priority and estimate
	ToWhom  bool     // the other user earns it
	NotSelf bool     // worth nothing where both are the same
	MinAge  int64    // ms: worth nothing on a younger card
	Full    int64    // so many of a day count in full; the k-th after that Full/k of it
	Cap     XP       // of a user in a day
	Undoes  []string // kinds that it takes back on the same subject
	Redoes  []string // kinds whose taking back it takes back
}

// Achievement is unlocked in tiers, from 1.
type Achievement struct {
	Key   string
	Title string
	Tiers []map[string]int64 // each counter has at least that
}

// Counters beside those of kinds.
const (
	counterDays   = "days"
	counterStreak = "streak"
)

// file is the rules as they are written.
type file struct {
	Version string `yaml:"version"`
	Eras    []struct {
		From   string  `yaml:"from"`
		DayCap float64 `yaml:"day_cap"`
		Streak struct {
			XP   float64 `yaml:"xp"`
			Days int64   `yaml:"days"`
		} `yaml:"streak"`
		Prio  []float64 `yaml:"prio"`
		Est   float64   `yaml:"est"`
		Kinds map[string]struct {
			XP      float64  `yaml:"xp"`
			Weigh   bool     `yaml:"weigh"`
			To      string   `yaml:"to"`
			NotSelf bool     `yaml:"not_self"`
			MinAge  float64  `yaml:"min_age"`
			Full    int64    `yaml:"full"`
			Cap     float64  `yaml:"cap"`
			Undoes  []string `yaml:"undoes"`
			Redoes  []string `yaml:"redoes"`
		} `yaml:"kinds"`
	} `yaml:"eras"`
	Levels struct {
		First float64 `yaml:"first"`
		Step  float64 `yaml:"step"`
	} `yaml:"levels"`
	Achievements []struct {
		Key   string             `yaml:"key"`
		Title string             `yaml:"title"`
		Tiers []map[string]int64 `yaml:"tiers"`
	} `yaml:"achievements"`
}

// BuiltIn are the rules that the program brings.
func BuiltIn() *Rules {
	r, err := ParseRules(builtIn)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return r
}

// ParseRules reads rules from YAML. All faults are reported at once.
func ParseRules(data []byte) (*Rules, error) {
	var f file
	if err := strict.YAML(data, &f); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	p := &parser{}
	r := &Rules{Version: f.Version, First: p.xp("levels.first", f.Levels.First), Step: p.xp("levels.step", f.Levels.Step)}
	p.want(r.Version != "" && len(r.Version) <= 64, "version: 1 to 64 bytes")
	p.want(r.First > 0, "levels.first: more than 0")
	p.want(len(f.Eras) > 0, "eras: at least one")
	for i, e := range f.Eras {
		at := fmt.Sprintf("eras[%d].", i)
		from, err := time.Parse(time.DateOnly, e.From)
		p.want(err == nil, "%sfrom: %q is no day like 2026-12-31", at, e.From)
		era := Era{
			From: DayOf(from.UnixMilli()), DayCap: p.xp(at+"day_cap", e.DayCap), StreakXP: p.xp(at+"streak.xp", e.Streak.XP), StreakDays: e.Streak.Days,
			Est: int64(p.xp(at+"est", e.Est)), Kinds: make(map[string]Kind),
		}
		p.want(era.StreakDays >= 0 && era.StreakDays <= 10_000, "%sstreak.days: 0 to 10000", at)
		p.want(i == 0 || era.From > r.Eras[i-1].From, "%sfrom: later than the one before", at)
		p.want(len(e.Prio) == len(era.Prio), "%sprio: %d factors, for the priorities 0 to 4", at, len(era.Prio))
		for j := range min(len(e.Prio), len(era.Prio)) {
			era.Prio[j] = int64(p.xp(at+"prio", e.Prio[j]))
		}
		for name, k := range e.Kinds {
			here := at + "kinds." + name + "."
			kind := Kind{
				XP: p.xp(here+"xp", k.XP), Weigh: k.Weigh, ToWhom: k.To == "whom", NotSelf: k.NotSelf, MinAge: int64(k.MinAge * 1000), Full: k.Full,
				Cap: p.xp(here+"cap", k.Cap), Undoes: k.Undoes, Redoes: k.Redoes,
			}
			p.want(k.To == "" || k.To == "user" || k.To == "whom", "%sto: user or whom", here)
			p.want(k.MinAge >= 0 && k.MinAge < 1e9, "%smin_age: seconds", here)
			p.want(kind.XP == 0 || kind.Full > 0 && kind.Cap > 0, "%sfull and cap: more than 0 where there are xp", here)
			p.want(kind.XP == 0 || len(k.Undoes)+len(k.Redoes) == 0, "%sxp: none for what undoes or redoes", here)
			p.want(name != counterDays && name != counterStreak && !strings.ContainsAny(name, " \t\n"), "%s not a name for a kind", here)
			for _, other := range slices.Concat(k.Undoes, k.Redoes) {
				p.want(e.Kinds[other].XP > 0, "%s there is no kind %q with xp", here, other)
			}
			era.Kinds[name] = kind
			if kind.XP > 0 {
				era.order = append(era.order, name)
			}
		}
		slices.Sort(era.order)
		r.Eras = append(r.Eras, era)
	}
	p.want(len(r.Eras) == 0 || r.Eras[0].From == 0, "eras[0].from: 1970-01-01, so that each day has rules")
	keys := make(map[string]bool)
	for _, a := range f.Achievements {
		p.want(a.Key != "" && !keys[a.Key] && !strings.ContainsAny(a.Key, " \t\n"), "achievements: key %q is empty, has blanks, or is there twice", a.Key)
		p.want(len(a.Tiers) > 0, "achievements: %s has no tiers", a.Key)
		keys[a.Key] = true
		for i, tier := range a.Tiers {
			p.want(len(tier) > 0, "achievements: %s: tier %d wants nothing", a.Key, i+1)
			for counter, n := range tier {
				p.want(n > 0 && r.counts(counter), "achievements: %s: tier %d: %s: %d: not a counter and a number over 0", a.Key, i+1, counter, n)
			}
		}
		r.Achievements = append(r.Achievements, Achievement(a))
	}
	if err := errors.Join(p.faults...); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return r, nil
}

type parser struct{ faults []error }

func (p *parser) want(ok bool, format string, args ...any) {
	if !ok {
		p.faults = append(p.faults, fmt.Errorf(format, args...))
	}
}

// xp reads a number with three decimals.
func (p *parser) xp(name string, v float64) XP {
	p.want(v >= 0 && v <= maxXP, "%s: %v is not from 0 to %d", name, v, maxXP) // NaN is neither
	if !(v >= 0 && v <= maxXP) {
		return 0
	}
	return XP(math.Round(v * 1000))
}

func (r *Rules) counts(counter string) bool {
	return counter == counterDays || counter == counterStreak ||
		slices.ContainsFunc(r.Eras, func(e Era) bool { return e.Kinds[counter].XP > 0 })
}

// Era is the rules of a day.
func (r *Rules) Era(d Day) *Era {
	i, found := slices.BinarySearchFunc(r.Eras, d, func(e Era, d Day) int { return int(e.From - d) })
	if !found {
		i--
	}
	return &r.Eras[max(i, 0)]
}

// Worth is what an event is worth alone, and to whom.
func (r *Rules) Worth(e *Event) (earner string, xp XP) {
	era := r.Era(DayOf(e.At))
	k, ok := era.Kinds[e.Kind]
	earner = e.User
	if k.ToWhom {
		earner = e.Whom
	}
	if !ok || earner == "" || k.NotSelf && e.User == e.Whom || k.MinAge > 0 && e.Born > 0 && e.At-e.Born < k.MinAge {
		return earner, 0
	}
	xp = k.XP
	if k.Weigh {
		factor := 1000 + era.Est*int64(bits.Len64(uint64(e.Est)))
		xp = xp * XP(era.Prio[e.Prio]) / 1000 * XP(factor) / 1000
	}
	return earner, xp
}

// Level is the level of a total, from 1.
func (r *Rules) Level(total XP) int64 {
	level, next := int64(1), r.First
	for need := r.First; total >= need && level < maxLevel; need += next {
		level++
		next += r.Step
	}
	return level
}

// Starts is the total at which a level begins.
func (r *Rules) Starts(level int64) (total XP) {
	n := XP(min(level, maxLevel) - 1)
	return r.First*n + r.Step*n*(n-1)/2
}

const maxLevel = 1000
