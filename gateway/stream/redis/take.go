package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Reading says what to read: up to Count new entries of each of the partitions that the leases are for. Without any it
// waits for one, for Block at most, and returns none; zero does not wait. Block must stay well below Config.Timeout.
type Reading struct {
	Leases []*Lease
	Count  int
	Block  time.Duration
}

// Taken is what a [Reader.Read] has got.
type Taken struct {
	Deliveries []Delivery // those of one partition together and in their order
	Lost       []*Lease   // they are over: nothing is delivered under them
}

// readArgs are XREADGROUP over the partitions and the gate, which never has an entry: Redis refuses the whole command where
// a stream that it names is not there, and ends its wait when one goes.
func (r *Reader) readArgs(what Reading) []any {
	args := make([]any, 0, 11+2*len(what.Leases))
	args = append(args, "XREADGROUP", "GROUP", r.g.name, r.g.consumer, "COUNT", what.Count)
	if what.Block >= time.Millisecond { // BLOCK 0 is for ever
		args = append(args, "BLOCK", what.Block.Milliseconds())
	}
	args = append(args, "STREAMS", r.gate) // miniredis reads what stands before it
	for _, l := range what.Leases {
		args = append(args, r.g.in[l.Partition])
	}
	for range len(what.Leases) + 1 {
		args = append(args, ">")
	}
	return args
}

// parseDeliveries reads the answer of XREADGROUP, which is nil where there is nothing new.
func (g *Group) parseDeliveries(read result) ([]Delivery, error) {
	if read.err != nil {
		return nil, groupError(read.err)
	}
	if read.value == nil {
		return nil, nil
	}
	streams, err := parseStreams(read.value)
	if err != nil {
		return nil, err
	}
	var out []Delivery
	for _, s := range streams {
		p, ok := g.byKey[s.Key]
		if !ok {
			return nil, fmt.Errorf("%w: stream %q was not asked for", errReply, s.Key)
		}
		for _, e := range s.Entries {
			out = append(out, Delivery{Ref: Ref{Partition: p, ID: e.ID}, Fields: e.Fields, Attempt: 1})
		}
	}
	return out, nil
}

// take reads without waiting.
func (r *Reader) take(ctx context.Context, leases []*Lease, count int) (taken Taken, err error) {
	g := r.g
	calls := make([][]any, len(leases))
	for i, l := range leases {
		keys := []string{g.lease[l.Partition], g.in[l.Partition]}
		calls[i] = takeNew.call(keys, l.value(l.commits), g.name, g.consumer, count)
	}
	got := g.c.send(ctx, calls)
	g.c.sendText(ctx, takeNew, calls, got)
	for i, l := range leases {
		if got[i].value == int64(LeaseLost) {
			taken.Lost = append(taken.Lost, l)
			continue
		}
		more, err := g.parseDeliveries(got[i])
		if err != nil {
			return Taken{}, err
		}
		if len(more) > 0 {
			l.after = more[len(more)-1].ID
		}
		taken.Deliveries = append(taken.Deliveries, more...)
	}
	return taken, nil
}

// takeNew answers [LeaseLost], or what XREADGROUP answers. (In a script it does not wait.)
//
// KEYS: lease, `in` stream. ARGV: value of the lease, group, consumer, most entries.
var takeNew = newScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return ` + strconv.Itoa(LeaseLost) + ` end
return redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[4], 'STREAMS', KEYS[2], '>')`)
