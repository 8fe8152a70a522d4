package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Failed is an entry of a queue that could not be done: it waits for another attempt, or is given up.
type Failed struct {
	Ref
	Event  string        // its ID; "" if it is not known
	Fields []string      // what comes again: UTF-8. Not used where it is given up
	Wait   time.Duration // until then
	Dead   *Death        // it is given up; nil if it is not
}

// Settle acknowledges entries that are done and puts aside those that failed, each of these in one step with its
// acknowledgement: what is not pending any more was settled by another consumer, and nothing is done about it. It may be
// called again when its answer was lost.
func (q *Queue) Settle(ctx context.Context, done []Ref, failed []Failed) error {
	calls := make([][]any, len(failed))
	for i := range failed {
		call, err := q.settleArgs(&failed[i])
		if err != nil {
			return err
		}
		calls[i] = call
	}
	if len(calls) > 0 {
		if _, err := q.c.eval(ctx, settle, calls...); err != nil {
			return err
		}
	}
	if len(done) == 0 {
		return nil
	}
	_, err := q.c.rdb.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
		for p, ids := range byPartition(done) {
			pipe.Do(ctx, append([]any{"XACK", q.streams[p], queueGroup}, ids...)...)
		}
		return nil
	})
	return groupError(err)
}

func (q *Queue) settleArgs(f *Failed) ([]any, error) {
	keys := []string{
		q.streams[f.Partition], q.c.keys.QueueWaiting(f.Partition, q.name), q.c.keys.QueueBodies(f.Partition, q.name),
		q.c.keys.QueueDead(f.Partition, q.name), q.c.keys.QueueGivenUp(f.Partition, q.name),
	}
	if d := f.Dead; d != nil {
		return settle.call(keys, queueGroup, f.ID.String(), f.Event, d.Reason, d.Attempts, d.At.UnixMilli(), d.Most, q.consumer), nil
	}
	body, err := json.Marshal(f.Fields)
	if err != nil {
		return nil, err
	}
	if f.Event == "" {
		return nil, fmt.Errorf("redis: entry %v has no ID and cannot wait", f.ID)
	}
	return settle.call(keys, queueGroup, f.ID.String(), f.Event, "", f.Wait.Milliseconds(), string(body)), nil
}

// remembered are how many IDs of what was given up a partition remembers; then the oldest go.
const remembered = "100000"

// The body of what waits is JSON, a list of fields and values. A dead letter is copied from the stream, so that it is what came.
//
// KEYS: stream, waiting, bodies, dead letters, given up. ARGV: group, entry, ID of its event, then either "", wait in ms, body, or
// reason, attempts, time, most dead letters, consumer.
var settle = newScript(`
local dead = ARGV[4] ~= '' and redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
if ARGV[4] == '' then
	local time = redis.call('TIME')
	local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[5]
	redis.call('ZADD', KEYS[2], 'NX', due, ARGV[3])
	redis.call('HSET', KEYS[3], ARGV[3], ARGV[6])
	return 1
end
if not dead then return 0 end
if ARGV[3] ~= '' then
	if redis.call('ZADD', KEYS[5], 'NX', ARGV[6], ARGV[3]) == 0 then return 0 end
	redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -` + remembered + ` - 1)
end
local fields = {}
for i = 1, math.min(#dead[2], 4000) do fields[i] = dead[2][i] end
for _, f in ipairs({'dead_entry', ARGV[2], 'dead_reason', ARGV[4], 'dead_attempts', ARGV[5],
	'dead_at', ARGV[6], 'dead_consumer', ARGV[8]}) do fields[#fields + 1] = f end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], '*', unpack(fields))
return 1`)

// Wake puts what is due back to the end of its stream, up to a hundred entries of each partition, and says how many.
func (q *Queue) Wake(ctx context.Context) (woken int64, err error) {
	calls := make([][]any, len(q.streams))
	for p := range calls {
		calls[p] = wake.call([]string{q.streams[p], q.c.keys.QueueWaiting(p, q.name), q.c.keys.QueueBodies(p, q.name)})
	}
	got, err := q.c.eval(ctx, wake, calls...)
	for _, n := range got {
		count, _ := n.(int64)
		woken += count
	}
	return woken, err
}

// KEYS: stream, waiting, bodies.
var wake = newScript(`
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local time = redis.call('TIME')
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', time[1] * 1000 + math.floor(time[2] / 1000), 'LIMIT', 0, 100)
for _, id in ipairs(due) do
	local body = redis.call('HGET', KEYS[3], id)
	if body then redis.call('XADD', KEYS[1], '*', unpack(cjson.decode(body))) end
	redis.call('ZREM', KEYS[2], id)
	redis.call('HDEL', KEYS[3], id)
end
return #due`)

// Known says of events whether Redis has something to say of them: that they wait for another attempt, or were given up.
func (q *Queue) Known(ctx context.Context, partition int, events []string) (waiting, dead []bool, err error) {
	cmds := make([][2]*goredis.FloatCmd, len(events))
	_, _ = q.c.rdb.Pipelined(ctx, func(pipe goredis.Pipeliner) error { // each command has its own error
		for i, id := range events {
			cmds[i] = [2]*goredis.FloatCmd{
				pipe.ZScore(ctx, q.c.keys.QueueWaiting(partition, q.name), id), pipe.ZScore(ctx, q.c.keys.QueueGivenUp(partition, q.name), id),
			}
		}
		return nil
	})
	waiting, dead = make([]bool, len(events)), make([]bool, len(events))
	for i, cmd := range cmds {
		for _, err := range []error{cmd[0].Err(), cmd[1].Err()} {
			if err != nil && !errors.Is(err, goredis.Nil) {
				return nil, nil, err
			}
		}
		waiting[i], dead[i] = cmd[0].Err() == nil, cmd[1].Err() == nil
	}
	return waiting, dead, nil
}
