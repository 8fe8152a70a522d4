package redis

import (
	"cmp"
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// KeepNode keeps the stream of a node for another ttl, without what was read (XTRIM MINID, EXPIRE): a node that dies
// leaves nothing behind for long.
func (c *Client) KeepNode(ctx context.Context, key string, read stream.ID, ttl time.Duration) error {
	_, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.XTrimMinID(ctx, key, read.String())
		p.Expire(ctx, key, ttl)
		return nil
	})
	return err
}

// Delete removes keys, one by one: in a Cluster they may be anywhere.
func (c *Client) Delete(ctx context.Context, keys ...string) error {
	_, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, key := range keys {
			p.Del(ctx, key)
		}
		return nil
	})
	return err
}

// TrimIn removes from the `in` streams what every consumer group has acknowledged (XINFO GROUPS, XPENDING, XTRIM MINID),
// unless another node does so for the next ttl. A stream that no group reads is left alone. It returns how many
// entries went, also beside an error: in a Cluster that is of some partitions, and the others have been trimmed.
func (c *Client) TrimIn(ctx context.Context, node string, ttl time.Duration) (removed int64, err error) {
	mine, err := c.rdb.SetNX(ctx, c.keys.Trim(), node, ttl).Result()
	if err != nil || !mine {
		return 0, err
	}
	return c.trim(ctx, c.inStreams())
}

func (c *Client) inStreams() []string {
	keys := make([]string, c.partitions)
	for i := range keys {
		keys[i] = c.keys.In(i)
	}
	return keys
}

// trim removes from streams what every consumer group has acknowledged.
func (c *Client) trim(ctx context.Context, streams []string) (removed int64, err error) {
	groups := make([]*goredis.XInfoGroupsCmd, len(streams))
	errGroups := c.each(ctx, streams, func(p goredis.Pipeliner, i int, key string) { groups[i] = p.XInfoGroups(ctx, key) })
	pending := make([][]*goredis.XPendingCmd, len(streams))
	errPending := c.each(ctx, streams, func(p goredis.Pipeliner, i int, key string) {
		for _, g := range groups[i].Val() {
			pending[i] = append(pending[i], p.XPending(ctx, key, g.Name))
		}
	})
	trims := make([]*goredis.IntCmd, len(streams))
	errTrims := c.each(ctx, streams, func(p goredis.Pipeliner, i int, key string) {
		if from, ok := needed(groups[i].Val(), pending[i]); ok {
			trims[i] = p.XTrimMinID(ctx, key, from.String())
		}
	})
	for _, t := range trims {
		if t != nil {
			removed += t.Val()
		}
	}
	return removed, cmp.Or(errGroups, errPending, errTrims)
}

// each pipelines commands for every one of some streams, and returns the first error that concerns more than one stream. That a
// stream or a group does not exist is no error; what failed has no value.
func (c *Client) each(ctx context.Context, streams []string, add func(p goredis.Pipeliner, i int, key string)) error {
	cmds, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, key := range streams {
			add(p, i, key)
		}
		return nil
	})
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && ofAll(err) {
			return err
		}
	}
	if err != nil && ofAll(err) {
		return err
	}
	return nil
}

// needed is the oldest ID that some group has not acknowledged. Pending entries were asked for after the groups: an entry that
// was delivered in between is younger than what the group had had by then.
func needed(groups []goredis.XInfoGroup, pending []*goredis.XPendingCmd) (oldest stream.ID, ok bool) {
	for i, g := range groups {
		id, err := stream.ParseID(g.LastDeliveredID)
		if err != nil {
			return stream.ID{}, false
		}
		id.Seq++ // what was delivered and is not pending is acknowledged
		p, err := pending[i].Result()
		if err != nil {
			return stream.ID{}, false
		}
		if p.Count > 0 {
			first, err := stream.ParseID(p.Lower)
			if err != nil {
				return stream.ID{}, false
			}
			if first.Before(id) {
				id = first
			}
		}
		if !ok || id.Before(oldest) {
			oldest, ok = id, true
		}
	}
	return oldest, ok
}

// TrimOut removes from the `out` streams what is older than history and what is beyond about most entries of each (TIME,
// XTRIM MINID, MAXLEN), unless another node does so for the next ttl.
func (c *Client) TrimOut(ctx context.Context, node string, history time.Duration, most int64, ttl time.Duration) (removed int64, err error) {
	mine, err := c.rdb.SetNX(ctx, c.keys.TrimOut(), node, ttl).Result()
	if err != nil || !mine {
		return 0, err
	}
	now, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	oldest := stream.ID{MS: uint64(max(0, now.Add(-history).UnixMilli()))}
	var trims []*goredis.IntCmd
	err = c.each(ctx, c.inStreams(), func(p goredis.Pipeliner, i int, _ string) {
		key := c.keys.Out(i)
		trims = append(trims, p.XTrimMinIDApprox(ctx, key, oldest.String(), 0), p.XTrimMaxLenApprox(ctx, key, most, 0))
	})
	for _, t := range trims {
		removed += t.Val()
	}
	return removed, err
}

// Backlog is how many entries the `in` streams hold together (XLEN): what is not acknowledged, and what was since the
// last trimming. Beside an error it counts the partitions that answered.
func (c *Client) Backlog(ctx context.Context) (entries int64, err error) {
	return c.length(ctx, c.inStreams())
}

func (c *Client) length(ctx context.Context, streams []string) (entries int64, err error) {
	var lengths []*goredis.IntCmd
	err = c.each(ctx, streams, func(p goredis.Pipeliner, _ int, key string) { lengths = append(lengths, p.XLen(ctx, key)) })
	for _, n := range lengths {
		entries += n.Val()
	}
	return entries, err
}

// Prove writes an entry to each server and reads it back (XADD, XRANGE), under a key of node's own that expires after
// ttl. It returns what failed.
func (c *Client) Prove(ctx context.Context, node string, ttl time.Duration) error {
	servers, err := c.Servers(ctx)
	if err != nil {
		return err
	}
	var adds []stream.Add
	var ranges []stream.Range
	for _, s := range servers {
		key := c.keys.Canary(s.Partitions[0], node)
		adds = append(adds, stream.Add{Key: key, MaxLen: 1, Values: []any{"kind", "canary"}})
		ranges = append(ranges, stream.Range{Key: key, To: stream.Last, Newest: true, Count: 1})
	}
	for _, err := range c.Append(ctx, adds) {
		if err != nil {
			return err
		}
	}
	found, err := c.Ranges(ctx, ranges)
	if err != nil {
		return err
	}
	for i, f := range found {
		if len(f) == 0 {
			return fmt.Errorf("%w: redis at %s has lost an entry that it has just taken", stream.ErrDown, servers[i].Addr)
		}
	}
	_, err = c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, r := range ranges {
			p.Expire(ctx, r.Key, ttl)
		}
		return nil
	})
	return err
}
