package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// QueueState is what a queue has not done, of all partitions.
type QueueState struct {
	Lag     int64         // entries not yet delivered
	Pending int64         // entries delivered and not acknowledged
	Waiting int64         // for another attempt
	Dead    int64         // dead letters there now
	Oldest  time.Duration // since the oldest that is not delivered or not acknowledged was written, by Redis's clock; 0 without one
}

// State measures the queue, each partition at one moment, in one round trip to each server. [ErrNoGroup].
func (q *Queue) State(ctx context.Context) (s QueueState, err error) {
	all := make([]int, len(q.streams))
	for p := range all {
		all[p] = p
	}
	backlogs, err := q.backlogs(ctx, all)
	if err != nil {
		return s, err
	}
	for _, b := range backlogs {
		s.Lag += b.Lag
		s.Pending += b.Pending
		s.Dead += b.Dead
		s.Waiting += b.Waiting
		s.Oldest = max(s.Oldest, b.Oldest)
	}
	return s, nil
}

func (q *Queue) backlogs(ctx context.Context, partitions []int) ([]Backlog, error) {
	calls := make([][]any, len(partitions))
	for i, p := range partitions {
		calls[i] = backlog.call([]string{q.streams[p], q.c.keys.QueueDead(p, q.name), q.c.keys.QueueWaiting(p, q.name)}, queueGroup)
	}
	return q.c.backlogs(ctx, calls)
}

// Length is how many entries there are, those included that are done and not trimmed yet.
func (q *Queue) Length(ctx context.Context) (entries int64, err error) {
	return q.c.length(ctx, q.streams)
}

// Oldest says how long ago the oldest entry of a partition was written that is not done; 0 if all are.
func (q *Queue) Oldest(ctx context.Context, partition int) (time.Duration, error) {
	b, err := q.backlogs(ctx, []int{partition})
	if err != nil {
		return 0, err
	}
	return b[0].Oldest, nil
}

// Turn asks for the turn to do some work for all of the queue, for ttl. Who has it gets it again.
func (q *Queue) Turn(ctx context.Context, work string, ttl time.Duration) (mine bool, err error) {
	got, err := q.c.eval(ctx, turn, turn.call([]string{q.c.keys.Turn(q.name, work)}, q.consumer, ttl.Milliseconds()))
	if err != nil {
		return false, err
	}
	return got[0] == int64(1), nil
}

// KEYS: turn. ARGV: who, ms.
var turn = newScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// Trim removes from the streams what is acknowledged (XINFO GROUPS, XPENDING, XTRIM MINID): never what is pending, and never by a
// length, by which Redis would remove that, too. It returns how many entries went.
func (q *Queue) Trim(ctx context.Context) (removed int64, err error) {
	return q.c.trim(ctx, q.streams)
}

// Sweep removes consumers that have been idle for so long and have nothing pending: those of processes that do not come back
// under their name. (XGROUP DELCONSUMER of one that has would lose that.) It says how many, counted by partition.
func (q *Queue) Sweep(ctx context.Context, idle time.Duration) (removed int64, err error) {
	consumers := make([]*goredis.XInfoConsumersCmd, len(q.streams))
	_, err = q.c.rdb.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
		for p, key := range q.streams {
			consumers[p] = pipe.XInfoConsumers(ctx, key, queueGroup)
		}
		return nil
	})
	if err != nil {
		return 0, groupError(err)
	}
	var calls [][]any
	for p, key := range q.streams {
		for _, c := range consumers[p].Val() {
			if c.Name != q.consumer && c.Idle >= idle {
				calls = append(calls, sweep.call([]string{key}, queueGroup, c.Name))
			}
		}
	}
	if len(calls) == 0 {
		return 0, nil
	}
	got, err := q.c.eval(ctx, sweep, calls...)
	for _, n := range got {
		count, _ := n.(int64)
		removed += count
	}
	return removed, err
}

// KEYS: stream. ARGV: group, consumer.
var sweep = newScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// DeadLetters returns up to count dead letters of a partition, in the order of their deaths, after that ID.
func (q *Queue) DeadLetters(ctx context.Context, partition int, after stream.ID, count int) ([]DeadLetter, error) {
	return q.c.deadLetters(ctx, q.c.keys.QueueDead(partition, q.name), partition, "("+after.String(), "+", count)
}

// DeadLetter returns one, or [ErrNoDeadLetter].
func (q *Queue) DeadLetter(ctx context.Context, ref Ref) (DeadLetter, error) {
	if ref.Partition < 0 || ref.Partition >= len(q.streams) {
		return DeadLetter{}, fmt.Errorf("%w: %d/%v (partitions are 0 to %d)", ErrNoDeadLetter, ref.Partition, ref.ID, len(q.streams)-1)
	}
	return q.c.deadLetter(ctx, q.c.keys.QueueDead(ref.Partition, q.name), ref)
}

// Replay puts an entry back to the end of its stream, as it came, without those fields, and takes it from the dead letters, in one
// step. It does not count as given up any more. [ErrNoDeadLetter] if it is gone.
func (q *Queue) Replay(ctx context.Context, d DeadLetter, without ...string) error {
	keys := []string{q.c.keys.QueueDead(d.Partition, q.name), q.streams[d.Partition], q.c.keys.QueueGivenUp(d.Partition, q.name)}
	argv := []any{len(deadFields)}
	for _, name := range without {
		argv = append(argv, name)
	}
	return q.c.removeDead(ctx, replayQueue, d.Ref, keys, argv...)
}

// KEYS: dead letters, stream, given up. ARGV: ID, number of fields that are not of the entry, names of fields to leave out.
var replayQueue = newScript(`
local dead = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not dead then return 0 end
local out = {}
for a = 3, #ARGV do out[ARGV[a]] = true end
local fields = {}
for i = 1, #dead[2] - 2 * ARGV[2], 2 do
	local name, value = dead[2][i], dead[2][i + 1]
	if name == 'id' then redis.call('ZREM', KEYS[3], value) end
	if not out[name] then fields[#fields + 1], fields[#fields + 2] = name, value end
end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1`)

// Drop removes a dead letter for good. Its ID stays one that was given up. [ErrNoDeadLetter] if it is gone.
func (q *Queue) Drop(ctx context.Context, ref Ref) error {
	return q.c.removeDead(ctx, dropDead, ref, []string{q.c.keys.QueueDead(ref.Partition, q.name)})
}
