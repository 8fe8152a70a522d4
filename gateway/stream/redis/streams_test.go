package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

// onBoth runs a test on the embedded Redis and on the real one.
func onBoth(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("embedded", func(t *testing.T) { f(t, "redis://"+miniredis.RunT(t).Addr()) })
	t.Run("real", func(t *testing.T) { f(t, redistest.Start(t).URL()) })
}

func newTestClient(t *testing.T, cfg redis.Config) *redis.Client {
	t.Helper()
	c, err := redis.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAppendReadTails(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		c, ctx := newTestClient(t, redis.Config{URL: url}), t.Context()
		if err := c.Connect(ctx, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		var adds []stream.Add
		for i := range 500 {
			p := stream.Publication{Channel: "c", Data: fmt.Sprint(i)}
			adds = append(adds, stream.Add{Key: c.Keys().Out(i % 2), Values: p.Values()})
		}
		adds = append(adds, stream.Add{Key: c.Keys().Meta(), Values: []any{"x", "y"}}) // not a stream
		errs := c.Append(ctx, adds)
		for i, err := range errs[:500] {
			if err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
		}
		if errs[500] == nil {
			t.Error("writing to a hash has no error of its own")
		}
		tails, err := c.Tails(ctx, []string{c.Keys().Out(0), c.Keys().Out(9)})
		if err != nil || tails[0] == (stream.ID{}) || tails[1] != (stream.ID{}) {
			t.Fatalf("%v, %v", tails, err)
		}
		cursors := []stream.Cursor{{Key: c.Keys().Out(0)}, {Key: c.Keys().Out(1)}, {Key: c.Keys().Out(2)}}
		next := []int{0, 1}
		for n := 0; n < 500; {
			all, err := c.Read(ctx, cursors, 100, 100*time.Millisecond)
			if err != nil || len(all) == 0 {
				t.Fatalf("%d entries, %v", len(all), err)
			}
			for _, s := range all {
				k := 0
				if s.Key == cursors[1].Key {
					k = 1
				}
				for _, e := range s.Entries {
					p, err := stream.DecodePublication(e.Fields)
					if err != nil || p.Data != fmt.Sprint(next[k]) || !cursors[k].ID.Before(e.ID) {
						t.Fatalf("%+v, %v; want %d", p, err, next[k])
					}
					next[k] += 2
					n++
					cursors[k].ID = e.ID
				}
			}
		}
		if tails[0] != cursors[0].ID {
			t.Errorf("tail %v, last entry %v", tails[0], cursors[0].ID)
		}
		if all, err := c.Read(ctx, cursors, 100, 20*time.Millisecond); err != nil || len(all) != 0 {
			t.Errorf("nothing new: %v, %v", all, err)
		}
	})
}

func TestReadWakesUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		c := newTestClient(t, redis.Config{URL: url})
		got := make(chan error, 1)
		go func() {
			all, err := c.Read(t.Context(), []stream.Cursor{{Key: "a"}, {Key: "b"}}, 10, 2*time.Second)
			if err == nil && (len(all) != 1 || all[0].Key != "b") {
				err = fmt.Errorf("got %v", all)
			}
			got <- err
		}()
		for { // until it has been read: the reader may not be waiting yet
			c.Append(t.Context(), []stream.Add{{Key: "b", Values: []any{"k", "v"}}})
			select {
			case err := <-got:
				if err != nil {
					t.Fatal(err)
				}
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}

func TestMaxLenAndKeepNode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		c, ctx := newTestClient(t, redis.Config{URL: url}), t.Context()
		for range 30 {
			adds := make([]stream.Add, 100)
			for i := range adds {
				adds[i] = stream.Add{Key: "out", MaxLen: 1000, Values: []any{"k", "v"}}
			}
			c.Append(ctx, adds)
		}
		all, err := c.Read(ctx, []stream.Cursor{{Key: "out"}}, 10_000, time.Millisecond)
		if err != nil || len(all[0].Entries) < 1000 || len(all[0].Entries) > 1200 {
			t.Fatalf("%d entries at about 1000, %v", len(all[0].Entries), err)
		}
		last := all[0].Entries[len(all[0].Entries)-1].ID
		if err := c.KeepNode(ctx, "out", last, time.Minute); err != nil {
			t.Fatal(err)
		}
		if all, err = c.Read(ctx, []stream.Cursor{{Key: "out"}}, 10_000, time.Millisecond); err != nil || len(all[0].Entries) != 1 {
			t.Fatalf("what was read is still there: %v, %v", all, err)
		}
		if err := c.Delete(ctx, "out"); err != nil {
			t.Fatal(err)
		}
	})
}

// What a group has not acknowledged is never trimmed; what all have is; and one node at a time does it.
func TestTrimIn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		c, ctx := newTestClient(t, redis.Config{URL: url, Partitions: 2}), t.Context()
		opt, err := goredis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		raw := goredis.NewClient(opt)
		defer func() { _ = raw.Close() }()
		key, unread := c.Keys().In(0), c.Keys().In(1)
		for range 10 {
			c.Append(ctx, []stream.Add{{Key: key, Values: []any{"k", "v"}}, {Key: unread, Values: []any{"k", "v"}}})
		}
		read := func(group string, ack int) {
			raw.XGroupCreate(ctx, key, group, "0")
			got, err := raw.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: 8, Block: -1}).Result()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range got[0].Messages[:ack] {
				raw.XAck(ctx, key, group, m.ID)
			}
		}
		wantLeft := func(want int64) {
			t.Helper()
			raw.Del(ctx, c.Keys().Trim())
			if _, err := c.TrimIn(ctx, "n", time.Minute); err != nil {
				t.Fatal(err)
			}
			if n := raw.XLen(ctx, key).Val(); n != want {
				t.Fatalf("%d entries left, want %d", n, want)
			}
			if n := raw.XLen(ctx, unread).Val(); n != 10 {
				t.Fatalf("%d entries left in the stream that nobody reads", n)
			}
			if n, err := c.TrimIn(ctx, "other", time.Minute); n != 0 || err != nil {
				t.Fatalf("a second node trims: %d, %v", n, err)
			}
		}
		wantLeft(10)
		read("fast", 8) // of 10
		wantLeft(2)
		raw.XGroupCreate(ctx, key, "slow", "0") // too late for what has gone
		wantLeft(2)
		read("slow", 0)
		wantLeft(2)
	})
}

func TestMeta(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		first := newTestClient(t, redis.Config{URL: url, Partitions: 16})
		if err := first.Connect(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		err := newTestClient(t, redis.Config{URL: url}).Connect(t.Context(), 5*time.Second)
		if !errors.Is(err, redis.ErrMismatch) || !strings.Contains(err.Error(), "16") || !strings.Contains(err.Error(), "64") {
			t.Fatalf("%v", err)
		}
		if err := newTestClient(t, redis.Config{URL: url, Prefix: "other"}).Connect(t.Context(), 5*time.Second); err != nil {
			t.Fatalf("another prefix is another installation: %v", err)
		}
	})
}
