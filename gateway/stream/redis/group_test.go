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

// onEverySlot runs one suite with all partitions on one server, and as if each were on its own.
func onEverySlot(t *testing.T, test func(t *testing.T, c *Client, g *Group)) {
	t.Parallel()
	for _, multi := range []bool{false, true} {
		t.Run(fmt.Sprintf("multiSlot=%v", multi), func(t *testing.T) {
			t.Parallel()
			c := newTestClient(t, redistest.Start(t).URL())
			g := newTestGroup(t, c, "a")
			g.multiSlot = multi
			test(t, c, g)
		})
	}
}

// onEveryRedis runs one suite on the imitation and on the real thing, which must agree.
func onEveryRedis(t *testing.T, test func(t *testing.T, c *Client)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, newTestClient(t, "redis://"+miniredis.RunT(t).Addr()))
	})
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		test(t, newTestClient(t, redistest.Start(t).URL()))
	})
}

func newTestClient(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Config{URL: url, Partitions: testPartitions, Conns: 4 + testPartitions})
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

func newTestReader(t *testing.T, g *Group) *Reader {
	t.Helper()
	r := g.Reader()
	t.Cleanup(r.Close)
	return r
}

// mustAcquire gets the leases of all partitions, which must be free.
func mustAcquire(t *testing.T, g *Group, ttl time.Duration) []*Lease {
	t.Helper()
	leases, err := g.Acquire(t.Context(), allPartitions, ttl)
	if err != nil || len(leases) != testPartitions {
		t.Fatalf("%d leases (%v), want all", len(leases), err)
	}
	return leases
}

func mustRead(t *testing.T, g *Group, leases []*Lease) []Delivery {
	t.Helper()
	got, err := newTestReader(t, g).Read(t.Context(), Reading{Leases: leases, Count: 8})
	if err != nil || len(got.Lost) > 0 {
		t.Fatalf("lost %v (%v)", got.Lost, err)
	}
	return got.Deliveries
}

