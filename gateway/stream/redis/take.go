package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Reading says what to read: up to Count new entries of each of the partitions that the leases are for. Without any it
// waits for one, for Block at most, and returns none; zero does not wait. Block must stay well below Config.Timeout.
type Reading struct {
	Leases []*Lease
	Count  int
	Block  time.Duration
}

// Taken is what a [Group.Read] has got.
type Taken struct {
	Deliveries []Delivery // those of one partition together and in their order
	Lost       []*Lease   // they are over: nothing was read under them
}

// Read returns new entries. It waits with a plain XREAD, which gives nothing to anybody, and then takes what is there under
// leases that are checked in the same step: a consumer that slept through the end of its leases cannot be given entries
// any more by a command that Redis has had since before. While it waits it is not interrupted by ctx.
func (g *Group) Read(ctx context.Context, r Reading) (Taken, error) {
	taken, _, err := g.CommitRead(ctx, nil, 0, r)
	return taken, err
}

// CommitRead is [Group.Commit] and [Group.Read], in one round trip where Redis is one server. After an error both are to
// be done again: what was read is pending, and [Group.Claim] returns it.
func (g *Group) CommitRead(ctx context.Context, batches []Batch, window time.Duration, r Reading) (Taken, []int, error) {
	if g.multiSlot {
		return g.commitReadMulti(ctx, batches, window, r)
	}
	commits := make([][]any, len(batches))
	committed := make([]*goredis.Cmd, len(batches))
	reading := len(r.Leases) > 0
	var wait, take *goredis.Cmd
	var takeArgs []any
	p := g.c.rdb.Pipeline()
	for i := range batches {
		commits[i] = g.commitArgs(&batches[i], window)
		committed[i] = p.Do(ctx, commits[i]...)
	}
	if reading {
		if r.Block >= time.Millisecond { // BLOCK 0 is for ever
			wait = p.Do(ctx, g.waitArgs(r)...)
		}
		takeArgs = g.takeArgs(r.Leases, r.Count)
		take = p.Do(ctx, takeArgs...)
	}
	_, _ = p.Exec(ctx) // each command has its own error
	done := make([]int, len(batches))
	for i, cmd := range committed {
		answer, err := g.c.result(ctx, commit, cmd, commits[i])
		if err != nil {
			return Taken{}, nil, err
		}
		done[i] = commitDone(answer)
	}
	if !reading {
		return Taken{}, done, nil
	}
	var news []Entries
	if wait != nil {
		reply, err := wait.Result()
		if err == nil {
			news, err = parseStreams(reply)
		}
		if err != nil && !errors.Is(err, goredis.Nil) {
			return Taken{}, nil, groupError(err)
		}
	}
	answer, err := g.c.result(ctx, takeNew, take, takeArgs)
	if err != nil {
		return Taken{}, nil, err
	}
	var taken Taken
	if err := g.appendTaken(&taken, r.Leases, answer); err != nil {
		return Taken{}, nil, err
	}
	g.moveOn(r.Leases, news, taken.Deliveries)
	return taken, done, nil
}

// commitReadMulti has a call for each partition. Those without news are looked at when none has any: positions to wait
// at may be wrong after a failover.
func (g *Group) commitReadMulti(ctx context.Context, batches []Batch, window time.Duration, r Reading) (Taken, []int, error) {
	done, err := g.Commit(ctx, batches, window)
	if err != nil || len(r.Leases) == 0 {
		return Taken{}, done, err
	}
	leases := r.Leases
	var news []Entries
	if r.Block >= time.Millisecond {
		cursors := make([]stream.Cursor, len(leases))
		for i, l := range leases {
			cursors[i] = stream.Cursor{Key: g.in[l.Partition], ID: l.after}
		}
		if news, err = g.c.Read(ctx, cursors, 1, r.Block); err != nil {
			return Taken{}, nil, err
		}
		if len(news) > 0 {
			leases = slices.DeleteFunc(slices.Clone(leases), func(l *Lease) bool {
				return !slices.ContainsFunc(news, func(e Entries) bool { return e.Key == g.in[l.Partition] })
			})
		}
	}
	calls := make([][]any, len(leases))
	for i, l := range leases {
		calls[i] = g.takeArgs([]*Lease{l}, r.Count)
	}
	got, err := g.c.eval(ctx, takeNew, calls...)
	if err != nil {
		return Taken{}, nil, err
	}
	var taken Taken
	for i := range got {
		if err := g.appendTaken(&taken, leases[i:i+1], got[i]); err != nil {
			return Taken{}, nil, err
		}
	}
	g.moveOn(leases, news, taken.Deliveries)
	return taken, done, nil
}

