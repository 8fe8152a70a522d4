package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// history is the MAXLEN of `out` and node streams, approximate. Whoever reads that far behind has lost its place.
const history = "10000"

// LeaseLost is what [Group.Commit] says of a batch of which it wrote nothing, since its lease is over.
const LeaseLost = -1

// Outcome is what one delivery came to. [Group.Commit] writes it at once or not at all.
type Outcome struct {
	Ref
	Seen         string // key that marks the publication as processed, see [stream.Keys.Seen]; "" for none
	SeenValue    string // what [Group.Seen] returns for it; not empty where Seen is not
	Publications []stream.Publication
	Answers      []NodeAnswer
	Dead         *Death // the entry goes to the dead letters; nil if it does not
}

// Death is why an entry is given up.
type Death struct {
	Reason   string // one line
	Attempts int64
	At       time.Time
	Most     int // dead letters that the partition keeps, about
}

// NodeAnswer is an answer and the node that has its connection.
type NodeAnswer struct {
	Node string
	stream.Answer
}

// Batch are outcomes of one partition, in the order of their effects. A lease has one in a commit, and one commit at a time.
type Batch struct {
	Lease    *Lease
	Outcomes []Outcome
}

// Commit writes the effects of batches and acknowledges their entries, each batch as one script: after a kill -9 of either
// side all of it is there or none. It may be called again when its answer was lost: an entry that is no longer pending
// or whose Seen key exists has no effects. It says of each batch how many entries had theirs, or [LeaseLost]. Seen keys
// last for window.
//
// Where partitions are on several servers (Redis Cluster), effects for other slots are written before, once each: marks
// beside them, which last for window, see to that.
func (g *Group) Commit(ctx context.Context, batches []Batch, window time.Duration) ([]int, error) {
	if g.multiSlot {
		if err := g.writeAbroad(ctx, batches, window); err != nil {
			return nil, err
		}
	}
	calls := make([][]any, len(batches))
	for i := range batches {
		calls[i] = g.commitArgs(&batches[i], window)
	}
	got, err := g.c.eval(ctx, commit, calls...)
	if err != nil {
		return nil, err
	}
	return g.committed(batches, got), nil
}

// committed counts commits that Redis has answered.
func (g *Group) committed(batches []Batch, answers []any) []int {
	done := make([]int, len(batches))
	for i := range answers {
		n, _ := answers[i].(int64)
		if done[i] = int(n); n != LeaseLost {
			l := batches[i].Lease
			l.commits++
			l.last = g.commits.Add(1)
		}
	}
	return done
}

// effect is one XADD.
type effect struct {
	partition int // of the `out` stream, or abroad for a node's
	key       string
	values    []any
}

const abroad = -1 // no partition

// effects calls f with what is to be written for an outcome.
func (g *Group) effects(o *Outcome, f func(e effect)) {
	for i := range o.Publications {
		p := &o.Publications[i]
		q := p.Partition(g.c.partitions)
		f(effect{partition: q, key: g.c.keys.Out(q), values: p.Values()})
	}
	for i := range o.Answers {
		f(effect{partition: abroad, key: g.c.keys.Node(o.Answers[i].Node), values: o.Answers[i].Values()})
	}
}

// commitArgs are the script's call, as commit says.
func (g *Group) commitArgs(b *Batch, window time.Duration) []any {
	p := b.Lease.Partition
	keys := make([]string, 3, 3+3*len(b.Outcomes))
	keys[0], keys[1], keys[2] = g.lease[p], g.in[p], g.c.keys.Dead(p, g.name)
	args := make([]any, 5, 5+16*len(b.Outcomes))
	args[0], args[1] = b.Lease.value(b.Lease.commits), b.Lease.value(b.Lease.commits+1)
	args[2], args[3], args[4] = g.name, g.consumer, max(window.Milliseconds(), 1)
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		args = append(args, o.ID.String())
		if o.Seen != "" {
			keys = append(keys, o.Seen)
			args = append(args, o.SeenValue)
		} else {
			args = append(args, "")
		}
		if d := o.Dead; d != nil {
			args = append(args, d.Reason, d.Attempts, d.At.UnixMilli(), d.Most)
		} else {
			args = append(args, "")
		}
		n := len(args)
		count := 0
		args = append(args, count)
		g.effects(o, func(e effect) {
			if g.multiSlot && e.partition != p {
				return
			}
			target := "out"
			if e.partition == abroad {
				target = "node"
			}
			count++
			keys = append(keys, e.key)
			args = append(append(args, target, len(e.values)), e.values...)
		})
		args[n] = count
	}
	return commit.call(keys, args...)
}

// commit is a script and not MULTI, because effects hang on the lease and on what XACK says. XACK is the first to write for
// another reason too: Redis refuses a script for want of memory before its first write, never after it. A dead letter
// is copied from the stream, so that it is what came, whatever that was; unpack takes some thousand fields at most.
//
// KEYS: lease, `in` stream, dead letters; of each entry its seen key if it has one, and the stream of each effect.
// ARGV: value of the lease and what it is from now on, which it has been since before when this call is sent again; group,
// consumer, window in ms; of each entry: ID, value of its seen key or "", reason of its death or
// "", in case of a death also attempts, time and most dead letters, number of effects; of each effect: "out" or "node",
// number of its fields and values, and these.
var commit = newScript(`
local lease = redis.call('GET', KEYS[1])
if lease ~= ARGV[1] and lease ~= ARGV[2] then return ` + strconv.Itoa(LeaseLost) + ` end
local a, k, done = 6, 4, 0
while ARGV[a] do
	local id, seen, reason = ARGV[a], ARGV[a + 1], ARGV[a + 2]
	local dead = reason ~= '' and redis.call('XRANGE', KEYS[2], id, id)[1]
	local fresh = redis.call('XACK', KEYS[2], ARGV[3], id) == 1
	a = a + 3
	if seen ~= '' then
		fresh = fresh and redis.call('SET', KEYS[k], seen, 'NX', 'PX', ARGV[5])
		k = k + 1
	end
	if reason ~= '' then
		if fresh and dead then
			local fields = {}
			for i = 1, math.min(#dead[2], 4000) do fields[i] = dead[2][i] end
			for _, f in ipairs({'dead_entry', id, 'dead_reason', reason, 'dead_attempts', ARGV[a],
				'dead_at', ARGV[a + 1], 'dead_consumer', ARGV[4]}) do fields[#fields + 1] = f end
			redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[a + 2], '*', unpack(fields))
		end
		a = a + 3
	end
	local effects = tonumber(ARGV[a])
	a = a + 1
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
if lease ~= ARGV[2] then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
return done`)
