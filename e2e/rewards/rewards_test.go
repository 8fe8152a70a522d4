package rewards_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/memory"
	"github.com/millracehq/millrace/gateway/stream"
)

const (
	users = 500
	teams = 20
)

func teamName(i int) string { return fmt.Sprint("team", i) }

// kinds of events, by their weight in the mix.
var kinds = []string{"completed", "completed", "created", "commented", "commented", "reacted", "login", "reviewed", "reopened"}

// random is the i-th event of a seed: what somebody did in the last days.
func random(r *rand.Rand, i int, now time.Time) queue.Event {
	at := now.Add(-time.Duration(r.Int64N(int64(5 * 24 * time.Hour)))).UnixMilli()
	e := queue.Event{
		ID: fmt.Sprint("app:", i), Kind: kinds[r.IntN(len(kinds))], User: userName(r.IntN(users)), Team: teamName(r.IntN(teams)),
		At: at, Prio: r.Int64N(5), Est: r.Int64N(100), Born: at - r.Int64N(1e8),
	}
	if e.Kind != "login" {
		e.Subject = fmt.Sprint("board/c", r.IntN(20_000))
	}
	if e.Kind == "reacted" {
		e.Whom = userName(r.IntN(users))
	}
	return e
}

// TestExactlyOnce: workers, Redis and PostgreSQL die again and again while events are added, many of them several times, some of
// which cannot be counted. At the end everybody has what the oracle says, and what cannot be counted is in the dead letters.
func TestExactlyOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("kills servers for a while")
	}
	b := newBed(t)
	b.db.SQL("boards", poisonOn)
	b.start(*workers, "--max-attempts", "3")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))

	k := &breaker{b: b, r: rand.New(rand.NewPCG(seed, 2)), kills: make(map[string]int)}
	oracle := memory.New(reward.BuiltIn(), func(string, string) bool { return true }, nil)
	start := time.Now()
	var mix mixture
	b.unreadable()
	const page = 500
	again := 0
	for first := 0; first < *eventCount; first += page {
		events := make([]queue.Event, 0, page)
		for i := first; i < min(first+page, *eventCount); i++ {
			events = append(events, mix.add(random(r, i, start), i))
		}
		b.add(events)
		if r.IntN(3) == 0 { // somebody says it again
			more := events[r.IntN(len(events)):]
			b.add(more)
			again += len(more)
		}
		k.turn()
		b.progress(start, first+len(events), k)
		for b.behind() > mostBehind { // or nearly all would be counted when nothing breaks any more
			k.turn()
			<-time.After(20 * time.Millisecond)
		}
	}
	for k.faults < minFaults { // of small runs
		k.turn()
		<-time.After(20 * time.Millisecond)
	}
	b.settled()
	k.scrape(b.workers...)
	t.Logf("%d events (%d violate a constraint, %d cannot be decoded) in %v; %d faults: %v", *eventCount, len(mix.violating), len(mix.undecodable),
		time.Since(start).Round(time.Second), k.faults, k.kills)
	t.Logf("redeliveries: %d events said again, %d in calls whose answer was lost; of those that workers lived to tell, %.0f were claimed from others and %.0f dropped as duplicates",
		again, b.unanswered, k.claims, k.duplicates)
	count(t, oracle, mix.good)
	b.compare(oracle, users)
	b.holds(len(mix.good))
	b.buried(&mix)

	b.db.SQL("boards", poisonOff) // the fix; of what cannot be decoded it is the sender's, who says it as it should be
	b.add(mix.undecodable)
	for range 2 {
		b.run(append([]string{"rewards", "dlq", "replay", "--all"}, b.streams()...)...)
		b.settled()
	}
	mended := slices.Concat(mix.violating, mix.undecodable)
	count(t, oracle, mended)
	b.compare(oracle, users)
	b.holds(*eventCount)
	b.same(oracle, mended)
	b.sameScores(oracle)
	for _, l := range b.letters() {
		if slices.ContainsFunc(mix.violating, func(e queue.Event) bool { return e.ID == l.event() }) {
			t.Errorf("after the fix and two replays %s is a dead letter: %s", l.event(), l.Reason)
		}
	}
	t.Logf("after the fix and two replays of all, %d of %d are counted, each once; all of it took %v", len(mended), len(mended), time.Since(start).Round(time.Second))
}

const (
	minFaults  = 6      // are in every run
	mostBehind = 20_000 // events that wait
)

// count has the oracle count, in another order and other batches.
func count(t *testing.T, oracle reward.Store, events []queue.Event) {
	t.Helper()
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	for len(events) > 0 {
		n := min(len(events), 1+rand.IntN(3000))
		if _, err := oracle.Count(t.Context(), events[:n]); err != nil {
			t.Fatal(err)
		}
		events = events[n:]
	}
}

// unreadable adds an entry that is no event.
func (b *bed) unreadable() {
	b.t.Helper()
	b.try("add what cannot be read", func(ctx context.Context) error {
		add := stream.Add{Key: b.queue.Key(0), Values: []any{"what", "is this"}}
		return b.client.Append(ctx, []stream.Add{add})[0]
	})
}
