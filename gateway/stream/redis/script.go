package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// script is a Lua script, called by its hash. All keys of one call belong to one partition, and so to one slot of Redis
// Cluster; only where there is one server may a call have keys of several.
type script struct{ text, sha string }

func newScript(text string) script { return script{text: text, sha: goredis.NewScript(text).Hash()} }

// call is EVALSHA and its arguments.
func (s script) call(keys []string, argv ...any) []any {
	args := make([]any, 0, 3+len(keys)+len(argv))
	args = append(args, "EVALSHA", s.sha, len(keys))
	for _, k := range keys {
		args = append(args, k)
	}
	return append(args, argv...)
}

// eval makes calls of one script in one round trip, and hands Redis its text where that is not known: after a restart, or a
// failover. The calls do not depend on each other, so that the error returned is the first of any.
func (c *Client) eval(ctx context.Context, s script, calls ...[]any) ([]any, error) {
	cmds := make([]*goredis.Cmd, len(calls))
	_, _ = c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, args := range calls {
			cmds[i] = p.Do(ctx, args...)
		}
		return nil
	})
	out := make([]any, len(calls))
	for i, cmd := range cmds {
		var err error
		if out[i], err = c.result(ctx, s, cmd, calls[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// result is what a call has answered, or answers now that Redis is handed the text. A nil answer is nil.
func (c *Client) result(ctx context.Context, s script, cmd *goredis.Cmd, args []any) (any, error) {
	v, err := cmd.Result()
	if goredis.HasErrorPrefix(err, "NOSCRIPT") {
		again := append([]any{"EVAL", s.text}, args[2:]...)
		v, err = c.rdb.Do(ctx, again...).Result()
	}
	if err == goredis.Nil { //nolint:errorlint // go-redis returns it bare
		return nil, nil
	}
	return v, groupError(err)
}
