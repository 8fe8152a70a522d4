package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Read waits up to block for entries behind the cursors (one XREAD), at most count from each stream. Nothing new is
// no error and no entries. The wait does not end with ctx: block bounds it, and must stay well below Config.Timeout,
// which ends it when the server has frozen. In a Cluster all cursors must be of one partition or of one node: else it
// answers CROSSSLOT, since one command cannot have keys of several slots, even when one server has them all.
func (c *Client) Read(ctx context.Context, cursors []stream.Cursor, count int, block time.Duration) ([]stream.Entries, error) {
	args := make([]any, 0, 2*len(cursors)+6)
	args = append(args, "XREAD", "COUNT", count, "BLOCK", max(block.Milliseconds(), 1), "STREAMS")
	for i := range cursors {
		args = append(args, cursors[i].Key)
	}
	for i := range cursors {
		args = append(args, cursors[i].ID.String())
	}
	cmd := goredis.NewCmd(ctx, args...)
	if err := c.rdb.Process(ctx, cmd); errors.Is(err, goredis.Nil) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return parseStreams(cmd.Val())
}

// Tails are the IDs of the newest entries of streams, zero for one that is empty, in one round trip.
func (c *Client) Tails(ctx context.Context, keys []string) ([]stream.ID, error) {
	pipe := c.rdb.Pipeline()
	cmds := make([]*goredis.Cmd, len(keys))
	for i, key := range keys {
		cmds[i] = pipe.Do(ctx, "XREVRANGE", key, "+", "-", "COUNT", 1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	ids := make([]stream.ID, len(keys))
	for i, cmd := range cmds {
		entries, err := parseEntries(cmd.Val())
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			ids[i] = entries[0].ID
		}
	}
	return ids, nil
}
