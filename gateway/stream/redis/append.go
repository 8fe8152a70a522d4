package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Append writes entries (XADD), those of one server in one round trip, says of each whether it is stored, and sets its ID. When the
// connection breaks on the way, an entry may have been stored although its error is set; Append sends none twice.
// Errors that do not concern one entry alone wrap stream.ErrDown, or in a Cluster [stream.ErrPartDown] when they concern one
// server's. With Config.Replicas, entries that too few replicas have in time have [ErrNotReplicated]; those of node
// streams are not waited for, since the answers in them are worth nothing after a failover.
func (c *Client) Append(ctx context.Context, adds []stream.Add) []error {
	errs := make([]error, len(adds))
	if len(adds) == 0 {
		return errs
	}
	if c.cluster != nil {
		c.appendCluster(ctx, adds, errs)
		return errs
	}
	all := make([]int, len(adds))
	for i := range all {
		all[i] = i
	}
	c.appendServer(ctx, c.rdb, adds, all, false, errs)
	for i := range errs {
		errs[i] = c.classify(errs[i], false)
	}
	return errs
}

// pipeliner is one server.
type pipeliner interface{ Pipeline() goredis.Pipeliner }

// appendServer writes some of the entries to one server, and sets their errors as they come. asking is for a server that
// is just being given their slot.
func (c *Client) appendServer(ctx context.Context, server pipeliner, adds []stream.Add, which []int, asking bool, errs []error) {
	pipe := server.Pipeline()
	cmds := make([]*goredis.Cmd, len(which))
	durable := false
	for k, i := range which {
		if asking {
			pipe.Do(ctx, "ASKING")
		}
		cmds[k] = pipe.Do(ctx, xadd(&adds[i])...)
		durable = durable || c.durable(adds[i].Key)
	}
	var wait *goredis.Cmd
	if durable { // it is about all that this connection has written so far
		wait = pipe.Do(ctx, "WAIT", c.replicas, c.replicaTimeout.Milliseconds())
	}
	_, failure := pipe.Exec(ctx)
	missing := c.missing(wait)
	for k, i := range which {
		reply, err := cmds[k].Result()
		id, stored := reply.(string)
		if stored {
			adds[i].ID, _ = stream.ParseID(id) // it is what Redis calls the entry
		}
		switch {
		case err != nil:
			errs[i] = err
		case !stored: // go-redis leaves commands without error when Redis refuses the connection, as with another password
			errs[i] = cmp.Or(failure, errReply)
		case c.durable(adds[i].Key):
			errs[i] = missing
		default:
			errs[i] = nil // it may have been redirected
		}
	}
}

func xadd(add *stream.Add) []any {
	args := make([]any, 0, len(add.Values)+6)
	args = append(args, "XADD", add.Key)
	if add.MaxLen > 0 {
		args = append(args, "MAXLEN", "~", add.MaxLen)
	}
	return append(append(args, "*"), add.Values...)
}

// durable reports whether replicas are waited for after a write to key.
func (c *Client) durable(key string) bool {
	return c.replicas > 0 && !strings.HasPrefix(key, c.keys.Node("")[:len(c.keys.Node(""))-len("{}")])
}

// missing is the error of entries for which WAIT did not count enough replicas.
func (c *Client) missing(wait *goredis.Cmd) error {
	if wait == nil {
		return nil
	}
	n, err := wait.Int()
	switch {
	case err != nil && code(err) == "":
		return err // the connection is gone
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotReplicated, notCommand{err})
	case n < c.replicas:
		return fmt.Errorf("%w: %d of %d have it within %v", ErrNotReplicated, n, c.replicas, c.replicaTimeout)
	}
	return nil
}

// notCommand keeps what Redis said of WAIT from passing for what it said of the entry.
type notCommand struct{ err error }

func (e notCommand) Error() string { return e.err.Error() }

// server is where some entries go in one round.
type server struct {
	client *goredis.Client
	asking bool
}

// rounds are how often an entry follows MOVED or ASK.
const rounds = 4

// appendCluster sends each server its entries, all at the same time, and those that a server has no more to where it
// says. Entries of one stream keep their order: once one is redirected, so are those behind it, to the same server.
func (c *Client) appendCluster(ctx context.Context, adds []stream.Add, errs []error) {
	groups := make(map[server][]int)
	for i := range adds {
		client, err := c.cluster.MasterForKey(ctx, adds[i].Key)
		if err != nil { // no map of slots: no server of the Cluster answers
			errs[i] = c.classify(err, false)
			c.failed(ctx, err)
			continue
		}
		to := server{client: client}
		groups[to] = append(groups[to], i)
	}
	for round := 1; len(groups) > 0; round++ {
		var wg sync.WaitGroup
		for to, which := range groups {
			wg.Go(func() { c.appendServer(ctx, to.client, adds, which, to.asking, errs) })
		}
		wg.Wait()
		next := make(map[server][]int)
		for from, which := range groups {
			streams := make(map[string]server)
			for _, i := range which {
				if to, ok := c.redirect(ctx, from, errs[i]); ok && round < rounds {
					if first, ok := streams[adds[i].Key]; ok { // ASK for one, MOVED for the next: they must not overtake
						to = first
					}
					streams[adds[i].Key] = to
					next[to] = append(next[to], i)
					continue
				}
				if !errors.Is(errs[i], ErrNotReplicated) {
					c.failed(ctx, errs[i])
				}
				errs[i] = c.classify(errs[i], true)
			}
		}
		groups = next
		if round > 1 && len(groups) > 0 { // the servers do not agree yet
			select {
			case <-time.After(time.Duration(round) * 10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// redirect is where an answer MOVED or ASK sends an entry.
func (c *Client) redirect(ctx context.Context, from server, err error) (to server, ok bool) {
	if err == nil {
		return to, false
	}
	addr, moved := goredis.IsMovedError(err)
	if moved {
		c.cluster.ReloadState(ctx)
	} else if addr, to.asking = goredis.IsAskError(err); !to.asking {
		return to, false
	}
	host, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return to, false
	}
	if host == "" || host == "?" { // the same host, a server says that does not know its own
		host, _, _ = net.SplitHostPort(from.client.Options().Addr)
	}
	to.client, err = c.redirects.client(c.server, net.JoinHostPort(host, port))
	return to, err == nil
}