func mustCommit(t *testing.T, g *Group, l *Lease, want int, outcomes ...Outcome) {
	t.Helper()
	if n, err := g.Commit(t.Context(), []Batch{{l, outcomes}}, time.Minute); err != nil || n[0] != want {
		t.Fatalf("commit: %v (%v), want %d", n, err, want)
	}
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

// wantPending is about partition 0.
func wantPending(t *testing.T, c *Client, want int64) {
	t.Helper()
	p, err := c.rdb.XPending(t.Context(), c.keys.In(0), stream.DefaultGroup).Result()
	if err != nil || p.Count != want {
		t.Fatalf("%d pending (%v), want %d", p.Count, err, want)
	}
}

var allPartitions = []int{0, 1, 2, 3}

func TestReadTakesEachPartitionInOrder(t *testing.T) {
	onEverySlot(t, func(t *testing.T, c *Client, g *Group) {
		addIn(t, c, 1, "one")
		if err := g.Create(t.Context()); err != nil {
			t.Fatalf("the second Create: %v", err)
		}
		addIn(t, c, 1, "two")
		addIn(t, c, 1, "three")
		addIn(t, c, 3, "other")
		leases := mustAcquire(t, g, time.Minute)
		r := Reading{Leases: []*Lease{leases[1], leases[3]}, Count: 2, Block: 5 * time.Millisecond}
		for _, want := range [][]string{{"one", "two", "other"}, {"three"}, nil} {
			got, err := newTestReader(t, g).Read(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			wantData(t, got.Deliveries, want...)
			if len(want) == 3 && (got.Deliveries[2].Partition != 3 || got.Deliveries[2].Attempt != 1) {
				t.Fatalf("%v, want the first attempt of partition 3", got.Deliveries[2])
			}
		}
	})
}

func TestReadWakesOnEntry(t *testing.T) {
	onEverySlot(t, func(t *testing.T, c *Client, g *Group) {
		addIn(t, c, 2, "old")
		leases := mustAcquire(t, g, time.Minute)
		wantData(t, mustRead(t, g, leases), "old")
		read := make(chan []Delivery)
		go func() {
			defer close(read)
			for t.Context().Err() == nil {
				got, err := newTestReader(t, g).Read(context.Background(), Reading{Leases: leases, Count: 8, Block: time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				if len(got.Deliveries) > 0 {
					read <- got.Deliveries
					return
				}
			}
		}()
		addIn(t, c, 2, "x")
		wantData(t, <-read, "x")
	})
}

// TestWatchGoesOnBehindWhatOthersTook: an entry that a consumer without leases has read does not end each wait from then on.
func TestWatchGoesOnBehindWhatOthersTook(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, redistest.Start(t).URL())
	g := newTestGroup(t, c, "a")
	g.multiSlot = true
	leases := mustAcquire(t, g, time.Minute)
	addIn(t, c, 0, "x")
	c.rdb.Do(t.Context(), "XREADGROUP", "GROUP", g.name, "stranger", "STREAMS", c.keys.In(0), ">")
	last, err := c.Tails(t.Context(), []string{c.keys.In(0)})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); leases[0].after != last[0]; {
		got, err := newTestReader(t, g).Read(t.Context(), Reading{Leases: leases, Count: 8, Block: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, got.Deliveries)
		if time.Now().After(deadline) {
			t.Fatalf("waits behind %v, want %v", leases[0].after, last[0])
		}
	}
}

func TestCommitIsOnce(t *testing.T) {
	onEverySlot(t, func(t *testing.T, c *Client, g *Group) {
		ctx := t.Context()
		c.rdb.XAdd(ctx, &goredis.XAddArgs{Stream: c.keys.Node("n1"), Values: []string{"kind", "wake"}})
		ref, ackOnly := addIn(t, c, 0, "x"), addIn(t, c, 0, "y")
		leases := mustAcquire(t, g, time.Minute)
		mustRead(t, g, leases)
		q := stream.Partition("c", testPartitions)
		if q == 0 {
			t.Fatal("want a channel of another partition")
		}
		batch := []Outcome{
			{
				Ref: ref, Seen: c.keys.Seen(0, "ann", "k"), SeenValue: "v",
				Publications: []stream.Publication{{Channel: "c", Data: "p1", Binary: true}, {Channel: "c", Data: "p2"}, {Kind: stream.KindKick, User: "eve"}},
				Answers: []NodeAnswer{
					{Node: "n1", Answer: stream.Answer{Kind: stream.KindRes, Conn: "s", Ref: "1", Data: "r"}},
					{Node: "gone", Answer: stream.Answer{Kind: stream.KindRes, Conn: "s", Ref: "1", Data: "r"}},
				},
			},
			{Ref: ackOnly},
		}
		mustCommit(t, g, leases[0], 2, batch...)
		wantLen(t, c, c.keys.Node("n1"), 2)
		mustCommit(t, g, leases[0], 0, batch...) // as after an answer that was lost
		kicked := stream.Partition("eve", testPartitions)
		if kicked == q {
			t.Fatal("want a user of another partition")
		}
		wantLen(t, c, c.keys.Out(q), 2)
		wantLen(t, c, c.keys.Out(kicked), 1)
		wantLen(t, c, c.keys.Node("gone"), 0) // an answer makes no stream for a node that is gone
		wantPending(t, c, 0)
		entries, err := c.rdb.XRange(ctx, c.keys.Out(q), "-", "+").Result()
		if err != nil || entries[0].Values["data"] != "p1" || entries[0].Values["enc"] != "b" || entries[1].Values["data"] != "p2" {
			t.Fatalf("out: %v (%v)", entries, err)
		}
		seen, err := g.Seen(ctx, []string{batch[0].Seen, c.keys.Seen(0, "ann", "other")})
		if err != nil || !slices.Equal(seen, []string{"v", ""}) {
			t.Fatalf("seen %q (%v)", seen, err)
		}
		for _, key := range c.rdb.Keys(ctx, "*").Val() {
			mark := strings.Contains(key, ":seen:") || strings.Contains(key, ":done:")
			if ttl := c.rdb.PTTL(ctx, key).Val(); mark && (ttl <= 0 || ttl > time.Minute) {
				t.Fatalf("%s for %v, want up to a minute", key, ttl)
			}
		}
	})
}

func TestCommitReadDoesBoth(t *testing.T) {
	onEverySlot(t, func(t *testing.T, c *Client, g *Group) {
		ctx := t.Context()
		if loaded := c.rdb.ScriptExists(ctx, commit.sha).Val(); !g.multiSlot && !loaded[0] {
			t.Fatal("the script is not loaded: the first commit would wait for the read behind it")
		}
		refs := []Ref{addIn(t, c, 0, "0"), addIn(t, c, 0, "1"), addIn(t, c, 0, "2")}
		leases := mustAcquire(t, g, time.Minute)
		r := Reading{Leases: leases, Count: 1}
		if _, err := newTestReader(t, g).Read(ctx, r); err != nil {
			t.Fatal(err)
		}
		for i, ref := range refs[:2] {
			if i == 1 {
				c.rdb.ScriptFlush(ctx) // as after a restart
			}
			o := Outcome{Ref: ref, Publications: []stream.Publication{{Channel: "c", Data: "p"}}}
			got, done, err := newTestReader(t, g).CommitRead(ctx, []Batch{{leases[0], []Outcome{o}}}, time.Minute, r)
			if err != nil || done[0] != 1 {
				t.Fatalf("commit of %v: %d entries (%v), want 1", ref, done, err)
			}
			wantData(t, got.Deliveries, fmt.Sprint(i+1))
		}
		wantLen(t, c, c.keys.Out(stream.Partition("c", testPartitions)), 2)
		wantPending(t, c, 1)
	})
}

func TestCommitDropsRepeatedPublication(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		g := newTestGroup(t, c, "a")
		refs := []Ref{addIn(t, c, 0, "x"), addIn(t, c, 0, "x")}
		leases := mustAcquire(t, g, time.Minute)
		mustRead(t, g, leases)
		for i, ref := range refs {
			mustCommit(t, g, leases[0], 1-i, Outcome{
				Ref: ref, Seen: c.keys.Seen(0, "ann", "k"), SeenValue: "1", Publications: []stream.Publication{{Channel: "c", Data: "p"}},
			})
		}
		wantLen(t, c, c.keys.Out(stream.Partition("c", testPartitions)), 1)
		wantPending(t, c, 0)
	})
}

func TestFlushMeansNoGroup(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, c *Client) {
		ctx := t.Context()
		g := newTestGroup(t, c, "a")
		leases := mustAcquire(t, g, time.Minute)
		c.rdb.FlushAll(ctx)
		if got, err := newTestReader(t, g).Read(ctx, Reading{Leases: leases, Count: 8}); err != nil || len(got.Lost) != testPartitions {
			t.Fatalf("Read: lost %v, %v", got.Lost, err)
		}
		if _, err := g.Acquire(ctx, allPartitions, time.Minute); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("Acquire: %v, want ErrNoGroup", err)
		}
		if err := g.Create(ctx); err != nil {
			t.Fatal(err)
		}
		leases = mustAcquire(t, g, time.Minute)
		c.rdb.XGroupDestroy(ctx, c.keys.In(0), g.name)
		if _, err := newTestReader(t, g).Read(ctx, Reading{Leases: leases, Count: 8}); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("Read without a group: %v, want ErrNoGroup", err)
		}
		if _, err := g.Next(ctx, leases[0], &Claim{}); !errors.Is(err, ErrNoGroup) {
			t.Fatalf("Next: %v, want ErrNoGroup", err)
		}
		if err := g.Create(ctx); err != nil {
			t.Fatal(err)
		}
		addIn(t, c, 0, "new life")
		wantData(t, mustRead(t, g, leases), "new life")
	})
}

