package redis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

// readAs is what a consumer without leases does.
func readAs(t *testing.T, c *Client, consumer string, partition, count int) {
	t.Helper()
	if err := c.rdb.Do(t.Context(), "XREADGROUP", "GROUP", stream.DefaultGroup, consumer, "COUNT", count, "STREAMS", c.keys.In(partition), ">").Err(); err != nil {
		t.Fatal(err)
	}
}

// claimAll are the entries and attempts that a claim finds.
func claimAll(t *testing.T, g *Group, l *Lease, c Claim) (found []string) {
	t.Helper()
	for {
		d, err := g.Next(t.Context(), l, &c)
		if err != nil {
			t.Fatal(err)
		}
		if d == nil {
			return found
		}
		e, err := stream.DecodeEvent(d.Fields)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, fmt.Sprint(e.Data, "*", d.Attempt))
	}
}

func (c *Client) consumers(t *testing.T, partition int) (names []string) {
	t.Helper()
	for _, i := range c.rdb.XInfoConsumers(t.Context(), c.keys.In(partition), stream.DefaultGroup).Val() {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return names
}

func TestClaimTakesWhatFormerOwnersLeft(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	a, b, heir := newTestGroup(t, c, "a"), newTestGroup(t, c, "b"), newTestGroup(t, c, "heir")
	for i := range 6 {
		addIn(t, c, 0, fmt.Sprint(i))
	}
	read := func(g *Group, l *Lease, count int) {
		t.Helper()
		if _, err := newTestReader(t, g).Read(t.Context(), Reading{Leases: []*Lease{l}, Count: count}); err != nil {
			t.Fatal(err)
		}
	}
	read(a, steal(t, c, a), 2)
	readAs(t, c, "stranger", 0, 1)
	read(b, steal(t, c, b), 2) // it did not come to its own claim
	l := steal(t, c, heir)
	read(heir, l, 1)

	if got, want := claimAll(t, heir, l, Claim{Idle: time.Hour}), []string{"0*2", "1*2", "3*2", "4*2"}; !slices.Equal(got, want) {
		t.Fatalf("claimed %v, want %v", got, want)
	}
	if got, want := c.consumers(t, 0), []string{"heir", "stranger"}; !slices.Equal(got, want) {
		t.Fatalf("consumers %v, want %v", got, want)
	}
	if got := claimAll(t, heir, l, Claim{Idle: time.Hour}); got != nil {
		t.Fatalf("claimed %v again", got)
	}
	if got := claimAll(t, heir, l, Claim{Idle: time.Hour, Own: OwnAgain}); len(got) != 5 || got[0] != "0*2" || got[4] != "5*1" {
		t.Fatalf("after a lost answer: %v", got)
	}
	if got := claimAll(t, heir, l, Claim{Own: OwnAnew}); len(got) != 6 || got[0] != "0*3" || got[2] != "2*2" {
		t.Fatalf("of a process with the same name, and of a stranger at once: %v", got)
	}
}

func TestClaimGoesOnOverPages(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g := newTestGroup(t, c, "a")
	l := mustAcquire(t, g, time.Minute)[0]
	for range 2100 { // of a stranger, in more than two pages
		addIn(t, c, 0, "stranger's")
	}
	readAs(t, c, "stranger", 0, 2100)
	addIn(t, c, 0, "own")
	mustRead(t, g, []*Lease{l})
	if got := claimAll(t, g, l, Claim{Idle: time.Hour, Own: OwnAgain}); !slices.Equal(got, []string{"own*1"}) {
		t.Fatalf("claimed %v", got)
	}
	strangers, err := g.Strangers(t.Context(), []*Lease{l})
	if err != nil || !strangers[0] {
		t.Fatalf("strangers %v (%v)", strangers, err)
	}
}

func TestClaimPassesOverDeletedEntries(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	dead, g := newTestGroup(t, c, "dead"), newTestGroup(t, c, "a")
	gone := addIn(t, c, 0, "x")
	addIn(t, c, 0, "y")
	mustRead(t, dead, []*Lease{steal(t, c, dead)})
	c.rdb.XDel(t.Context(), c.keys.In(0), gone.ID.String())
	if got := claimAll(t, g, steal(t, c, g), Claim{Idle: time.Hour}); !slices.Equal(got, []string{"y*2"}) {
		t.Fatalf("claimed %v", got)
	}
	wantPending(t, c, 1)
}

func TestTouchCountsAttempts(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g := newTestGroup(t, c, "a")
	kept, committed := addIn(t, c, 0, "x"), addIn(t, c, 0, "y")
	l := mustAcquire(t, g, time.Minute)[0]
	mustRead(t, g, []*Lease{l})
	mustCommit(t, g, l, 1, Outcome{Ref: committed})
	<-time.After(30 * time.Millisecond)
	touched := []Touched{{ID: kept.ID, Attempt: 4}, {ID: committed.ID}}
	if err := g.Touch(t.Context(), l, touched); err != nil {
		t.Fatal(err)
	}
	p, err := c.rdb.XPendingExt(t.Context(), &goredis.XPendingExtArgs{Stream: c.keys.In(0), Group: g.name, Start: "-", End: "+", Count: 9}).Result()
	if err != nil || len(p) != 1 || p[0].RetryCount != 4 || p[0].Idle >= 30*time.Millisecond {
		t.Fatalf("pending %v (%v), want one of 4 attempts, touched just now", p, err)
	}
}

func TestReleaseKeepsWhatIsPending(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g := newTestGroup(t, c, "a")
		addIn(t, c, 0, "x")
		done := addIn(t, c, 1, "y")
		leases := mustAcquire(t, g, time.Minute)
		mustRead(t, g, leases)
		mustCommit(t, g, leases[1], 1, Outcome{Ref: done})
		if err := g.Release(t.Context(), leases); err != nil {
			t.Fatal(err)
		}
		wantPending(t, c, 1)
		for p, want := range []int{1, 0} {
			if got := c.consumers(t, p); len(got) != want {
				t.Fatalf("partition %d: consumers %v, want %d", p, got, want)
			}
		}
	})
}

