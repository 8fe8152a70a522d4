package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// ErrLeaseLost says that a call wrote nothing, because its lease is over.
var ErrLeaseLost = errors.New("the lease is over")

// Own says what a [Claim] does with entries that are pending for this consumer itself.
type Own string

// Values of [Own].
const (
	OwnLeave Own = ""  // it has them in hand
	OwnAgain Own = "0" // the answer that brought them was lost: they count as attempted as often as before
	OwnAnew  Own = "1" // they are of another process with the same name, which has died over them, perhaps
)

// Claim is one walk through what is pending on a partition. The zero value begins one.
type Claim struct {
	Idle time.Duration // after which an entry of a consumer that uses no leases is taken
	Own  Own

	seen stream.ID // entries up to here have been looked at
}

// Next takes over the next entry, in the order of IDs, that is pending for another owner of the partition's lease, or for anybody
// else who has left it alone for so long; nil at the end. Each entry taken over counts as one more attempt. They
// come one by one on purpose: when a process dies over an entry, it is the only one that is counted against, and not
// its neighbours. At the end former owners for whom nothing is pending leave the group. ErrLeaseLost is returned as it is.
func (g *Group) Next(ctx context.Context, l *Lease, c *Claim) (*Delivery, error) {
	keys := []string{g.lease[l.Partition], g.in[l.Partition], g.c.keys.Owners(l.Partition, g.name)}
	for {
		call := claimNext.call(keys, l.owner, g.name, g.consumer, c.seen.String(), c.Idle.Milliseconds(), string(c.Own))
		got, err := g.c.eval(ctx, claimNext, call)
		if err != nil {
			return nil, err
		}
		list, _ := got[0].([]any)
		if len(list) == 0 {
			return nil, fmt.Errorf("%w: %T for a claim", errReply, got[0])
		}
		switch list[0] {
		case "lost":
			return nil, ErrLeaseLost
		case "end":
			return nil, nil
		}
		if len(list) != 3 {
			return nil, fmt.Errorf("%w: %d values for a claim", errReply, len(list))
		}
		entries, err := parseEntries([]any{[]any{list[0], list[2]}})
		if err != nil {
			return nil, err
		}
		c.seen = entries[0].ID
		if attempt, _ := list[1].(int64); attempt > 0 {
			return &Delivery{Ref: Ref{Partition: l.Partition, ID: c.seen}, Fields: entries[0].Fields, Attempt: attempt}, nil
		}
	}
}

// claimNext looks at a thousand entries at most and answers {"lost"}, {"end"}, or the ID up to which it has looked, the
// attempt and the fields of the entry taken there, 0 and none if there was none. Entries that have been
// deleted are acknowledged.
//
// KEYS: lease, `in` stream, owners. ARGV: owner, group, consumer, ID to begin behind, idle time in ms, Own.
var claimNext = newScript(isHeld + `
if not held then return {'lost'} end
local page = redis.pcall('XPENDING', KEYS[2], ARGV[2], ARGV[4], '+', 1000)
if page.err then return page end
local looked = ARGV[4]
for _, e in ipairs(page) do
	local id, by, attempt = e[1], e[2], tonumber(e[4]) + 1
	local wanted = tonumber(e[3]) >= tonumber(ARGV[5])
	if by == ARGV[3] then
		wanted = ARGV[6] ~= ''
		if ARGV[6] == '0' then attempt = attempt - 1 end
	elseif not wanted then
		wanted = redis.call('ZSCORE', KEYS[3], by)
	end
	if wanted and id ~= ARGV[4] then
		local got = redis.call('XCLAIM', KEYS[2], ARGV[2], ARGV[3], 0, id, 'RETRYCOUNT', attempt)
		if got[1] then return {id, attempt, got[1][2]} end
		redis.call('XACK', KEYS[2], ARGV[2], id)
	end
	looked = id
end
if looked ~= ARGV[4] then return {looked, 0, {}} end
for _, name in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
	if name ~= ARGV[3] and #redis.call('XPENDING', KEYS[2], ARGV[2], '-', '+', 1, name) == 0 then
		redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[2], name)
		redis.call('ZREM', KEYS[3], name)
	end
end
return {'end'}`)

// Strangers says of each lease whether entries are pending there for other consumers.
func (g *Group) Strangers(ctx context.Context, leases []*Lease) ([]bool, error) {
	cmds := make([]*goredis.XPendingCmd, len(leases))
	_, err := g.c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, l := range leases {
			cmds[i] = p.XPending(ctx, g.in[l.Partition], g.name)
		}
		return nil
	})
	if err != nil {
		return nil, groupError(err)
	}
	out := make([]bool, len(leases))
	for i, cmd := range cmds {
		for name := range cmd.Val().Consumers {
			out[i] = out[i] || name != g.consumer
		}
	}
	return out, nil
}

// Touched is an entry in hand.
type Touched struct {
	ID      stream.ID
	Attempt int64 // how often it has been attempted; 0 leaves what Redis knows
}

// Touch starts the idle time of entries anew, so that consumers which use no leases do not take what is in hand, and
// writes down attempts, so that they are counted on by whoever has the entry next. What is not pending any more is
// passed over, and all of it when the lease is over.
func (g *Group) Touch(ctx context.Context, l *Lease, entries []Touched) error {
	argv := make([]any, 3, 3+2*len(entries))
	argv[0], argv[1], argv[2] = l.owner, g.name, g.consumer
	for _, e := range entries {
		argv = append(argv, e.ID.String(), e.Attempt)
	}
	_, err := g.c.eval(ctx, touch, touch.call([]string{g.lease[l.Partition], g.in[l.Partition]}, argv...))
	return err
}

// KEYS: lease, `in` stream. ARGV: owner, group, consumer, and of each entry: ID, attempts.
var touch = newScript(isHeld + `
if not held then return 0 end
for a = 4, #ARGV, 2 do
	local claim = {'XCLAIM', KEYS[2], ARGV[2], ARGV[3], 0, ARGV[a]}
	if ARGV[a + 1] ~= '0' then
		claim[7], claim[8] = 'RETRYCOUNT', ARGV[a + 1]
	end
	claim[#claim + 1] = 'JUSTID'
	local got = redis.pcall(unpack(claim))
	if got.err then return got end
end
return 1`)
