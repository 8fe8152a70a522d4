package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/backend/reward/postgres"
)

var (
	leaderUsers = flag.Int("leaders", 20_000, "TestLeadersUnderLoad: so many users")
	leaderReads = flag.Int("leader-reads", 100, "TestLeadersUnderLoad: so many reads of a leaderboard")
)

// TestLeadersUnderLoad reads leaderboards of 20 teams, the top 20 and 5 around, on a replica while the primary counts batches and refreshes the view, and says how
// long that takes (make bench-rewards): each user finds themself among those around, and what the second refresh has made arrives on the replica.
func TestLeadersUnderLoad(t *testing.T) {
	b := newBed(t)
	name := b.database(t)
	b.server.SQL(name, fmt.Sprintf(`INSERT INTO app.workspaces SELECT 'team' || i, '' FROM generate_series(0, 19) i;
		INSERT INTO app.members SELECT 'team' || i %% 20, 'user' || i, 'viewer', 1 FROM generate_series(0, %d - 1) i;
		INSERT INTO reward.scores SELECT 'user' || i, 'team' || i %% 20, '2026-01-05', 1 + i::bigint * 7919 %% 1000003, i FROM generate_series(0, %[1]d - 1) i; ANALYZE`, *leaderUsers))
	replica := b.server.Standby()
	store := b.store(t, name, b.server.URL("counter", name), b.server.URL("app", name), reward.BuiltIn())
	start := time.Now()
	if did, err := store.Refresh(t.Context(), start.Add(time.Hour)); err != nil || !did {
		t.Fatal(did, err)
	}
	t.Logf("%d users: refresh %v", *leaderUsers, time.Since(start).Round(time.Millisecond))
	desk, err := postgres.OpenDesk(t.Context(), b.server.URL("app", name), replica.URL("app", name), reward.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	first := shownAfter(t, desk, start.Add(-time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	counted := 0
	wait.Go(func() {
		for batch := range slices.Chunk(workday(200**leaderReads), 500) {
			if ctx.Err() != nil {
				return
			}
			for i := range batch {
				batch[i].ID += "-again" // of users that have scores
			}
			c, err := store.Count(ctx, batch)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			counted += c.Fresh
		}
	})
	r := rand.New(rand.NewPCG(2, 2))
	took := make([]time.Duration, 0, *leaderReads)
	oldest := time.Duration(0)
	began, refreshed := time.Now(), make(chan struct{})
	for i := range *leaderReads {
		if i == *leaderReads/2 {
			wait.Go(func() {
				defer close(refreshed)
				start := time.Now()
				if _, err := store.Refresh(ctx, time.Now().Add(time.Hour)); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				t.Logf("refresh under load %v", time.Since(start).Round(time.Millisecond))
			})
		}
		n := r.IntN(*leaderUsers)
		user := fmt.Sprint("user", n)
		start := time.Now()
		l, err := desk.Leaders(ctx, user, reward.Query{Team: fmt.Sprint("team", n%20), Period: reward.PeriodAll, Limit: 20, Around: 5})
		took = append(took, time.Since(start))
		if err != nil || len(l.Top) != 20 || !slices.ContainsFunc(l.Around, func(one reward.Leader) bool { return one.User == user }) {
			t.Fatalf("%s: %+v, %v", user, l, err)
		}
		oldest = max(oldest, time.Since(l.AsOf))
	}
	seconds := time.Since(began).Seconds()
	<-refreshed
	done := time.Now()
	shownAfter(t, desk, first)
	t.Logf("the replica showed the second refresh %v after its end", time.Since(done).Round(time.Millisecond))
	cancel()
	wait.Wait()
	slices.Sort(took)
	t.Logf("%d reads: median %v, p95 %v, slowest %v; what they showed was at most %v old; meanwhile %.0f events/s were counted", len(took),
		took[len(took)/2], took[len(took)*95/100], took[len(took)-1], oldest.Round(time.Millisecond), float64(counted)/seconds)
}

// shownAfter waits until what a desk shows is younger than that, and returns of when it is.
func shownAfter(t *testing.T, desk *postgres.Desk, than time.Time) time.Time {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		l, err := desk.Leaders(t.Context(), "user0", reward.Query{Team: "team0", Period: reward.PeriodAll, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if l.AsOf.After(than) {
			return l.AsOf
		}
	}
	t.Fatalf("nothing younger than %v is shown", than)
	return time.Time{}
}
