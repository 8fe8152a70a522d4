package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// ErrNoGroup says that Redis has lost a stream or its consumer group, by FLUSHALL or a failover: create it again.
var ErrNoGroup = errors.New("no consumer group")

// Group is one consumer of the group that shares the `in` streams. It commits a partition under a [Lease], and
// a [Reader] of it reads. All methods may be called concurrently.
type Group struct {
	// Immutable after [Client.Group].
	c         *Client
	name      string
	consumer  string
	in        []string       // by partition
	lease     []string       // by partition
	gate      []string       // by partition
	byKey     map[string]int // partition of in
	multiSlot bool           // Redis refuses one script call or one read over keys of several partitions (Redis Cluster)

	commits atomic.Int64 // answered so far
}

// Ref names one entry of an `in` stream.
type Ref struct {
	Partition int
	ID        stream.ID
}

// Delivery is one entry of an `in` stream, pending for this consumer until it is committed.
type Delivery struct {
	Ref
	Fields  []string // as [Entry.Fields]
	Attempt int64    // 1 for a new entry; one more for each process that had it before and died
}

// Group is the consumer side of the `in` streams. It does not speak to Redis yet; the group is made by [Group.Create].
func (c *Client) Group(name, consumer string) *Group {
	g := &Group{
		c: c, name: name, consumer: consumer, multiSlot: c.cluster != nil,
		in:    make([]string, c.partitions),
		lease: make([]string, c.partitions),
		gate:  make([]string, c.partitions),
		byKey: make(map[string]int, c.partitions),
	}
	for p := range g.in {
		g.in[p] = c.keys.In(p)
		g.lease[p] = c.keys.Lease(p, name)
		g.gate[p] = c.keys.Gate(p, name)
		g.byKey[g.in[p]] = p
	}
	return g
}

// Create makes the group on every partition, from the first entry on, and hands a single server the script of commits: a
// commit that is sent again with its text would wait for the read behind it. What is there stays as it is.
func (g *Group) Create(ctx context.Context) error {
	cmds, err := g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		if !g.multiSlot {
			p.ScriptLoad(ctx, commit.text)
		}
		for _, key := range g.in {
			p.XGroupCreateMkStream(ctx, key, g.name, "0")
		}
		return nil
	})
	if !goredis.HasErrorPrefix(err, "BUSYGROUP") {
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !goredis.HasErrorPrefix(err, "BUSYGROUP") {
			return err
		}
	}
	return nil
}

// Seen are the values that commits have given to seen keys within their window, "" for one that is not set; one round trip.
func (g *Group) Seen(ctx context.Context, keys []string) ([]string, error) {
	out := make([]string, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	if !g.multiSlot {
		values, err := g.c.rdb.MGet(ctx, keys...).Result()
		for i, v := range values {
			out[i], _ = v.(string)
		}
		return out, err
	}
	cmds := make([]*goredis.StringCmd, len(keys))
	_, _ = g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, key := range keys {
			cmds[i] = p.Get(ctx, key)
		}
		return nil
	})
	for i, cmd := range cmds {
		v, err := cmd.Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// groupError makes [ErrNoGroup] of what Redis says when a stream or group is gone.
func groupError(err error) error {
	if goredis.HasErrorPrefix(err, "NOGROUP") {
		return fmt.Errorf("%w: %w", ErrNoGroup, err)
	}
	return err
}
