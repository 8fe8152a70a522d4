package redis

import (
	"cmp"
	"context"
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
	groups := make([]*goredis.XInfoGroupsCmd, c.partitions)
	errGroups := c.each(ctx, func(p goredis.Pipeliner, i int, key string) { groups[i] = p.XInfoGroups(ctx, key) })
	pending := make([][]*goredis.XPendingCmd, c.partitions)
	errPending := c.each(ctx, func(p goredis.Pipeliner, i int, key string) {
		for _, g := range groups[i].Val() {
			pending[i] = append(pending[i], p.XPending(ctx, key, g.Name))
		}
	})
	trims := make([]*goredis.IntCmd, c.partitions)
	errTrims := c.each(ctx, func(p goredis.Pipeliner, i int, key string) {
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

// each pipelines commands for every `in` stream, and returns the first error that concerns more than one stream. That a
// stream or a group does not exist is no error; what failed has no value.
func (c *Client) each(ctx context.Context, add func(p goredis.Pipeliner, partition int, key string)) error {
	cmds, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i := range c.partitions {
			add(p, i, c.keys.In(i))
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
