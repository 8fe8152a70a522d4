package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// history is the MAXLEN of `out` and node streams, approximate. Whoever reads that far behind has lost its place.
const history = "10000"

// ErrNoGroup says that Redis has lost a stream or its consumer group, by FLUSHALL or a failover: create it again.
var ErrNoGroup = errors.New("no consumer group")

// Group is one consumer of the group that shares the `in` streams. All methods may be called concurrently.
type Group struct {
	// Immutable after [Client.Group].
	c         *Client
	name      string
	consumer  string
	in        []string       // by partition
	byKey     map[string]int // partition of in
	commitSHA string
	leave     *goredis.Script
}

// Ref names one entry of an `in` stream.
type Ref struct {
	Partition int
	ID        stream.ID
}

// Delivery is one entry of an `in` stream, pending for this consumer until it is committed.
type Delivery struct {
	Ref
	Fields []string // as [Entry.Fields]; none when the entry was deleted
}

// Outcome is what one delivery came to. [Group.Commit] writes it at once or not at all.
type Outcome struct {
	Ref
	Seen         string // key that marks the publication as processed, see [stream.Keys.Seen]; "" for none
	Publications []stream.Publication
	Answers      []NodeAnswer
}

// NodeAnswer is an answer and the node that has its connection.
type NodeAnswer struct {
	Node string
	stream.Answer
}

// Group is the consumer side of the `in` streams. It does not speak to Redis yet; the group is made by [Group.Create].
func (c *Client) Group(name, consumer string) *Group {
	g := &Group{
		c: c, name: name, consumer: consumer,
		in:        make([]string, c.partitions),
		byKey:     make(map[string]int, c.partitions),
		commitSHA: goredis.NewScript(commitScript).Hash(),
		leave:     goredis.NewScript(leaveScript),
	}
	for p := range g.in {
		g.in[p] = c.keys.In(p)
		g.byKey[g.in[p]] = p
	}
	return g
}

// Create makes the group on every partition, from the first entry on, and hands Redis the script of commits. What is
// there stays as it is.
func (g *Group) Create(ctx context.Context) error {
	cmds, err := g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.ScriptLoad(ctx, commitScript)
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

// Reading says what to read: up to Count new entries of each of the partitions. Without any it waits for one, for
// Block at most (shortened to half of the client's timeout), and returns none; zero does not wait.
type Reading struct {
	Partitions []int
	Count      int
	Block      time.Duration
}

// Read returns new entries, those of one partition in their order. While it waits it is not interrupted by ctx, since
// entries that Redis has just given to it would have to wait for a claim.
func (g *Group) Read(ctx context.Context, r Reading) ([]Delivery, error) {
	return g.deliveries(g.c.rdb.Do(ctx, g.readArgs(r)...))
}

// CommitRead is [Group.Commit] and [Group.Read] in one round trip. After an error both are to be done again: what was
// read is pending, and is claimed later.
func (g *Group) CommitRead(ctx context.Context, outcomes []Outcome, window time.Duration, r Reading) ([]Delivery, int, error) {
	p := g.c.rdb.Pipeline()
	commit := p.Do(ctx, g.commitArgs(outcomes, window)...)
	read := p.Do(ctx, g.readArgs(r)...)
	_, _ = p.Exec(ctx) // each command has its own error
	done, err := commit.Int()
	if goredis.HasErrorPrefix(err, "NOSCRIPT") {
		done, err = g.Commit(ctx, outcomes, window)
	}
	if err != nil {
		return nil, 0, err
	}
	got, err := g.deliveries(read)
	return got, done, err
}

func (g *Group) readArgs(r Reading) []any {
	args := make([]any, 0, 9+2*len(r.Partitions))
	args = append(args, "XREADGROUP", "GROUP", g.name, g.consumer, "COUNT", r.Count)
	if block := min(r.Block, g.c.timeout/2); block >= time.Millisecond { // BLOCK 0 is for ever
		args = append(args, "BLOCK", block.Milliseconds())
	}
	args = append(args, "STREAMS")
	for _, p := range r.Partitions {
		args = append(args, g.in[p])
	}
	for range r.Partitions {
		args = append(args, ">")
	}
	return args
}

func (g *Group) deliveries(read *goredis.Cmd) ([]Delivery, error) {
	reply, err := read.Result()
	if errors.Is(err, goredis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, groupError(err)
	}
	streams, err := parseStreams(reply)
	if err != nil {
		return nil, err
	}
	var out []Delivery
	for _, s := range streams {
		p, ok := g.byKey[s.Key]
		if !ok {
			return nil, fmt.Errorf("%w: stream %q was not asked for", errReply, s.Key)
		}
		out = appendDeliveries(out, p, s.Entries)
	}
	return out, nil
}

// Claim takes over up to count entries of each of the partitions that any consumer, this one included, has left
// alone for idle. cursor says for each where to look, at first zero; Claim moves it on, and to zero at the end.
func (g *Group) Claim(ctx context.Context, partitions []int, cursor []stream.ID, idle time.Duration, count int) ([]Delivery, error) {
	cmds, err := g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, part := range partitions {
			p.Do(ctx, "XAUTOCLAIM", g.in[part], g.name, g.consumer, idle.Milliseconds(), cursor[i].String(), "COUNT", count)
		}
		return nil
	})
	if err != nil {
		return nil, groupError(err)
	}
	var out []Delivery
	for i, cmd := range cmds {
		entries, next, err := parseClaim(cmd.(*goredis.Cmd).Val())
		if err != nil {
			return nil, err
		}
		cursor[i] = next
		out = appendDeliveries(out, partitions[i], entries)
	}
	return out, nil
}

