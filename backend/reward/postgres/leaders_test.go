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
)

var (
	leaderUsers = flag.Int("leaders", 20_000, "TestLeadersUnderLoad: so many users")
	leaderReads = flag.Int("leader-reads", 100, "TestLeadersUnderLoad: so many reads of a leaderboard")
)

// TestLeadersUnderLoad reads leaderboards of 20 teams, the top 20 and 5 around, while batches are counted and the view is refreshed, and says how long that takes
// (make bench-rewards): each user finds themself among those around.
func TestLeadersUnderLoad(t *testing.T) {
	b := newBed(t)
	name := b.database(t)
	b.server.SQL(name, fmt.Sprintf(`INSERT INTO app.workspaces SELECT 'team' || i, '' FROM generate_series(0, 19) i;
		INSERT INTO app.members SELECT 'team' || i %% 20, 'user' || i, 'viewer', 1 FROM generate_series(0, %d - 1) i;
		INSERT INTO reward.scores SELECT 'team' || i %% 20, 'all', 'user' || i, 1 + i * 7919 %% 1000003, i FROM generate_series(0, %[1]d - 1) i; ANALYZE`, *leaderUsers))
	store := b.store(t, name, b.server.URL("counter", name), b.server.URL("app", name), reward.BuiltIn())
	start := time.Now()
	if did, err := store.Refresh(t.Context(), start.Add(time.Hour)); err != nil || !did {
		t.Fatal(did, err)
	}
	t.Logf("%d users: refresh %v", *leaderUsers, time.Since(start).Round(time.Millisecond))
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
	desk, r := store.Desk(reward.BuiltIn()), rand.New(rand.NewPCG(2, 2))
	took := make([]time.Duration, 0, *leaderReads)
	oldest := time.Duration(0)
	began := time.Now()
	for i := range *leaderReads {
		if i == *leaderReads/2 {
			wait.Go(func() {
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
	cancel()
	wait.Wait()
	slices.Sort(took)
	t.Logf("%d reads: median %v, p95 %v, slowest %v; what they showed was at most %v old; meanwhile %.0f events/s were counted", len(took),
		took[len(took)/2], took[len(took)*95/100], took[len(took)-1], oldest.Round(time.Millisecond), float64(counted)/seconds)
}
