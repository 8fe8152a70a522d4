package relay

import (
	"context"
	"sync"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/stream"
)

// pastCount is how many entries a loop gets at once of what its resume window does not hold.
const pastCount = 256

// historian reads what resume windows do not hold. Bound: one request for each loop and partition; policy: hubs ask for
// all their subscribers together, and again when they have had the answer; metric: Stats.Older.
type historian struct {
	wake chan struct{} // one token: requests have come

	// Guarded by mu.
	mu       sync.Mutex
	requests []request
}

type request struct {
	loop int
	past *hub.Past
}

// Older asks for the stream of a partition from an entry on, up to another. The answer is Sink.Past, with at least the
// first two of them, when there are so many.
func (r *Relay) Older(loop, partition int, epoch stream.Epoch, from, to stream.ID) {
	h := &r.historian
	h.mu.Lock()
	h.requests = append(h.requests, request{loop, &hub.Past{Partition: partition, Epoch: epoch, From: from, To: to}})
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (r *Relay) runHistorian(ctx context.Context) {
	h := &r.historian
	for {
		select {
		case <-h.wake:
		case <-ctx.Done():
			return
		}
		h.mu.Lock()
		requests := h.requests
		h.requests = nil
		h.mu.Unlock()
		for _, q := range requests {
			r.readPast(ctx, q.past)
			to := &r.loops[q.loop]
			to.Post(func() { to.Past(q.past) })
		}
	}
}

func (r *Relay) readPast(ctx context.Context, p *hub.Past) {
	r.counts.older.Add(1)
	found, err := r.streams.Ranges(ctx, []stream.Range{{Key: r.parts[p.Partition].key, From: p.From, To: p.To, Count: pastCount}})
	if err != nil {
		p.Err = err
		return
	}
	entries := found[0]
	if len(entries) == 0 {
		return
	}
	p.First = entries[0].ID
	if len(entries) == pastCount {
		p.To = entries[pastCount-1].ID
	}
	p.Publications = r.publications(p.Partition, p.Epoch, entries)
}
