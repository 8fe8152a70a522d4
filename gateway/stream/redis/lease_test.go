package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

// steal has another consumer hold the lease of partition 0, as after a pause that was too long for the first.
func steal(t *testing.T, c *Client, thief *Group) *Lease {
	t.Helper()
	c.rdb.Del(t.Context(), c.keys.Lease(0, thief.name))
	leases, err := thief.Acquire(t.Context(), []int{0}, time.Minute)
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases (%v)", len(leases), err)
	}
	return leases[0]
}

func TestLeaseHasOneOwner(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		a, b := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
		first := mustAcquire(t, a, time.Minute)
		if got, err := b.Acquire(ctx, allPartitions, time.Minute); err != nil || len(got) != 0 {
			t.Fatalf("%d leases that are held (%v)", len(got), err)
		}
		again := mustAcquire(t, a, time.Minute) // its own, whose answer may have been lost
		if again[0].Token <= first[0].Token {
			t.Fatalf("token %d after %d", again[0].Token, first[0].Token)
		}
		held, err := a.Renew(ctx, []*Lease{first[0], again[0]}, time.Minute)
		if err != nil || held[0] || !held[1] {
			t.Fatalf("held %v (%v), want the second only", held, err)
		}
		if err := a.Release(ctx, append(first, again...)); err != nil {
			t.Fatal(err)
		}
		if got := mustAcquire(t, b, time.Minute); got[0].Token <= again[0].Token {
			t.Fatalf("token %d after %d: a release must not start them anew", got[0].Token, again[0].Token)
		}
	})
}

func TestLeaseEndsByItself(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	a, b := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
	lease := mustAcquire(t, a, 30*time.Millisecond)[0]
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		got, err := b.Acquire(t.Context(), []int{0}, time.Minute)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no lease (%v)", err)
		}
		if len(got) == 1 {
			break
		}
	}
	if held, err := a.Renew(t.Context(), []*Lease{lease}, time.Minute); err != nil || held[0] {
		t.Fatalf("still held (%v)", err)
	}
}

func TestHeartbeatCountsTheLiving(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	a, b := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
	beat := func(g *Group, ttl time.Duration, want int) {
		t.Helper()
		if n, err := g.Heartbeat(t.Context(), ttl); err != nil || n != want {
			t.Fatalf("%d workers (%v), want %d", n, err, want)
		}
	}
	beat(a, time.Minute, 1)
	beat(b, time.Minute, 2)
	if err := b.Depart(t.Context()); err != nil {
		t.Fatal(err)
	}
	beat(a, time.Minute, 1)
	beat(b, time.Minute, 2)
	<-time.After(20 * time.Millisecond)
	beat(a, 10*time.Millisecond, 1) // b has been silent for longer
}

// TestLostLeaseWritesNothing is the fence: whatever a former owner still sends, or has sent before it fell asleep.
func TestLostLeaseWritesNothing(t *testing.T) {
	onEverySlot(t, func(t *testing.T, c *Client, g *Group) {
		ctx := t.Context()
		thief := newTestGroup(t, c, "b")
		ref := addIn(t, c, 0, "x")
		leases := mustAcquire(t, g, time.Minute)
		mustRead(t, g, leases)
		waiting := make(chan Taken, 1)
		go func() { // a read that stands at Redis when the lease ends
			got, _ := newTestReader(t, g).Read(context.Background(), Reading{Leases: leases[:1], Count: 8, Block: time.Second})
			waiting <- got
		}()
		stolen := steal(t, c, thief)
		addIn(t, c, 0, "y")
		if got := <-waiting; len(got.Deliveries) > 0 {
			t.Fatalf("a former owner was given %v", got.Deliveries)
		}
		o := Outcome{Ref: ref, Publications: []stream.Publication{{Channel: "c", Data: "p"}}}
		mustCommit(t, g, leases[0], LeaseLost, o)
		wantLen(t, c, c.keys.Out(stream.Partition("c", testPartitions)), 0)
		if _, err := g.Next(ctx, leases[0], &Claim{}); !errors.Is(err, ErrLeaseLost) {
			t.Fatalf("Next: %v", err)
		}
		if err := g.Touch(ctx, leases[0], []Touched{{ID: ref.ID, Attempt: 9}}); err != nil {
			t.Fatal(err)
		}
		if err := g.Release(ctx, leases[:1]); err != nil {
			t.Fatal(err)
		}
		d, err := thief.Next(ctx, stolen, &Claim{Idle: time.Hour})
		if err != nil || d == nil || d.Ref != ref || d.Attempt != 2 {
			t.Fatalf("the new owner takes over %v (%v), want attempt 2 of %v", d, err, ref)
		}
		mustCommit(t, thief, stolen, 1, o)
		wantData(t, mustRead(t, thief, []*Lease{stolen}), "y")
	})
}

// TestRepeatedByAnotherOwner: effects for other slots went out, and the owner died before its commit.
func TestRepeatedByAnotherOwner(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g, heir := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
	g.multiSlot, heir.multiSlot = true, true
	ref := addIn(t, c, 0, "x")
	leases := mustAcquire(t, g, time.Minute)
	mustRead(t, g, leases)
	o := Outcome{Ref: ref, Publications: []stream.Publication{{Channel: "c", Data: "p"}, {Channel: "c", Data: "q"}}}
	if err := g.writeAbroad(t.Context(), []Batch{{leases[0], []Outcome{o}}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, heir, steal(t, c, heir), 1, o)
	wantLen(t, c, c.keys.Out(stream.Partition("c", testPartitions)), 2)
}
