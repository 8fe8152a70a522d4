package worker

import (
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// maxWaiting bounds the entries of a partition that wait behind a retry; then the partition is not read on.
const maxWaiting = 1024

// part is what a shard has of one partition. It belongs to the shard's goroutine, but for hand.
type part struct {
	*holding
	claim    *redis.Claim     // under way, or nil; new entries are not read before its end
	full     bool             // the last read brought as much as it may: there is more
	outcomes []redis.Outcome  // handled, to be committed together with the next read
	lines    map[string]*line // by channel
	waiting  int              // entries in lines

	hand map[stream.ID]time.Time // read and not committed, and since when; guarded by shard.mu
}

// line is the entries of one channel that wait for a retry of the first one, so that they stay in order.
type line struct {
	items []item
	due   time.Time
}

func newPart(h *holding) *part {
	return &part{
		holding: h, lines: make(map[string]*line), hand: make(map[stream.ID]time.Time),
		claim: h.worker.claim(redis.OwnAnew), // first what the last owner has left
	}
}

// readable says whether new entries may be read.
func (p *part) readable() bool { return !p.over() && p.claim == nil && p.waiting < maxWaiting }

// claimable says whether entries may be taken over.
func (p *part) claimable() bool { return !p.over() && p.claim != nil && p.waiting < maxWaiting }

// enqueue has an entry wait at the end of its line.
func (p *part) enqueue(it item) {
	l := p.lines[it.line()]
	if l == nil {
		l = &line{}
		p.lines[it.line()] = l
	}
	l.items = append(l.items, it)
	p.waiting++
	p.worker.metrics.waiting.Add(1)
}

// dequeue ends a line and returns its entries.
func (p *part) dequeue(key string) []item {
	l := p.lines[key]
	delete(p.lines, key)
	p.waiting -= len(l.items)
	p.worker.metrics.waiting.Add(int64(-len(l.items)))
	return l.items
}

// forget lets go of everything: another worker has it, or will.
func (p *part) forget() {
	for key := range p.lines {
		p.dequeue(key)
	}
	p.outcomes, p.claim = nil, nil
}

// due is the time of the first retry; zero without one.
func (p *part) due() (first time.Time) {
	for _, l := range p.lines {
		if first.IsZero() || l.due.Before(first) {
			first = l.due
		}
	}
	return first
}
