package redis

import (
	"context"
	"fmt"
	"time"
)

// Backlog is what a group has not done of one partition.
type Backlog struct {
	Pending int64         // entries delivered and not acknowledged
	Lag     int64         // entries not yet delivered
	Oldest  time.Duration // since the oldest of both was written, by Redis's clock; 0 without one
	Dead    int64         // dead letters there now
	Waiting int64         // for another attempt; of a [Queue] only
}

// Backlogs are those of the partitions, in one round trip.
func (g *Group) Backlogs(ctx context.Context, partitions []int) ([]Backlog, error) {
	calls := make([][]any, len(partitions))
	for i, p := range partitions {
		calls[i] = backlog.call([]string{g.in[p], g.c.keys.Dead(p, g.name)}, g.name)
	}
	return g.c.backlogs(ctx, calls)
}

func (c *Client) backlogs(ctx context.Context, calls [][]any) ([]Backlog, error) {
	got, err := c.eval(ctx, backlog, calls...)
	if err != nil {
		return nil, err
	}
	out := make([]Backlog, len(got))
	for i, answer := range got {
		list, _ := answer.([]any)
		if len(list) != 5 {
			return nil, fmt.Errorf("%w: %v for a backlog", errReply, answer)
		}
		var n [5]int64
		for j := range n {
			n[j], _ = list[j].(int64)
		}
		out[i] = Backlog{Pending: n[0], Lag: n[1], Oldest: time.Duration(n[2]) * time.Millisecond, Dead: n[3], Waiting: n[4]}
	}
	return out, nil
}

// backlog answers pending, lag, age in ms, dead letters, and what waits for another attempt: all of one moment, for entries move from one to the other. Redis before 7.0 says no lag, and 7.0 none after some deletions:
// then it is the length of the stream less what is pending, which is too much by what is not trimmed yet.
//
// KEYS: stream, dead letters, of a queue also the set of what waits. ARGV: group.
var backlog = newScript(`
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err and not string.find(groups.err, 'no such key', 1, true) then return groups end
local group
for _, g in ipairs(groups.err and {} or groups) do
	local field = {}
	for i = 1, #g, 2 do field[g[i]] = g[i + 1] end
	if field['name'] == ARGV[1] then group = field end
end
if not group then return redis.error_reply('NOGROUP no group ' .. ARGV[1] .. ' on ' .. KEYS[1]) end
local pending, last = group['pending'], group['last-delivered-id']
local oldest = pending > 0 and redis.call('XPENDING', KEYS[1], ARGV[1])[2]
local new = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
oldest = oldest or new and new[1]
local lag = 0
if new then lag = group['lag'] or math.max(redis.call('XLEN', KEYS[1]) - pending, 1) end
local age = 0
if oldest then
	local time = redis.call('TIME')
	age = math.max(time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(string.match(oldest, '^%d+')), 0)
end
return {pending, lag, age, redis.call('XLEN', KEYS[2]), KEYS[3] and redis.call('ZCARD', KEYS[3]) or 0}`)
