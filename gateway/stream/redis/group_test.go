package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

const testPartitions = 4

// onEveryRedis runs one suite on the imitation and on the real thing, which must agree.
func onEveryRedis(t *testing.T, test func(t *testing.T, c *Client)) {
	t.Run("miniredis", func(t *testing.T) {
		test(t, newTestClient(t, "redis://"+miniredis.RunT(t).Addr()))
	})
	t.Run("redis-server", func(t *testing.T) {
		test(t, newTestClient(t, redistest.Start(t).URL()))
	})
}

func newTestClient(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Config{URL: url, Partitions: testPartitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Connect(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return c
}

func newTestGroup(t *testing.T, c *Client, consumer string) *Group {
	t.Helper()
	g := c.Group(stream.DefaultGroup, consumer)
	if err := g.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func addIn(t *testing.T, c *Client, partition int, data string) Ref {
	t.Helper()
	e := stream.Event{Kind: stream.KindPub, Channel: "c", Data: data}
	text, err := c.rdb.XAdd(t.Context(), &goredis.XAddArgs{Stream: c.keys.In(partition), Values: e.Values()}).Result()
	if err != nil {
		t.Fatal(err)
	}
	id, err := stream.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return Ref{Partition: partition, ID: id}
}

func wantData(t *testing.T, got []Delivery, want ...string) {
	t.Helper()
	var data []string
	for _, d := range got {
		e, err := stream.DecodeEvent(d.Fields)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, e.Data)
	}
	if !slices.Equal(data, want) {
		t.Fatalf("entries %q, want %q", data, want)
	}
}

func wantLen(t *testing.T, c *Client, key string, want int64) {
	t.Helper()
	if n, err := c.rdb.XLen(t.Context(), key).Result(); err != nil || n != want {
		t.Fatalf("%s has %d entries (%v), want %d", key, n, err, want)
	}
}

func wantPending(t *testing.T, c *Client, partition int, want int64) {
	t.Helper()
	p, err := c.rdb.XPending(t.Context(), c.keys.In(partition), stream.DefaultGroup).Result()
	if err != nil || p.Count != want {
		t.Fatalf("partition %d: %d pending (%v), want %d", partition, p.Count, err, want)
	}
}

var allPartitions = []int{0, 1, 2, 3}

func TestReadTakesEachPartitionInOrder(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		addIn(t, c, 1, "before the group")
		g := newTestGroup(t, c, "a")
		if err := g.Create(t.Context()); err != nil {
			t.Fatalf("the second Create: %v", err)
		}
		addIn(t, c, 1, "two")
		addIn(t, c, 1, "three")
		addIn(t, c, 3, "other")
		got, err := g.Read(t.Context(), Reading{Partitions: []int{1, 3}, Count: 2})
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, got, "before the group", "two", "other")
		if got[2].Partition != 3 {
			t.Fatalf("partition %d, want 3", got[2].Partition)
		}
		got, err = g.Read(t.Context(), Reading{Partitions: []int{1, 3}, Count: 2})
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, got, "three")
		got, err = g.Read(t.Context(), Reading{Partitions: allPartitions, Count: 2, Block: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, got)
	})
}

func TestReadWakesOnEntry(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g := newTestGroup(t, c, "a")
		read := make(chan []Delivery)
		go func() {
			defer close(read)
			for t.Context().Err() == nil {
				got, err := g.Read(context.Background(), Reading{Partitions: allPartitions, Count: 8, Block: time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) > 0 {
					read <- got
					return
				}
			}
		}()
		addIn(t, c, 2, "x")
		wantData(t, <-read, "x")
	})
}

func TestCommitIsOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		g, robber := newTestGroup(t, c, "a"), newTestGroup(t, c, "b")
		c.rdb.XAdd(ctx, &goredis.XAddArgs{Stream: c.keys.Node("n1"), Values: []string{"kind", "wake"}})
		ref, ackOnly := addIn(t, c, 0, "x"), addIn(t, c, 1, "y")
		if _, err := g.Read(ctx, Reading{Partitions: allPartitions, Count: 8}); err != nil {
			t.Fatal(err)
		}
		out := c.keys.Out(stream.Partition("c", testPartitions))
		batch := []Outcome{
			{
				Ref:          ref,
				Seen:         c.keys.Seen(0, "ann", "k"),
				Publications: []stream.Publication{{Channel: "c", Data: "p1", Binary: true}, {Channel: "c", Data: "p2"}},
				Answers: []NodeAnswer{
					{Node: "n1", Answer: stream.Answer{Kind: stream.KindRes, Conn: "s", Ref: "1", Data: "r"}},
					{Node: "gone", Answer: stream.Answer{Kind: stream.KindRes, Conn: "s", Ref: "1", Data: "r"}},
				},
			},
			{Ref: ackOnly},
		}
		for i, want := range []int{2, 0} { // the second is what a consumer does whose answer was lost
			if n, err := g.Commit(ctx, batch, time.Minute); err != nil || n != want {
				t.Fatalf("commit %d: %d entries (%v), want %d", i, n, err, want)
			}
		}
		if n, err := robber.Commit(ctx, batch, time.Minute); err != nil || n != 0 {
			t.Fatalf("commit by another consumer: %d entries (%v), want 0", n, err)
		}
		wantLen(t, c, out, 2)
		wantLen(t, c, c.keys.Node("n1"), 2)
		wantLen(t, c, c.keys.Node("gone"), 0) // an answer makes no stream for a node that is gone
		wantPending(t, c, 0, 0)
		wantPending(t, c, 1, 0)

		entries, err := c.rdb.XRange(ctx, out, "-", "+").Result()
		if err != nil || entries[0].Values["data"] != "p1" || entries[0].Values["enc"] != "b" || entries[1].Values["data"] != "p2" {
			t.Fatalf("out: %v (%v)", entries, err)
		}
		seen, err := g.Seen(ctx, []string{batch[0].Seen, c.keys.Seen(0, "ann", "other")})
		if err != nil || !slices.Equal(seen, []bool{true, false}) {
			t.Fatalf("seen %v (%v)", seen, err)
		}
		if ttl := c.rdb.PTTL(ctx, batch[0].Seen).Val(); ttl <= 0 || ttl > time.Minute {
			t.Fatalf("seen for %v, want up to a minute", ttl)
		}
	})
}

func TestCommitReadDoesBoth(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		g := newTestGroup(t, c, "a")
		reading := Reading{Partitions: allPartitions, Count: 1}
		if loaded := c.rdb.ScriptExists(ctx, g.commitSHA).Val(); !slices.Equal(loaded, []bool{true}) {
			t.Fatal("the script is not loaded: the first commit would wait for the read behind it")
		}
		refs := []Ref{addIn(t, c, 0, "0"), addIn(t, c, 0, "1"), addIn(t, c, 0, "2")}
		if _, err := g.Read(ctx, reading); err != nil {
			t.Fatal(err)
		}
		for i, ref := range refs[:2] {
			if i == 1 {
				c.rdb.ScriptFlush(ctx) // as after a restart
			}
			o := Outcome{Ref: ref, Publications: []stream.Publication{{Channel: "c", Data: "p"}}}
			got, done, err := g.CommitRead(ctx, []Outcome{o}, time.Minute, reading)
			if err != nil || done != 1 {
				t.Fatalf("commit of %v: %d entries (%v), want 1", ref, done, err)
			}
			wantData(t, got, fmt.Sprint(i+1))
		}
		wantLen(t, c, c.keys.Out(stream.Partition("c", testPartitions)), 2)
		wantPending(t, c, 0, 1)
	})
}

func TestCommitDropsRepeatedPublication(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g := newTestGroup(t, c, "a")
		first, again := addIn(t, c, 0, "x"), addIn(t, c, 0, "x")
		if _, err := g.Read(t.Context(), Reading{Partitions: allPartitions, Count: 8}); err != nil {
			t.Fatal(err)
		}
		seen := c.keys.Seen(0, "ann", "k")
		for i, ref := range []Ref{first, again} {
			o := Outcome{Ref: ref, Seen: seen, Publications: []stream.Publication{{Channel: "c", Data: "p"}}}
			if n, err := g.Commit(t.Context(), []Outcome{o}, time.Minute); err != nil || n != 1-i {
				t.Fatalf("commit %d: %d entries (%v)", i, n, err)
			}
		}
		wantLen(t, c, c.keys.Out(stream.Partition("c", testPartitions)), 1)
		wantPending(t, c, 0, 0)
	})
}