// TestCommitWithoutMemory: Redis refuses the whole script, or none of it.
func TestCommitWithoutMemory(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newTestClient(t, s.URL())
	g := newTestGroup(t, c, "a")
	ref := addIn(t, c, 0, "x")
	leases := mustAcquire(t, g, time.Minute)
	mustRead(t, g, leases)
	s.CLI("CONFIG", "SET", "maxmemory", "1")
	o := Outcome{Ref: ref, Publications: []stream.Publication{{Channel: "c", Data: "p"}}}
	n, err := g.Commit(t.Context(), []Batch{{leases[0], []Outcome{o}}}, 0)
	s.CLI("CONFIG", "SET", "maxmemory", "0")
	published := c.rdb.XLen(t.Context(), c.keys.Out(stream.Partition("c", testPartitions))).Val()
	pending := c.rdb.XPending(t.Context(), c.keys.In(0), g.name).Val().Count
	if committed := err == nil && n[0] == 1; committed && (published != 1 || pending != 0) || !committed && (published != 0 || pending != 1) {
		t.Fatalf("commit said %d, %v; %d published, %d pending", n, err, published, pending)
	}
}

// FuzzParseStreams builds an answer of nested lists from text: "(" opens one, ")" closes it, "~" is nil, "#" a number,
// everything else up to a blank is a string.
func FuzzParseStreams(f *testing.F) {
	f.Add("( ( k ( ( 1-1 ( kind pub ch c ) ) ) ) )")
	f.Add("( 7-1 ( ~ ( 1-1 ~ ) ( 1-1 ) ( # ( a ) ) ) )")
	f.Add("( ( ) ( ( ) ) ) x # ~")
	f.Fuzz(func(t *testing.T, text string) {
		reply, _ := buildReply(strings.Fields(text), 0)
		for _, r := range append(reply, any(reply)) {
			streams, err := parseStreams(r)
			if err != nil && !errors.Is(err, errReply) {
				t.Fatalf("error %v does not wrap errReply", err)
			}
			for _, s := range streams {
				for _, e := range s.Entries {
					_, _ = stream.DecodeEvent(e.Fields)
					_, _ = parseDead(e)
				}
			}
			_, _ = parseEntries(r)
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
