package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/redistest"
)

// gates are the streams that reads go through.
func gates(t *testing.T, c *Client) (keys []string) {
	t.Helper()
	for _, key := range c.rdb.Keys(t.Context(), "*:gate:*").Val() {
		if c.rdb.Type(t.Context(), key).Val() == "stream" {
			keys = append(keys, key)
		}
	}
	return keys
}

func mustReadBy(t *testing.T, r *Reader, leases []*Lease) Taken {
	t.Helper()
	got, err := r.Read(t.Context(), Reading{Leases: leases, Count: 8, Block: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestGateIsClosedByTheNextOwner: a read that comes late gives nothing to who has lost one of its partitions; the others are
// read on.
func TestGateIsClosedByTheNextOwner(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g, thief := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
		leases := mustAcquire(t, g, time.Minute)
		r := newTestReader(t, g)
		mustReadBy(t, r, leases)
		late := r.readArgs(Reading{Leases: leases, Count: 8})
		stolen := steal(t, c, thief)
		addIn(t, c, 0, "x")
		addIn(t, c, 1, "y")
		if got := c.send(t.Context(), [][]any{late})[0]; !r.closed(got.err) {
			t.Fatalf("the gate is open: %v, %v", got.value, got.err)
		}
		got := mustReadBy(t, r, leases)
		wantData(t, got.Deliveries, "y")
		if len(got.Lost) != 1 || got.Lost[0] != leases[0] {
			t.Fatalf("lost %v, want the one that was stolen", got.Lost)
		}
		wantPending(t, c, 0)
		wantData(t, mustReadBy(t, newTestReader(t, thief), []*Lease{stolen}).Deliveries, "x")
		if n := len(gates(t, c)); n != 2 {
			t.Fatalf("%d gates, want one of each reader", n)
		}
	})
}

// TestGateIsNewAfterAnError: what had no answer does not come late.
func TestGateIsNewAfterAnError(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g := newTestGroup(t, c, "a")
	leases := mustAcquire(t, g, time.Minute)
	r := newTestReader(t, g)
	mustReadBy(t, r, leases)
	late := r.readArgs(Reading{Leases: leases, Count: 8})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Read(ctx, Reading{Leases: leases, Count: 8}); err == nil {
		t.Fatal("read without a context")
	}
	mustReadBy(t, r, leases)
	if got := c.send(t.Context(), [][]any{late})[0]; got.err == nil || !strings.HasPrefix(got.err.Error(), "NOGROUP") {
		t.Fatalf("the old gate is open: %v, %v", got.value, got.err)
	}
	if n := len(gates(t, c)); n != 1 {
		t.Fatalf("%d gates, want the new one", n)
	}
}

// TestReadFromThePast: a Redis that has lost commits gives entries, and they are not delivered under those leases.
func TestReadFromThePast(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g := newTestGroup(t, c, "a")
		refs := []Ref{addIn(t, c, 0, "x"), addIn(t, c, 1, "y")}
		leases := mustAcquire(t, g, time.Minute)
		r := newTestReader(t, g)
		mustReadBy(t, r, leases)
		mustCommit(t, g, leases[0], 1, Outcome{Ref: refs[0]})
		was := c.rdb.Get(t.Context(), c.keys.Lease(1, g.name)).Val()
		mustCommit(t, g, leases[1], 1, Outcome{Ref: refs[1]})
		c.rdb.Set(t.Context(), c.keys.Lease(1, g.name), was, time.Minute)
		addIn(t, c, 0, "known")
		addIn(t, c, 1, "not known")
		got := mustReadBy(t, r, leases)
		wantData(t, got.Deliveries, "known")
		if len(got.Lost) != 1 || got.Lost[0] != leases[1] {
			t.Fatalf("lost %v, want that of partition 1", got.Lost)
		}
		if n := c.rdb.XPending(t.Context(), c.keys.In(1), g.name).Val().Count; n != 1 {
			t.Fatalf("%d pending, want the one for the next owner", n)
		}
	})
}

// TestGateCoversNewLeases: partitions that are got later are read through a gate that their next owner closes too.
func TestGateCoversNewLeases(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g, thief := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
		leases := mustAcquire(t, g, time.Minute)
		r := newTestReader(t, g)
		mustReadBy(t, r, leases[1:])
		mustReadBy(t, r, leases)
		late := r.readArgs(Reading{Leases: leases, Count: 8})
		steal(t, c, thief)
		if got := c.send(t.Context(), [][]any{late})[0]; !r.closed(got.err) {
			t.Fatalf("the gate is open: %v, %v", got.value, got.err)
		}
	})
}
