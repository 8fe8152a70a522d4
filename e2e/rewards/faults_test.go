package rewards_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/reward"
)

// mixture is what was added, by what is to become of it.
type mixture struct {
	good        []queue.Event
	violating   []queue.Event // a constraint: poisonOn
	undecodable []queue.Event // as they should have been
}

// add makes every -poison-th event one that cannot be counted, the one way and the other in turn, and returns it as it is to be added.
func (m *mixture) add(e queue.Event, i int) queue.Event {
	if i%*poisonEvery != *poisonEvery/2 {
		m.good = append(m.good, e)
		return e
	}
	e.User = "poison-" + e.User
	if i / *poisonEvery % 2 == 0 {
		m.violating = append(m.violating, e)
		return e
	}
	m.undecodable = append(m.undecodable, e)
	e.Prio = -1
	return e
}

// breaker kills workers, Redis and PostgreSQL, and stops workers for a while.
type breaker struct {
	b      *bed
	r      *rand.Rand
	next   time.Time
	faults int
	kills  map[string]int // by what was done to what

	// What workers have said before they were ended: at least so many.
	claims, duplicates float64
}

// turn breaks something if it is time.
func (k *breaker) turn() {
	now := time.Now()
	if now.Before(k.next) {
		return
	}
	k.next = now.Add(*faultEvery/2 + rand.N(*faultEvery))
	k.faults++
	w := k.b.workers[k.r.IntN(len(k.b.workers))]
	switch k.r.IntN(6) {
	case 0, 1:
		k.kills["worker killed"]++
		k.scrape(w)
		w.signal(syscall.SIGKILL)
	case 2:
		k.kills["worker stopped for a while"]++
		w.signal(syscall.SIGSTOP)
		time.AfterFunc(rand.N(3*time.Second), func() { w.signal(syscall.SIGCONT) }) // at times longer than --claim-after
	case 3:
		k.kills["worker ended"]++
		k.scrape(w)
		w.signal(syscall.SIGTERM)
	case 4:
		k.kills["Redis killed"]++
		k.b.redis.Restart()
	case 5:
		k.kills["PostgreSQL killed"]++
		k.b.db.Restart()
	}
}

// scrape takes what workers have counted in this life.
func (k *breaker) scrape(workers ...*worker) {
	for _, w := range workers {
		_, text := w.get("/metrics")
		k.claims += metric(text, "millrace_rewards_claims_total")
		k.duplicates += metric(text, "millrace_rewards_duplicates_total")
	}
}

// metric is the value of a metric without labels; 0 if the worker did not answer.
func metric(text, name string) float64 {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// progress says now and then how far it is.
func (b *bed) progress(start time.Time, added int, k *breaker) {
	if now := time.Now(); now.Sub(b.said) >= 15*time.Second {
		b.said = now
		b.t.Logf("%v: %d events added, %d faults", now.Sub(start).Round(time.Second), added, k.faults)
	}
}

// holds wants the ledger to have n events, and says what it adds up to.
func (b *bed) holds(n int) {
	b.t.Helper()
	got := b.db.SQL("boards", "SELECT count(*), (SELECT sum(xp) FROM reward.users) FROM reward.facts")
	facts, sum, _ := strings.Cut(got, "|")
	if facts != strconv.Itoa(n) {
		b.t.Errorf("the ledger has %s events, want %d", facts, n)
	}
	b.t.Logf("the ledger has %s events and %s thousandths of a point", facts, sum)
}

// sameScores wants each user to have in each team what the oracle has: no batch was added twice to scores, and none is left out when a refresh was.
func (b *bed) sameScores(oracle interface {
	reward.Store
	reward.Desk
},
) {
	b.t.Helper()
	ctx := b.t.Context()
	for _, store := range []reward.Store{oracle, b.counter()} {
		if _, err := store.Refresh(ctx, time.Now().Add(time.Hour)); err != nil { // which adds what is left, whether or not it refreshes
			b.t.Fatal(err)
		}
	}
	got := make(map[[2]string]string)
	for line := range strings.Lines(b.db.SQL("boards", "SELECT team, user_id, sum(xp) FROM reward.scores GROUP BY 1, 2 HAVING sum(xp) > 0")) {
		row := strings.Split(strings.TrimSpace(line), "|")
		got[[2]string{row[0], row[1]}] = row[2]
	}
	scores := 0
	for team := range teams {
		for i := range users {
			k := [2]string{teamName(team), userName(i)}
			l, err := oracle.Leaders(ctx, k[1], reward.Query{Team: k[0], Period: reward.PeriodAll, Around: 1})
			if err != nil {
				b.t.Fatal(err)
			}
			want := ""
			for _, one := range l.Around {
				if one.User == k[1] {
					want = strconv.FormatInt(int64(one.XP), 10)
					scores++
				}
			}
			if got[k] != want {
				b.t.Errorf("%v has a score of %q, want %q", k, got[k], want)
			}
		}
	}
	b.t.Logf("%d scores, each as the oracle says", scores)
}

// same wants each of the users of some events to have what the oracle has.
func (b *bed) same(oracle reward.Desk, events []queue.Event) {
	b.t.Helper()
	counted := b.desk()
	for _, e := range events {
		want, _ := oracle.Account(b.t.Context(), e.User)
		got, err := counted.Account(b.t.Context(), e.User)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			b.t.Errorf("%s has %+v, %v; want %+v", e.User, got, err, want)
		}
	}
}

// letter is a dead letter as backend rewards dlq list --json prints it.
type letter struct {
	Reason string   `json:"reason"`
	Fields []string `json:"fields"`
}

// event is the ID of the event in it, if it has one.
func (l *letter) event() string {
	for i := 0; i+1 < len(l.Fields); i += 2 {
		if l.Fields[i] == "id" {
			return l.Fields[i+1]
		}
	}
	return ""
}

func (b *bed) letters() (out []letter) {
	b.t.Helper()
	list := b.run(append([]string{"rewards", "dlq", "list", "--json"}, b.streams()...)...)
	for line := range strings.Lines(list) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			b.t.Fatalf("%s: %v", line, err)
		}
		out = append(out, l)
	}
	return out
}

// buried wants the dead letters to be what cannot be counted, with its reason, and nothing else. What violates is there once; of what
// cannot be decoded nobody knows that it is the same.
func (b *bed) buried(mix *mixture) {
	b.t.Helper()
	letters, reasons := make(map[string][]string), make(map[string]int)
	for _, l := range b.letters() {
		letters[l.event()] = append(letters[l.event()], l.Reason)
		reasons[l.Reason]++
	}
	for _, e := range mix.violating {
		if found := letters[e.ID]; len(found) != 1 || !strings.Contains(found[0], "poison") {
			b.t.Errorf("%s is in the dead letters for %q, want once for the constraint", e.ID, found)
		}
		delete(letters, e.ID)
	}
	for _, e := range mix.undecodable {
		if found := letters[e.ID]; len(found) == 0 || !strings.Contains(found[0], "prio") {
			b.t.Errorf("%s is in the dead letters for %q, want its prio", e.ID, found)
		}
		delete(letters, e.ID)
	}
	if len(letters[""]) == 0 {
		b.t.Error("what is no event is not in the dead letters")
	}
	delete(letters, "")
	for id, found := range letters {
		b.t.Errorf("%s is in the dead letters for %q", id, found)
	}
	for reason, n := range reasons {
		b.t.Logf("dead letters: %d for %s", n, reason)
	}
}
