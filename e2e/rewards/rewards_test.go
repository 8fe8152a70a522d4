package rewards_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/queue"
	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/memory"
	"github.com/millracehq/millrace/gateway/stream"
)

const users = 500

// kinds of events, by their weight in the mix.
var kinds = []string{"completed", "completed", "created", "commented", "commented", "reacted", "login", "reviewed", "reopened"}

// random is the i-th event of a seed: what somebody did in the last days.
func random(r *rand.Rand, i int, now time.Time) queue.Event {
	at := now.Add(-time.Duration(r.Int64N(int64(5 * 24 * time.Hour)))).UnixMilli()
	e := queue.Event{
		ID: fmt.Sprint("app:", i), Kind: kinds[r.IntN(len(kinds))], User: userName(r.IntN(users)), Team: fmt.Sprint("team", r.IntN(20)),
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

	k := &breaker{b: b, r: rand.New(rand.NewPCG(seed, 2))}
	oracle := memory.New(reward.BuiltIn(), func(string, string) bool { return true }, nil)
	now := time.Now()
	var good, poison []queue.Event
	const page = 500
	for first := 0; first < *eventCount; first += page {
		events := make([]queue.Event, 0, page)
		for i := first; i < min(first+page, *eventCount); i++ {
			e := random(r, i, now)
			if i%poisonEvery == poisonEvery/2 {
				e.User = "poison-" + e.User // violates a constraint
				poison = append(poison, e)
			} else {
				good = append(good, e)
			}
			events = append(events, e)
		}
		b.add(events)
		if r.IntN(3) == 0 { // somebody says it again
			b.add(events[r.IntN(len(events)):])
		}
		if first/page%20 == 0 {
			b.unreadable()
		}
		k.turn()
	}
	for k.faults < minFaults { // of small runs
		k.turn()
		<-time.After(20 * time.Millisecond)
	}
	b.settled()
	count(t, oracle, good)
	b.compare(oracle, users)
	t.Logf("%d events, %d faults", len(good)+len(poison), k.faults)

	unreadable := (*eventCount + 20*page - 1) / (20 * page)
	list := b.run(append([]string{"rewards", "dlq", "list"}, b.streams()...)...)
	for _, e := range poison {
		if n := strings.Count(list, e.ID+" "); n != 1 {
			t.Errorf("%s is in the dead letters %d times, want once", e.ID, n)
		}
	}
	if lines := strings.Count(list, "\n") - 1; lines < len(poison)+unreadable {
		t.Errorf("%d dead letters, want %d that cannot be counted and %d that cannot be read", lines, len(poison), unreadable)
	}

	b.db.SQL("boards", poisonOff) // the fix
	for range 2 {
		b.run(append([]string{"rewards", "dlq", "replay", "--all"}, b.streams()...)...)
		b.settled()
	}
	count(t, oracle, poison)
	b.compare(oracle, users)
	counted := b.desk()
	for _, e := range poison {
		want, _ := oracle.Account(t.Context(), e.User)
		got, err := counted.Account(t.Context(), e.User)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("after the replay %s has %+v, %v; want %+v", e.User, got, err, want)
		}
	}
}

// poisonEvery is one in how many events cannot be counted; at least one in a run.
const poisonEvery = 1000

// minFaults are in every run.
const minFaults = 6

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

// breaker kills workers, Redis and PostgreSQL, and stops workers for a while.
type breaker struct {
	b      *bed
	r      *rand.Rand
	next   time.Time
	faults int
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
		w.signal(syscall.SIGKILL)
	case 2:
		w.signal(syscall.SIGSTOP)
		time.AfterFunc(rand.N(3*time.Second), func() { w.signal(syscall.SIGCONT) }) // at times longer than --claim-after
	case 3:
		w.signal(syscall.SIGTERM)
	case 4:
		k.b.redis.Restart()
	case 5:
		k.b.db.Restart()
	}
}
