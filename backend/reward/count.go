package reward

import (
	"cmp"
	"maps"
	"slices"
)

// Tx is a transaction of a store, as [Count] sees it. No other one counts meanwhile.
type Tx interface {
	// Insert keeps the facts whose ID is new. It returns these IDs, and of the units of all that it was given all facts that are
	// kept now.
	Insert(facts []Fact) (fresh map[string]bool, units []Fact, err error)
	// Load reads what is known of days and users; what is not known is left out.
	Load(days []DayKey, users []string) (map[DayKey]*DayState, map[string]*UserState, error)
	// Save writes everything.
	Save(*Changes) error
}

// Changes is what a transaction writes, each list in the order of its keys.
type Changes struct {
	Days   []*DayState
	Users  []*UserState
	Scores []Score
}

// Score is what is added to a user's score in a team and a period.
type Score struct {
	Team, Period, User string
	XP                 XP
	Reached            int64 // unix ms: if later than what is known, it is the time of the score
}

// MaxBatch is the most events of one call of Count.
const MaxBatch = 10_000

// Count counts events: each ID once. An event that is no event is a [*DataError], before anything is asked of tx.
func Count(tx Tx, rules *Rules, events []Event) (Counted, error) {
	var c Counted
	facts := make([]Fact, 0, len(events))
	seen := make(map[string]bool, len(events))
	for _, e := range events {
		if err := e.Check(); err != nil {
			return c, &DataError{e.ID, err}
		}
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		facts = append(facts, FactOf(e))
	}
	slices.SortFunc(facts, func(a, b Fact) int { return cmp.Compare(a.ID, b.ID) })
	fresh, units, err := tx.Insert(facts)
	if err != nil {
		return c, err
	}
	c.Fresh, c.Duplicates = len(fresh), len(events)-len(fresh)
	if len(fresh) == 0 {
		return c, nil
	}
	d := newDiff(rules)
	d.compare(units, fresh)
	days, users, err := tx.Load(d.keys())
	if err != nil {
		return c, err
	}
	changes, gains := d.apply(days, users)
	c.Gains = gains
	return c, tx.Save(changes)
}

// diff is what a set of facts changes.
type diff struct {
	rules   *Rules
	days    map[DayKey]map[slot]int64
	counts  map[string]map[string]int64 // by user and kind
	active  map[string][]Day            // by user
	reached map[Score]int64             // by team, period and user
	last    map[string]*Event           // the newest of each user
	periods periods
}

func newDiff(rules *Rules) *diff {
	return &diff{
		rules: rules, days: make(map[DayKey]map[slot]int64), counts: make(map[string]map[string]int64), active: make(map[string][]Day),
		reached: make(map[Score]int64), last: make(map[string]*Event), periods: make(periods),
	}
}

// compare notes what units are worth with the fresh facts, less what they were worth without.
func (d *diff) compare(units []Fact, fresh map[string]bool) {
	slices.SortFunc(units, func(a, b Fact) int { return cmp.Compare(a.Unit, b.Unit) })
	for len(units) > 0 {
		n := slices.IndexFunc(units, func(f Fact) bool { return f.Unit != units[0].Unit })
		if n < 0 {
			n = len(units)
		}
		facts := units[:n]
		units = units[n:]
		old := slices.DeleteFunc(slices.Clone(facts), func(f Fact) bool { return fresh[f.ID] })
		if len(old) == len(facts) {
			continue
		}
		before, after := d.rules.unit(old), d.rules.unit(facts)
		for m, s := range before.live {
			d.add(m, s, -1)
		}
		for m, s := range after.live {
			d.add(m, s, 1)
		}
		for m := range after.ever {
			if !before.ever[m] {
				d.count(m)
			}
		}
		for i := range facts {
			if fresh[facts[i].ID] {
				d.note(&facts[i].Event)
			}
		}
	}
}

func (d *diff) add(m mark, s slot, n int64) {
	k := DayKey{m.user, m.day}
	if d.days[k] == nil {
		d.days[k] = make(map[slot]int64)
	}
	d.days[k][s] += n
}

func (d *diff) count(m mark) {
	if d.counts[m.user] == nil {
		d.counts[m.user] = make(map[string]int64)
	}
	d.counts[m.user][m.kind]++
	d.active[m.user] = append(d.active[m.user], m.day)
}

