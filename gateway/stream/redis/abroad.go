package redis

import (
	"context"
	"time"
)

// pile is what is to be written abroad to one stream, in one call: calls may be answered in any order.
type pile struct {
	keys []string
	argv []any
}

// piles keep the order in which their streams came.
type piles struct {
	byKey map[string]*pile
	order []*pile
}

func (p *piles) of(key string, argv ...any) *pile {
	q := p.byKey[key]
	if q == nil {
		if p.byKey == nil {
			p.byKey = make(map[string]*pile)
		}
		q = &pile{keys: []string{key}, argv: argv}
		p.byKey[key] = q
		p.order = append(p.order, q)
	}
	return q
}

func (p *piles) write(ctx context.Context, c *Client, s script) error {
	if len(p.order) == 0 {
		return nil
	}
	calls := make([][]any, len(p.order))
	for i, q := range p.order {
		calls[i] = s.call(q.keys, q.argv...)
	}
	_, err := c.eval(ctx, s, calls...)
	return err
}

// writeAbroad writes effects for other slots. Whoever handles an entry again after a crash, or while its lost owner still
// believes to hold the lease, finds the marks of those that are written; both write in the order of the entries,
// so that what comes out is in order too. Answers go without a mark: a gateway takes the first one for each ref.
func (g *Group) writeAbroad(ctx context.Context, batches []Batch, window time.Duration) error {
	if !g.anyAbroad(batches) {
		return nil
	}
	held, err := g.stillHeld(ctx, batches)
	if err != nil {
		return err
	}
	var publications, answers piles
	for i := range batches {
		if !held[i] {
			continue
		}
		for j := range batches[i].Outcomes {
			o, n := &batches[i].Outcomes[j], 0
			g.effects(o, func(e effect) {
				var q *pile
				switch e.partition {
				case o.Partition:
					return
				case abroad:
					q = answers.of(e.key)
				default:
					n++
					q = publications.of(e.key, max(window.Milliseconds(), 1))
					q.keys = append(q.keys, g.c.keys.Done(e.partition, o.Partition, o.ID, n))
				}
				q.argv = append(append(q.argv, len(e.values)), e.values...)
			})
		}
	}
	if err := publications.write(ctx, g.c, publishOnce); err != nil {
		return err
	}
	return answers.write(ctx, g.c, answerAll)
}

func (g *Group) anyAbroad(batches []Batch) (found bool) {
	for i := range batches {
		for j := range batches[i].Outcomes {
			o := &batches[i].Outcomes[j]
			g.effects(o, func(e effect) { found = found || e.partition != o.Partition })
		}
	}
	return found
}

// stillHeld looks at the leases, to write nothing for those known to be over.
func (g *Group) stillHeld(ctx context.Context, batches []Batch) ([]bool, error) {
	calls := make([][]any, len(batches))
	for i := range batches {
		l := batches[i].Lease
		calls[i] = holds.call([]string{g.lease[l.Partition]}, l.value(l.commits), l.value(l.commits+1))
	}
	got, err := g.c.eval(ctx, holds, calls...)
	if err != nil {
		return nil, err
	}
	held := make([]bool, len(got))
	for i := range got {
		held[i] = got[i] == int64(1)
	}
	return held, nil
}

// KEYS: lease. ARGV: its values before and after the commit.
var holds = newScript(`
local lease = redis.call('GET', KEYS[1])
return (lease == ARGV[1] or lease == ARGV[2]) and 1 or 0`)

// KEYS: `out` stream, marks. ARGV: window in ms; for each mark the number of fields and values, and these.
var publishOnce = newScript(`
local a = 2
for k = 2, #KEYS do
	local last = a + tonumber(ARGV[a])
	if redis.call('SET', KEYS[k], '1', 'NX', 'PX', ARGV[1]) then
		redis.call('XADD', KEYS[1], 'MAXLEN', '~', '` + history + `', '*', unpack(ARGV, a + 1, last))
	end
	a = last + 1
end
return 1`)

// KEYS: node's stream. ARGV: for each answer the number of fields and values, and these.
var answerAll = newScript(`
local a = 1
while ARGV[a] do
	local last = a + tonumber(ARGV[a])
	redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', '` + history + `', '*', unpack(ARGV, a + 1, last))
	a = last + 1
end
return 1`)