func TestClaimFollowsCursor(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		dead, g := newTestGroup(t, c, "dead"), newTestGroup(t, c, "a")
		for i := range 5 {
			addIn(t, c, 1, fmt.Sprint(i))
		}
		addIn(t, c, 2, "other")
		if _, err := dead.Read(ctx, Reading{Partitions: allPartitions, Count: 8}); err != nil {
			t.Fatal(err)
		}
		cursor := make([]stream.ID, 2)
		got, err := g.Claim(ctx, []int{1, 2}, cursor, time.Hour, 3)
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, got)
		if got, err = g.Claim(ctx, []int{1, 2}, cursor, 0, 3); err != nil {
			t.Fatal(err)
		}
		wantData(t, got, "0", "1", "2", "other")
		if cursor[0] == (stream.ID{}) {
			t.Fatal("the cursor of partition 1 is at the end before its end")
		}
		if got, err = g.Claim(ctx, []int{1}, cursor[:1], 0, 3); err != nil {
			t.Fatal(err)
		}
		wantData(t, got, "3", "4")
		if cursor[0] != (stream.ID{}) {
			t.Fatalf("cursor %v after the last pending entry, want zero", cursor[0])
		}
		attempts, err := g.Attempts(ctx, []Ref{got[0].Ref, {Partition: 3, ID: got[0].ID}})
		if err != nil || !slices.Equal(attempts, []int64{2, 0}) {
			t.Fatalf("attempts %v (%v), want 2 and 0", attempts, err)
		}
	})
}

func TestRenewKeepsEntriesFromClaims(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		slow, g := newTestGroup(t, c, "slow"), newTestGroup(t, c, "a")
		kept, committed := addIn(t, c, 1, "x"), addIn(t, c, 2, "y")
		if _, err := slow.Read(ctx, Reading{Partitions: allPartitions, Count: 8}); err != nil {
			t.Fatal(err)
		}
		if _, err := slow.Commit(ctx, []Outcome{{Ref: committed}}, 0); err != nil {
			t.Fatal(err)
		}
		idle := func() time.Duration {
			p, err := c.rdb.XPendingExt(ctx, &goredis.XPendingExtArgs{Stream: c.keys.In(1), Group: g.name, Start: "-", End: "+", Count: 9}).Result()
			if err != nil || len(p) != 1 || p[0].Consumer != "slow" {
				t.Fatalf("pending %v (%v)", p, err)
			}
			return p[0].Idle
		}
		before := idle()
		for ; before < 100*time.Millisecond; before = idle() {
			<-time.After(time.Millisecond)
		}
		if err := slow.Renew(ctx, []Ref{kept, committed}); err != nil {
			t.Fatal(err)
		}
		if d := idle(); d >= before {
			t.Fatalf("idle for %v before Renew and %v after it", before, d)
		}
		wantPending(t, c, 2, 0) // what was committed has not come back
	})
}

func TestFlushMeansNoGroup(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		g := newTestGroup(t, c, "a")
		c.rdb.FlushAll(ctx)
		if _, err := g.Read(ctx, Reading{Partitions: allPartitions, Count: 8}); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("Read: %v, want ErrNoGroup", err)
		}
		if _, err := g.Claim(ctx, allPartitions, make([]stream.ID, 4), 0, 8); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("Claim: %v, want ErrNoGroup", err)
		}
		if n, err := g.Commit(ctx, []Outcome{{Ref: Ref{ID: stream.ID{MS: 1}}}}, 0); n != 0 || err != nil {
			t.Fatalf("Commit: %d, %v: what Redis lost has no effects", n, err)
		}
		if err := g.Create(ctx); err != nil {
			t.Fatal(err)
		}
		addIn(t, c, 0, "new life")
		got, err := g.Read(ctx, Reading{Partitions: allPartitions, Count: 8})
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, got, "new life")
	})
}