func TestDeadLettersAreCopies(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g := newTestGroup(t, c, "a")
	fields := []any{"z", "1", "kind", "nonsense", "z", "\xff\x00"}
	text, err := c.rdb.Do(t.Context(), append([]any{"XADD", c.keys.In(2), "*"}, fields...)...).Text()
	if err != nil {
		t.Fatal(err)
	}
	l := mustAcquire(t, g, time.Minute)[2]
	got := mustRead(t, g, []*Lease{l})
	at := time.UnixMilli(1700000000123)
	death := &Death{Reason: "it says so", Attempts: 3, At: at, Most: 100}
	for _, want := range []int{1, 0} {
		mustCommit(t, g, l, want, Outcome{Ref: got[0].Ref, Dead: death})
	}
	letters, err := c.DeadLetters(t.Context(), g.name, 2, stream.ID{}, 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("%v (%v)", letters, err)
	}
	d := letters[0]
	if d.Partition != 2 || d.Entry.String() != text || d.Reason != death.Reason || d.Attempts != 3 || !d.At.Equal(at) || d.Consumer != "a" ||
		fmt.Sprint(d.Fields) != fmt.Sprint(fields) {
		t.Fatalf("dead letter %+v", d)
	}
	backlogs, err := g.Backlogs(t.Context(), allPartitions)
	if err != nil || backlogs[2] != (Backlog{Dead: 1}) {
		t.Fatalf("backlogs %v (%v)", backlogs, err)
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g := newTestGroup(t, c, "a")
	for i := range 5 {
		addIn(t, c, 1, fmt.Sprint(i))
	}
	readAs(t, c, "x", 1, 2)
	<-time.After(20 * time.Millisecond)
	got, err := g.Backlogs(t.Context(), []int{0, 1})
	if err != nil || got[0] != (Backlog{}) || got[1].Pending != 2 || got[1].Lag != 3 || got[1].Oldest < 20*time.Millisecond || got[1].Oldest > time.Minute {
		t.Fatalf("backlogs %+v (%v)", got, err)
	}
}
