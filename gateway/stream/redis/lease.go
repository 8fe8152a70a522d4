package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// Lease is the right of one consumer to read and to commit one partition of its group. It ends by [Group.Release], or by
// itself when it has not been renewed for its ttl. From then on every call made under it writes nothing, also one that
// was sent before.
type Lease struct {
	// Immutable after [Group.Acquire].
	Partition int
	Token     int64 // grows with every change of the owner

	owner string // token and consumer

	// Owned by the reader.
	commits int64     // how many there were under it, as far as Redis has answered
	last    int64     // place of the last one among all of the group
	gate    string    // the reader's, when it was opened for this lease too
	after   stream.ID // where to wait for new entries, in a Cluster: behind the last one that the group was given
}

// value is what the lease key says after n commits. A Redis that says less than it has said has gone back in time, by a failover
// or a restart: what was committed since is pending again. So the lease is over then, like any that Redis does not know, and
// the next owner begins with what is pending.
func (l *Lease) value(n int64) string { return strconv.FormatInt(n, 10) + " " + l.owner }

// isHeld is the beginning of scripts that ask for the owner only. KEYS[1] is the lease, ARGV[1] the owner.
const isHeld = `
local lease = redis.call('GET', KEYS[1])
local held = lease and string.match(lease, '^%d+ (.*)$') == ARGV[1]
`

// Heartbeat counts this consumer among the live workers of the group for the next ttl, and returns how many there are. Their
// times are those of Redis.
func (g *Group) Heartbeat(ctx context.Context, ttl time.Duration) (workers int, err error) {
	got, err := g.c.eval(ctx, heartbeat, heartbeat.call([]string{g.c.keys.Workers(g.name)}, g.consumer, ttl.Milliseconds()))
	if err != nil {
		return 0, err
	}
	n, _ := got[0].(int64)
	return int(n), nil
}

// KEYS: workers. ARGV: consumer, ttl in ms.
var heartbeat = newScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], 10 * ARGV[2])
return redis.call('ZCARD', KEYS[1])`)

// Depart takes this consumer out of the live workers.
func (g *Group) Depart(ctx context.Context) error {
	return g.c.rdb.ZRem(ctx, g.c.keys.Workers(g.name), g.consumer).Err()
}

// Acquire takes the leases of those partitions that nobody holds, for ttl. One that this consumer holds, as far as Redis
// knows, it gets with a new token: its last Acquire had no answer, or it is a new process with an old name.
func (g *Group) Acquire(ctx context.Context, partitions []int, ttl time.Duration) ([]*Lease, error) {
	calls := make([][]any, len(partitions))
	for i, p := range partitions {
		keys := []string{g.lease[p], g.c.keys.Owners(p, g.name), g.in[p], g.gate[p]}
		calls[i] = acquire.call(keys, g.name, g.consumer, ttl.Milliseconds())
	}
	got, err := g.c.eval(ctx, acquire, calls...)
	if err != nil {
		return nil, err
	}
	var leases []*Lease
	for i, answer := range got {
		if answer == nil {
			continue
		}
		l, err := g.parseLease(partitions[i], answer)
		if err != nil {
			return nil, err
		}
		leases = append(leases, l)
	}
	return leases, nil
}

func (g *Group) parseLease(partition int, answer any) (*Lease, error) {
	list, _ := answer.([]any)
	if len(list) != 2 {
		return nil, fmt.Errorf("%w: %v for a lease", errReply, answer)
	}
	token, _ := list[0].(int64)
	text, _ := list[1].(string)
	if text == "0" { // as miniredis has it
		text = "0-0"
	}
	after, err := stream.ParseID(text)
	if err != nil {
		return nil, fmt.Errorf("%w: last delivered ID %q", errReply, text)
	}
	return &Lease{Partition: partition, Token: token, owner: fmt.Sprintf("%d %s", token, g.consumer), after: after}, nil
}

// acquire answers the token and the group's last delivered ID. The newest owner stays in `owners` when its lease is over,
// so that tokens go on growing.
//
// KEYS: lease, owners, `in` stream, gate key. ARGV: group, consumer, ttl in ms.
var acquire = newScript(closeGate + `
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+ %d+ (.*)$') ~= ARGV[2] then return false end
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[3])
if groups.err and not string.find(groups.err, 'no such key', 1, true) then return groups end
local after
for _, g in ipairs(groups.err and {} or groups) do
	local field = {}
	for i = 1, #g, 2 do field[g[i]] = g[i + 1] end
	if field['name'] == ARGV[1] then after = field['last-delivered-id'] end
end
if not after then return redis.error_reply('NOGROUP no group ' .. ARGV[1] .. ' on ' .. KEYS[3]) end
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local token = tonumber(newest[2] or 0) + 1
redis.call('ZADD', KEYS[2], token, ARGV[2])
redis.call('SET', KEYS[1], string.format('0 %.0f %s', token, ARGV[2]), 'PX', ARGV[3])
close(KEYS[4])
return {token, after}`)

// Renew makes leases last for ttl from now, and says of each whether it is still held.
func (g *Group) Renew(ctx context.Context, leases []*Lease, ttl time.Duration) ([]bool, error) {
	calls := make([][]any, len(leases))
	for i, l := range leases {
		calls[i] = renew.call([]string{g.c.keys.Lease(l.Partition, g.name)}, l.owner, ttl.Milliseconds())
	}
	got, err := g.c.eval(ctx, renew, calls...)
	if err != nil {
		return nil, err
	}
	held := make([]bool, len(leases))
	for i := range got {
		held[i] = got[i] == int64(1)
	}
	return held, nil
}

// KEYS: lease. ARGV: its owner, ttl in ms.
var renew = newScript(isHeld + `
if not held then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

// look says of each lease whether it is what it is known to be.
func (g *Group) look(ctx context.Context, leases []*Lease) ([]bool, error) {
	keys := make([]string, len(leases))
	for i, l := range leases {
		keys[i] = g.lease[l.Partition]
	}
	values, err := g.c.rdb.MGet(ctx, keys...).Result()
	held := make([]bool, len(leases))
	for i := range values {
		held[i] = values[i] == leases[i].value(leases[i].commits)
	}
	return held, err
}

// Release gives leases back, so that others need not wait for their end. Where nothing is pending for the consumer it leaves
// the group of that partition; elsewhere its entries are there for the next owner.
func (g *Group) Release(ctx context.Context, leases []*Lease) error {
	calls := make([][]any, len(leases))
	for i, l := range leases {
		calls[i] = release.call([]string{g.c.keys.Lease(l.Partition, g.name), g.in[l.Partition]}, l.owner, g.name, g.consumer)
	}
	_, err := g.c.eval(ctx, release, calls...)
	return err
}

// XGROUP DELCONSUMER throws away what is pending: hence the look before it, in one step.
//
// KEYS: lease, `in` stream. ARGV: owner, group, consumer.
var release = newScript(isHeld + `
if not held then return 0 end
redis.call('DEL', KEYS[1])
local pending = redis.pcall('XPENDING', KEYS[2], ARGV[2], '-', '+', 1, ARGV[3])
if not pending.err and #pending == 0 then
	redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[2], ARGV[3])
end
return 1`)