// note takes down when scores are reached. That is the time of the last thing that was worth something alone, whatever became of it:
// so it does not depend on the order in which things come.
func (d *diff) note(e *Event) {
	user, xp := d.rules.Worth(e)
	if last := d.last[user]; last == nil || e.At > last.At || e.At == last.At && e.ID > last.ID {
		d.last[user] = e
	}
	if xp == 0 || e.Team == "" {
		return
	}
	for _, period := range d.periods.of(DayOf(e.At)) {
		k := Score{Team: e.Team, Period: period, User: user}
		d.reached[k] = max(d.reached[k], e.At)
	}
}

// keys are what is to be loaded, sorted.
func (d *diff) keys() ([]DayKey, []string) {
	users := make(map[string]bool)
	for k := range d.days {
		users[k.User] = true
	}
	for user := range d.counts {
		users[user] = true
	}
	return slices.SortedFunc(maps.Keys(d.days), compareDays), slices.Sorted(maps.Keys(users))
}

func compareDays(a, b DayKey) int {
	return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Day, b.Day))
}

// apply changes days and users, and says what there is to write and to tell.
func (d *diff) apply(days map[DayKey]*DayState, users map[string]*UserState) (*Changes, []Gain) {
	out := new(Changes)
	keys, names := d.keys()
	gained := make(map[string]XP)
	scores := make(map[Score]XP)
	for _, k := range keys {
		day := newDay(k)
		if old := days[k]; old != nil {
			day = old.clone()
		}
		before := day.Teams
		for s, n := range d.days[k] {
			day.add(s, n)
		}
		day.score(d.rules.Era(k.Day))
		gained[k.User] += rise(scores, d.periods, k, before, day.Teams)
		out.Days = append(out.Days, day)
	}
	var gains []Gain
	for _, name := range names {
		u := NewUser(name)
		if old := users[name]; old != nil {
			u = old.clone()
		}
		before := *u
		bonus := u.Runs.bonus(d.rules)
		for _, day := range d.active[name] {
			u.Runs.Add(day)
		}
		u.XP += gained[name] + u.Runs.bonus(d.rules) - bonus
		for kind, n := range d.counts[name] {
			u.Counts[kind] += n
		}
		g := Gain{User: name, XP: u.XP - before.XP, Total: u.XP, Level: d.rules.Level(u.XP), Unlocks: u.unlock(d.rules)}
		g.LevelUp = g.Level > u.Told
		u.Told = max(u.Told, g.Level)
		if last := d.last[name]; last != nil {
			g.Event, g.At = last.ID, last.At
		}
		out.Users = append(out.Users, u)
		if g.XP != 0 || g.LevelUp || len(g.Unlocks) > 0 {
			gains = append(gains, g)
		}
	}
	out.Scores = d.scores(scores)
	return out, gains
}

// periods are those of days that were asked for: [Periods] takes long to write, and nearly all of a batch is of one day.
type periods map[Day][3]string

func (p periods) of(d Day) [3]string {
	out, ok := p[d]
	if !ok {
		out = Periods(d)
		p[d] = out
	}
	return out
}

// rise adds to scores what a day is worth more in each team, and returns what it is worth more in all.
func rise(scores map[Score]XP, known periods, k DayKey, before, after map[string]XP) (sum XP) {
	add := func(team string, xp XP) {
		sum += xp
		if team == "" {
			return
		}
		for _, period := range known.of(k.Day) {
			scores[Score{Team: team, Period: period, User: k.User}] += xp
		}
	}
	for team, xp := range before {
		add(team, -xp)
	}
	for team, xp := range after {
		add(team, xp)
	}
	return sum
}

func (d *diff) scores(xp map[Score]XP) (out []Score) {
	for k := range d.reached {
		xp[k] += 0
	}
	for k, x := range xp {
		reached := d.reached[k]
		if x != 0 || reached != 0 {
			k.XP, k.Reached = x, reached
			out = append(out, k)
		}
	}
	slices.SortFunc(out, compareScores)
	return out
}

func compareScores(a, b Score) int {
	return cmp.Or(cmp.Compare(a.Team, b.Team), cmp.Compare(a.Period, b.Period), cmp.Compare(a.User, b.User))
}