// waitArgs have one entry of each stream end the wait; its content does not matter.
func (g *Group) waitArgs(r Reading) []any {
	args := make([]any, 0, 6+2*len(r.Leases))
	args = append(args, "XREAD", "COUNT", 1, "BLOCK", r.Block.Milliseconds(), "STREAMS")
	for _, l := range r.Leases {
		args = append(args, g.in[l.Partition])
	}
	for _, l := range r.Leases {
		args = append(args, l.after.String())
	}
	return args
}

func (g *Group) takeArgs(leases []*Lease, count int) []any {
	keys := make([]string, 2*len(leases))
	argv := make([]any, 3, 3+len(leases))
	argv[0], argv[1], argv[2] = g.name, g.consumer, count
	for i, l := range leases {
		keys[i], keys[len(leases)+i] = g.lease[l.Partition], g.in[l.Partition]
		argv = append(argv, l.value)
	}
	return takeNew.call(keys, argv...)
}

// takeNew answers the places of leases that are lost, and what XREADGROUP answers for the others. (In a script it does not wait.)
//
// KEYS: leases, and as many `in` streams. ARGV: group, consumer, most entries of a stream, values of the leases.
var takeNew = newScript(`
local n = #KEYS / 2
local values = redis.call('MGET', unpack(KEYS, 1, n))
local read = {'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS'}
local lost, held = {}, 0
for i = 1, n do
	if values[i] == ARGV[3 + i] then
		held = held + 1
		read[7 + held] = KEYS[n + i]
	else
		lost[#lost + 1] = i
	end
end
if held == 0 then return {lost, false} end
for i = 1, held do read[7 + held + i] = '>' end
local got = redis.pcall(unpack(read))
if got and got.err then return got end
return {lost, got}`)

func (g *Group) appendTaken(taken *Taken, leases []*Lease, answer any) error {
	list, _ := answer.([]any)
	if len(list) != 2 {
		return fmt.Errorf("%w: %T for what was taken", errReply, answer)
	}
	lost, _ := list[0].([]any)
	for _, place := range lost {
		if i, ok := place.(int64); ok && i >= 1 && int(i) <= len(leases) {
			taken.Lost = append(taken.Lost, leases[i-1])
		}
	}
	if list[1] == nil {
		return nil
	}
	streams, err := parseStreams(list[1])
	if err != nil {
		return err
	}
	for _, s := range streams {
		p, ok := g.byKey[s.Key]
		if !ok {
			return fmt.Errorf("%w: stream %q was not asked for", errReply, s.Key)
		}
		for _, e := range s.Entries {
			taken.Deliveries = append(taken.Deliveries, Delivery{Ref: Ref{Partition: p, ID: e.ID}, Fields: e.Fields, Attempt: 1})
		}
	}
	return nil
}

// moveOn sets where to wait next: behind what was taken, or where nothing was, behind what ended the wait, which another
// consumer has taken then.
func (g *Group) moveOn(leases []*Lease, news []Entries, taken []Delivery) {
	last := make(map[int]stream.ID, len(leases))
	for _, s := range news {
		for _, e := range s.Entries {
			last[g.byKey[s.Key]] = e.ID
		}
	}
	for i := range taken {
		last[taken[i].Partition] = taken[i].ID
	}
	for _, l := range leases {
		if id, ok := last[l.Partition]; ok {
			l.after = id
		}
	}
}
