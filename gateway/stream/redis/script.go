package redis

import (
	"cmp"
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

// result is what Redis has said of one call. A nil value is nil.
type result struct {
	value any
	err   error
}

// results are those of commands of one pipeline. go-redis leaves commands without any when Redis refuses the
// connection, as with another password: then the failure of the pipeline is theirs.
func results(cmds []*goredis.Cmd, failure error) []result {
	out := make([]result, len(cmds))
	for i, cmd := range cmds {
		r := &out[i]
		r.value, r.err = cmd.Result()
		switch {
		case r.err == goredis.Nil: //nolint:errorlint // go-redis returns it bare
			r.err = nil
		case r.err == nil && r.value == nil:
			r.err = cmp.Or(failure, errReply)
		}
	}
	return out
}

// eval makes calls of one script, in one round trip to each server, and hands Redis its text where that is not known: after a
// restart, or a failover. The calls do not depend on each other, so that the error returned is the first of any.
func (c *Client) eval(ctx context.Context, s script, calls ...[]any) ([]any, error) {
	got := c.send(ctx, calls)
	c.sendText(ctx, s, calls, got)
	return values(got)
}

// sendText calls again, by the script's text, what was refused because Redis does not know its hash, and reports
// whether there was any.
func (c *Client) sendText(ctx context.Context, s script, calls [][]any, got []result) bool {
	var again [][]any
	var of []int
	for i := range got {
		if goredis.HasErrorPrefix(got[i].err, "NOSCRIPT") {
			again = append(again, append([]any{"EVAL", s.text}, calls[i][2:]...))
			of = append(of, i)
		}
	}
	if len(again) == 0 {
		return false
	}
	for k, r := range c.send(ctx, again) {
		got[of[k]] = r
	}
	return true
}

// values are those of results without an error, or the first error.
func values(got []result) ([]any, error) {
	out := make([]any, len(got))
	for i, r := range got {
		if r.err != nil {
			return nil, groupError(r.err)
		}
		out[i] = r.value
	}
	return out, nil
}

// send makes script calls, each at most once: one that was answered too late or not at all may have read entries, and the
// next would read those behind them.
func (c *Client) send(ctx context.Context, calls [][]any) []result {
	if c.cluster != nil {
		return c.sendCluster(ctx, calls)
	}
	return sendServer(ctx, c.rdb, calls, nil, false)
}

// sendServer makes calls, those of which if not nil, in one round trip to a server.
func sendServer(ctx context.Context, server pipeliner, calls [][]any, which []int, asking bool) []result {
	p := server.Pipeline()
	var cmds []*goredis.Cmd
	do := func(args []any) {
		if asking {
			p.Do(ctx, "ASKING")
		}
		cmds = append(cmds, p.Do(ctx, args...))
	}
	if which == nil {
		for _, args := range calls {
			do(args)
		}
	}
	for _, i := range which {
		do(calls[i])
	}
	if len(cmds) == 0 {
		return nil
	}
	_, failure := p.Exec(ctx) // each command has its own error
	return results(cmds, failure)
}