func TestLeaveKeepsWhatIsPending(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		g := newTestGroup(t, c, "a")
		addIn(t, c, 0, "x")
		done := addIn(t, c, 1, "y")
		if _, err := g.Read(ctx, Reading{Partitions: allPartitions, Count: 8}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Commit(ctx, []Outcome{{Ref: done}}, 0); err != nil {
			t.Fatal(err)
		}
		if err := g.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		wantPending(t, c, 0, 1)
		for p, want := range []int{1, 0} {
			if got := c.rdb.XInfoConsumers(ctx, c.keys.In(p), g.name).Val(); len(got) != want {
				t.Fatalf("partition %d: consumers %v, want %d", p, got, want)
			}
		}
	})
}

// TestCommitWithoutMemory: Redis refuses the whole script, or none of it.
func TestCommitWithoutMemory(t *testing.T) {
	s := redistest.Start(t)
	c := newTestClient(t, s.URL())
	g := newTestGroup(t, c, "a")
	ref := addIn(t, c, 0, "x")
	if _, err := g.Read(t.Context(), Reading{Partitions: allPartitions, Count: 8}); err != nil {
		t.Fatal(err)
	}
	s.CLI("CONFIG", "SET", "maxmemory", "1")
	n, err := g.Commit(t.Context(), []Outcome{{Ref: ref, Publications: []stream.Publication{{Channel: "c", Data: "p"}}}}, 0)
	s.CLI("CONFIG", "SET", "maxmemory", "0")
	published := c.rdb.XLen(t.Context(), c.keys.Out(stream.Partition("c", testPartitions))).Val()
	pending := c.rdb.XPending(t.Context(), c.keys.In(0), g.name).Val().Count
	if committed := err == nil && n == 1; committed && (published != 1 || pending != 0) || !committed && (published != 0 || pending != 1) {
		t.Fatalf("commit said %d, %v; %d published, %d pending", n, err, published, pending)
	}
}

func TestEntriesThatWereDeleted(t *testing.T) {
	s := redistest.Start(t)
	c := newTestClient(t, s.URL())
	g := newTestGroup(t, c, "a")
	gone := addIn(t, c, 0, "x")
	addIn(t, c, 0, "y")
	if _, err := g.Read(t.Context(), Reading{Partitions: allPartitions, Count: 8}); err != nil {
		t.Fatal(err)
	}
	c.rdb.XDel(t.Context(), c.keys.In(0), gone.ID.String())
	got, err := g.Claim(t.Context(), allPartitions, make([]stream.ID, 4), 0, 8)
	if err != nil {
		t.Fatal(err)
	}
	wantData(t, got, "y")
}

// FuzzParseClaim builds an answer of nested lists from text: "(" opens one, ")" closes it, "~" is nil, "#" a number,
// everything else up to a blank is a string.
func FuzzParseClaim(f *testing.F) {
	f.Add("( 0-0 ( ( 1-1 ( kind pub ch c ) ) ) ( 5-5 ) )")
	f.Add("( 7-1 ( ~ ( 1-1 ~ ) ( 1-1 ) ( # ( a ) ) ) )")
	f.Add("( ( ) ( ( ) ) ) x # ~")
	f.Fuzz(func(t *testing.T, text string) {
		reply, _ := buildReply(strings.Fields(text), 0)
		for _, r := range append(reply, any(reply)) {
			entries, next, err := parseClaim(r)
			if err != nil && !errors.Is(err, errReply) {
				t.Fatalf("error %v does not wrap errReply", err)
			}
			if err == nil && next.String() != r.([]any)[0] {
				t.Fatalf("cursor %v of %v", next, r)
			}
			for _, e := range entries {
				_, _ = stream.DecodeEvent(e.Fields)
			}
			_, _ = parseStreams(r)
		}
	})
}

func buildReply(words []string, depth int) (list []any, rest []string) {
	list = []any{}
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case w == "(" && depth < 9:
			var inner []any
			inner, words = buildReply(words, depth+1)
			list = append(list, inner)
		case w == ")" && depth > 0:
			return list, words
		case w == "~":
			list = append(list, nil)
		case w == "#":
			list = append(list, int64(len(words)))
		default:
			list = append(list, w)
		}
	}
	return list, nil
}