// Renew starts the idle time of entries anew, so that a consumer that is slow but alive is not robbed of them. What
// is pending for nobody any more is passed over.
func (g *Group) Renew(ctx context.Context, refs []Ref) error {
	claims := make(map[int][]any)
	for _, r := range refs {
		if claims[r.Partition] == nil {
			claims[r.Partition] = []any{"XCLAIM", g.in[r.Partition], g.name, g.consumer, 0}
		}
		claims[r.Partition] = append(claims[r.Partition], r.ID.String())
	}
	_, err := g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, args := range claims {
			p.Do(ctx, append(args, "JUSTID")...)
		}
		return nil
	})
	return groupError(err)
}

// Attempts says how often each of the entries has been delivered; 0 for one that is no longer pending.
func (g *Group) Attempts(ctx context.Context, refs []Ref) ([]int64, error) {
	cmds, err := g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, r := range refs {
			id := r.ID.String()
			p.XPendingExt(ctx, &goredis.XPendingExtArgs{Stream: g.in[r.Partition], Group: g.name, Start: id, End: id, Count: 1})
		}
		return nil
	})
	if err != nil {
		return nil, groupError(err)
	}
	out := make([]int64, len(refs))
	for i, cmd := range cmds {
		if pending := cmd.(*goredis.XPendingExtCmd).Val(); len(pending) == 1 {
			out[i] = pending[0].RetryCount
		}
	}
	return out, nil
}

// Seen says which of the keys have been set by a commit within their window; one round trip.
func (g *Group) Seen(ctx context.Context, keys []string) ([]bool, error) {
	out := make([]bool, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	values, err := g.c.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		out[i] = v != nil
	}
	return out, nil
}

// Commit writes the effects of a batch and acknowledges its entries, as one script: after a kill -9 of either side,
// all of it is there or none. It may be called again when its answer was lost: an entry that is no longer pending,
// because this or another consumer has committed it, or whose Seen key exists, has no effects. It returns how many
// entries had theirs. Seen keys last for window.
func (g *Group) Commit(ctx context.Context, outcomes []Outcome, window time.Duration) (int, error) {
	args := g.commitArgs(outcomes, window)
	done, err := g.c.rdb.Do(ctx, args...).Int()
	if goredis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "EVAL", commitScript
		done, err = g.c.rdb.Do(ctx, args...).Int()
	}
	return done, err
}

