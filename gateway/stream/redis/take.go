package redis

import (
	"fmt"
	"slices"
	"time"

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

// takeArgs are for a read behind the commits of batches: it finds their leases as those have left them.
func (g *Group) takeArgs(leases []*Lease, batches []Batch, count int) []any {
	keys := make([]string, 2*len(leases))
	argv := make([]any, 3, 3+len(leases))
	argv[0], argv[1], argv[2] = g.name, g.consumer, count
	for i, l := range leases {
		keys[i], keys[len(leases)+i] = g.lease[l.Partition], g.in[l.Partition]
		n := l.commits
		if slices.ContainsFunc(batches, func(b Batch) bool { return b.Lease == l }) {
			n++
		}
		argv = append(argv, l.value(n))
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

func (g *Group) parseTaken(leases []*Lease, answer result) (taken Taken, err error) {
	if answer.err != nil {
		return taken, groupError(answer.err)
	}
	list, _ := answer.value.([]any)
	if len(list) != 2 {
		return taken, fmt.Errorf("%w: %T for what was taken", errReply, answer.value)
	}
	lost, _ := list[0].([]any)
	for _, place := range lost {
		if i, ok := place.(int64); ok && i >= 1 && int(i) <= len(leases) {
			taken.Lost = append(taken.Lost, leases[i-1])
		}
	}
	if list[1] == nil {
		return taken, nil
	}
	streams, err := parseStreams(list[1])
	if err != nil {
		return taken, err
	}
	for _, s := range streams {
		p, ok := g.byKey[s.Key]
		if !ok {
			return taken, fmt.Errorf("%w: stream %q was not asked for", errReply, s.Key)
		}
		for _, e := range s.Entries {
			taken.Deliveries = append(taken.Deliveries, Delivery{Ref: Ref{Partition: p, ID: e.ID}, Fields: e.Fields, Attempt: 1})
		}
	}
	return taken, nil
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
