package reward

import (
	"cmp"
	"maps"
	"slices"
)

// Tx is a transaction of a store, as [Count] sees it. No other one counts meanwhile.
type Tx interface {
	// Insert keeps the facts whose ID is new, sorted by ID, and reads what they need: their units and, in the same exchange, what they are likely to change.
	Insert(facts []Fact, likely Keys) (Found, error)
	// Load reads what is known of days and users.
	Load(Keys) (State, error)
	// Save writes everything. It is the last call.
	Save(*Changes) error
}

// Keys name days and users, each once and in their order.
type Keys struct {
	Days  []DayKey
	Users []string
}

// State is what is known of days and users, which are the caller's to change; what is not known is left out.
type State struct {
	Days  map[DayKey]*DayState
	Users map[string]*UserState
}

// Found is what a transaction knows when it has kept facts.
type Found struct {
	Fresh map[string]bool // IDs that were new
	Units []Fact          // all facts that are kept now of the units of all that was given
	State                 // of what is likely to change
}

// Changes is what a transaction writes, each list in the order of its keys.
type Changes struct {
	Days   []*DayState
	Users  []*UserState
	Scores []Score
}

// Score is what a day adds to a user's scores in a team: in each of the day's [Periods].
type Score struct {
	Team    string
	Day     Day
	User    string
	XP      XP
	Reached int64 // unix ms: if later than what is known, it is the time of the score
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
	likely := rules.likely(facts)
	found, err := tx.Insert(facts, likely)
	if err != nil {
		return c, err
	}
	c.Fresh, c.Duplicates = len(found.Fresh), len(events)-len(found.Fresh)
	if len(found.Fresh) == 0 {
		return c, nil
	}
	d := newDiff(rules)
	d.compare(found.Units, found.Fresh)
	if rest := d.keys().without(likely); len(rest.Days)+len(rest.Users) > 0 {
		more, err := tx.Load(rest)
		if err != nil {
			return c, err
		}
		maps.Copy(found.Days, more.Days)
		maps.Copy(found.Users, more.Users)
	}
	changes, gains := d.apply(found.State)
	c.Gains = gains
	return c, tx.Save(changes)
}

// likely are the days and users to whom facts give something, if nothing else is known of their units.
func (r *Rules) likely(facts []Fact) Keys {
	days, users := make(map[DayKey]bool, len(facts)), make(map[string]bool, len(facts))
	for i := range facts {
		if user, xp := r.Worth(&facts[i].Event); xp > 0 {
			days[DayKey{user, DayOf(facts[i].At)}] = true
			users[user] = true
		}
	}
	return sortedKeys(days, users)
}

func sortedKeys[V any](days map[DayKey]V, users map[string]bool) Keys {
	return Keys{slices.SortedFunc(maps.Keys(days), compareDays), slices.Sorted(maps.Keys(users))}
}

// without are the keys that others do not have.
func (k Keys) without(others Keys) (out Keys) {
	for _, day := range k.Days {
		if _, ok := slices.BinarySearchFunc(others.Days, day, compareDays); !ok {
			out.Days = append(out.Days, day)
		}
	}
	for _, user := range k.Users {
		if _, ok := slices.BinarySearch(others.Users, user); !ok {
			out.Users = append(out.Users, user)
		}
	}
	return out
}

// diff is what a set of facts changes.
type diff struct {
	rules   *Rules
	days    map[DayKey]map[slot]int64
	counts  map[string]map[string]int64 // by user and kind
	active  map[string][]Day            // by user
	reached map[Score]int64             // by team, day and user
	last    map[string]*Event           // the newest of each user
}

func newDiff(rules *Rules) *diff {
	return &diff{
		rules: rules, days: make(map[DayKey]map[slot]int64), counts: make(map[string]map[string]int64), active: make(map[string][]Day),
		reached: make(map[Score]int64), last: make(map[string]*Event),
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
	for k, slots := range d.days { // what is as before is neither read nor written
		maps.DeleteFunc(slots, func(_ slot, n int64) bool { return n == 0 })
		if len(slots) == 0 {
			delete(d.days, k)
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
	k := Score{Team: e.Team, Day: DayOf(e.At), User: user}
	d.reached[k] = max(d.reached[k], e.At)
}

// keys are what is to be known.
func (d *diff) keys() Keys {
	users := make(map[string]bool)
	for k := range d.days {
		users[k.User] = true
	}
	for user := range d.counts {
		users[user] = true
	}
	return sortedKeys(d.days, users)
}

func compareDays(a, b DayKey) int {
	return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Day, b.Day))
}

// apply changes days and users, and says what there is to write and to tell.
func (d *diff) apply(known State) (*Changes, []Gain) {
	out := new(Changes)
	keys := d.keys()
	gained := make(map[string]XP)
	scores := make(map[Score]XP)
	for _, k := range keys.Days {
		day := newDay(k)
		if old := known.Days[k]; old != nil {
			day = old
		}
		before := day.Teams
		for s, n := range d.days[k] {
			day.add(s, n)
		}
		day.score(d.rules.Era(k.Day))
		gained[k.User] += rise(scores, k, before, day.Teams)
		out.Days = append(out.Days, day)
	}
	var gains []Gain
	for _, name := range keys.Users {
		u := NewUser(name)
		if old := known.Users[name]; old != nil {
			u = old
		}
		had := u.XP
		bonus := u.Runs.bonus(d.rules)
		for _, day := range d.active[name] {
			u.Runs.Add(day)
		}
		u.XP += gained[name] + u.Runs.bonus(d.rules) - bonus
		for kind, n := range d.counts[name] {
			u.Counts[kind] += n
		}
		g := Gain{User: name, XP: u.XP - had, Total: u.XP, Level: d.rules.Level(u.XP), Unlocks: u.unlock(d.rules)}
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

// rise adds to scores what a day is worth more in each team, and returns what it is worth more in all.
func rise(scores map[Score]XP, k DayKey, before, after map[string]XP) (sum XP) {
	add := func(team string, xp XP) {
		sum += xp
		if team != "" {
			scores[Score{Team: team, Day: k.Day, User: k.User}] += xp
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
	return cmp.Or(cmp.Compare(a.Team, b.Team), cmp.Compare(a.Day, b.Day), cmp.Compare(a.User, b.User))
}
