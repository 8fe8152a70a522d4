package redis_test

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Gateways see those of the others that have beaten of late; whoever leaves, is silent or writes nonsense does not count.
func TestFleet(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		c, ctx := newTestClient(t, redis.Config{URL: url, Prefix: "p"}), t.Context()
		key := stream.Keys{Prefix: "p"}.Gateways()
		opts, err := goredis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		raw := goredis.NewClient(opts)
		defer func() { _ = raw.Close() }()
		want := func(others map[string]stream.Gateway, err error, rates map[string]int) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if len(others) != len(rates) {
				t.Fatalf("%+v, want %v", others, rates)
			}
			for name, rate := range rates {
				if others[name].AcceptRate != rate || others[name].At == 0 {
					t.Fatalf("%s: %+v, want a rate of %d", name, others[name], rate)
				}
			}
		}
		old := func(age time.Duration) string {
			return stream.Gateway{AcceptRate: 9, At: raw.Time(ctx).Val().Add(-age).UnixMilli()}.Encode()
		}
		others, err := c.Beat(ctx, "a", stream.Gateway{AcceptRate: 1, Connections: 5})
		want(others, err, nil)
		others, err = c.Beat(ctx, "b", stream.Gateway{AcceptRate: 2})
		want(others, err, map[string]int{"a": 1})
		raw.HSet(ctx, key, "silent", old(11*time.Second), "dead", old(2*time.Minute), "mad", "{")
		others, err = c.Beat(ctx, "a", stream.Gateway{AcceptRate: 3})
		want(others, err, map[string]int{"b": 2})
		if names := raw.HKeys(ctx, key).Val(); len(names) != 3 {
			t.Fatalf("the hash still has %v; want a, b and the one that was silent for a while only", names)
		}
		others, err = c.Leave(ctx, "a")
		want(others, err, map[string]int{"b": 2})
		others, err = c.Leave(ctx, "a")
		want(others, err, map[string]int{"b": 2})
		others, err = c.Beat(ctx, "b", stream.Gateway{AcceptRate: 2})
		want(others, err, nil)
	})
}