// commitArgs are the script's call, as commitScript says.
func (g *Group) commitArgs(outcomes []Outcome, window time.Duration) []any {
	call := make([]any, 3, 3+3*len(outcomes)+2+16*len(outcomes))
	args := make([]any, 0, 2+16*len(outcomes))
	args = append(args, g.name, max(window.Milliseconds(), 1))
	for i := range outcomes {
		o := &outcomes[i]
		call = append(call, g.in[o.Partition])
		args = append(args, o.ID.String())
		if o.Seen != "" {
			call = append(call, o.Seen)
			args = append(args, "seen")
		} else {
			args = append(args, "")
		}
		args = append(args, len(o.Publications)+len(o.Answers))
		for j := range o.Publications {
			p := &o.Publications[j]
			call = append(call, g.c.keys.Out(stream.Partition(p.Channel, g.c.partitions)))
			args = appendEffect(args, "out", p.Values())
		}
		for j := range o.Answers {
			call = append(call, g.c.keys.Node(o.Answers[j].Node))
			args = appendEffect(args, "node", o.Answers[j].Values())
		}
	}
	call[0], call[1], call[2] = "EVALSHA", g.commitSHA, len(call)-3
	return append(call, args...)
}

func appendEffect(args []any, target string, values []any) []any {
	return append(append(args, target, len(values)), values...)
}

// commitScript is the transaction of [Group.Commit]. It is a script and not MULTI, because effects hang on what XACK
// says. XACK comes first for another reason too: Redis refuses a script for want of memory before its first write,
// never after it.
//
// KEYS: of each entry its `in` stream, its seen key if it has one, and the stream of each effect.
// ARGV: group, window in ms; of each entry: ID, "seen" or "", number of effects; of each effect: "out" or "node",
// number of its fields and values, and these.
const commitScript = `
local a, k, done = 3, 1, 0
while ARGV[a] do
	local fresh = redis.call('XACK', KEYS[k], ARGV[1], ARGV[a]) == 1
	k = k + 1
	if ARGV[a + 1] == 'seen' then
		fresh = fresh and redis.call('SET', KEYS[k], '1', 'NX', 'PX', ARGV[2])
		k = k + 1
	end
	local effects = tonumber(ARGV[a + 2])
	a = a + 3
	for _ = 1, effects do
		local last = a + 1 + tonumber(ARGV[a + 1])
		if fresh and ARGV[a] == 'node' then
			redis.call('XADD', KEYS[k], 'NOMKSTREAM', 'MAXLEN', '~', '` + history + `', '*', unpack(ARGV, a + 2, last))
		elseif fresh then
			redis.call('XADD', KEYS[k], 'MAXLEN', '~', '` + history + `', '*', unpack(ARGV, a + 2, last))
		end
		a, k = last + 1, k + 1
	end
	if fresh then done = done + 1 end
end
return done`

// Leave takes the consumer out of the group on every partition where nothing is pending for it; elsewhere it stays,
// with its entries, for others to claim from.
func (g *Group) Leave(ctx context.Context) error {
	return g.leave.Run(ctx, g.c.rdb, g.in, g.name, g.consumer).Err()
}

// leaveScript is one step per partition, because XGROUP DELCONSUMER throws away what is pending.
const leaveScript = `
for _, key in ipairs(KEYS) do
	local pending = redis.pcall('XPENDING', key, ARGV[1], '-', '+', 1, ARGV[2])
	if not pending.err and #pending == 0 then
		redis.call('XGROUP', 'DELCONSUMER', key, ARGV[1], ARGV[2])
	end
end
return 1`

func appendDeliveries(out []Delivery, partition int, entries []Entry) []Delivery {
	for _, e := range entries {
		out = append(out, Delivery{Ref: Ref{Partition: partition, ID: e.ID}, Fields: e.Fields})
	}
	return out
}

// parseClaim reads the answer of XAUTOCLAIM: [cursor, entries] and, from Redis 7 on, the IDs of deleted entries.
func parseClaim(reply any) ([]Entry, stream.ID, error) {
	list, ok := reply.([]any)
	if !ok || len(list) < 2 {
		return nil, stream.ID{}, fmt.Errorf("%w: %T for a claim", errReply, reply)
	}
	text, _ := list[0].(string)
	next, err := stream.ParseID(text)
	if err != nil {
		return nil, stream.ID{}, fmt.Errorf("%w: cursor %q", errReply, text)
	}
	entries, err := parseEntries(list[1])
	return entries, next, err
}

// groupError makes [ErrNoGroup] of what Redis says when a stream or group is gone, also while a read waited on it.
func groupError(err error) error {
	if goredis.HasErrorPrefix(err, "NOGROUP") || goredis.HasErrorPrefix(err, "UNBLOCKED") {
		return fmt.Errorf("%w: %w", ErrNoGroup, err)
	}
	return err
}
