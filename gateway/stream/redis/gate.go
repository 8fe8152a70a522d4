package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// covers reports whether the gate was opened for all of the leases.
func (r *Reader) covers(leases []*Lease) bool {
	for _, l := range leases {
		if l.gate != r.gate {
			return false
		}
	}
	return r.gate != ""
}

// openings is how often a gate is opened for one read.
const openings = 3

// enter opens a gate for the leases that are held, and reads through it. It gives up, with nothing taken, when its gates are closed time and
// again: by whoever has one of the partitions now, under a lease like the one here. Tokens begin again after a flush, so that a lease of before and one
// of after it may be the same to Redis, and only the caller knows that it has lost the first.
func (r *Reader) enter(ctx context.Context, what Reading) (taken Taken, err error) {
	for range openings {
		held, lost, err := r.open(ctx, what.Leases)
		taken.Lost = append(taken.Lost, lost...)
		if what.Leases = held; err != nil || len(held) == 0 {
			return taken, err
		}
		read := r.g.c.send(ctx, [][]any{r.readArgs(what)})[0]
		if r.closed(read.err) { // one more lease is lost, or was a moment ago
			continue
		}
		taken.Deliveries, err = r.g.parseDeliveries(read)
		return taken, err
	}
	return taken, nil
}

// open makes a new gate, and says which leases it is for.
func (r *Reader) open(ctx context.Context, leases []*Lease) (held, lost []*Lease, err error) {
	g, n := r.g, len(leases)
	gate := g.gate[leases[0].Partition] + ":" + rand.Text()
	keys := make([]string, 1+2*n)
	argv := make([]any, 1+n)
	keys[0], argv[0] = gate, g.name
	for i, l := range leases {
		keys[1+i], keys[1+n+i], argv[1+i] = g.lease[l.Partition], g.gate[l.Partition], l.value(l.commits)
	}
	got, err := g.c.eval(ctx, openGate, openGate.call(keys, argv...))
	if err != nil {
		return nil, nil, err
	}
	places, _ := got[0].([]any)
	if len(places) != n {
		return nil, nil, fmt.Errorf("%w: %T for a gate", errReply, got[0])
	}
	for i, l := range leases {
		if places[i] != int64(1) {
			lost = append(lost, l)
			continue
		}
		l.gate = gate
		held = append(held, l)
	}
	r.gate = gate
	return held, lost, nil
}

// closeGate is the beginning of scripts after which no read may pass that was meant to before. A partition's gate key names
// the stream that those reads go through.
const closeGate = `
local function close(key)
	local gate = redis.call('GET', key)
	if gate then redis.call('DEL', gate) end
end
`

// openGate answers 1 for each lease that is held and 0 for each that is not.
//
// KEYS: the gate, leases, and as many gate keys. ARGV: group, values of the leases.
var openGate = newScript(closeGate + `
local n = (#KEYS - 1) / 2
local held, some = {}, false
for i = 1, n do
	held[i] = 0
	if redis.call('GET', KEYS[1 + i]) == ARGV[1 + i] then
		held[i], some = 1, true
		close(KEYS[1 + n + i])
		redis.call('SET', KEYS[1 + n + i], KEYS[1])
	end
end
if some then redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'MKSTREAM') end
return held`)

// closed reports whether a read found no gate. One that did not wait is told the key; one that waited may not be.
func (r *Reader) closed(err error) bool {
	return goredis.HasErrorPrefix(err, "UNBLOCKED") || goredis.HasErrorPrefix(err, "NOGROUP") &&
		(strings.Contains(err.Error(), r.gate) || strings.Contains(err.Error(), "blocked on"))
}
