package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Append writes entries (XADD) in one round trip and says of each whether it is stored. When the connection breaks on the way,
// an entry may have been stored although its error is set. Errors that do not concern one entry alone wrap stream.ErrDown.
func (c *Client) Append(ctx context.Context, adds []stream.Add) []error {
	pipe := c.rdb.Pipeline()
	for i := range adds {
		args := make([]any, 0, len(adds[i].Values)+6)
		args = append(args, "XADD", adds[i].Key)
		if adds[i].MaxLen > 0 {
			args = append(args, "MAXLEN", "~", adds[i].MaxLen)
		}
		args = append(append(args, "*"), adds[i].Values...)
		pipe.Do(ctx, args...)
	}
	cmds, err := pipe.Exec(ctx)
	errs := make([]error, len(adds))
	for i := range errs {
		if i < len(cmds) {
			errs[i] = classify(cmds[i].Err())
		} else {
			errs[i] = classify(err)
		}
	}
	return errs
}

// classify tells what Redis says of one command from what concerns them all: a broken connection, or a server that takes
// no writes now.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, reply := errors.AsType[goredis.Error](err); reply {
		code, _, _ := strings.Cut(err.Error(), " ")
		switch code {
		case "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "NOPERM", "OOM", "MISCONF", "NOREPLICAS":
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %w", stream.ErrDown, err)
}

// Read waits up to block for entries behind the cursors (one XREAD), at most count from each stream. Nothing new is
// no error and no entries. The wait does not end with ctx: block bounds it, and must stay well below Config.Timeout.
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
