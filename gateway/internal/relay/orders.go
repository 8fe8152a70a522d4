package relay

import (
	"sync"

	"github.com/millracehq/millrace/gateway/stream"
)

// ordersKept is how many revokes and kicks are remembered. They come twice within a second or not at all.
const ordersKept = 1024

// orders are the last revokes and kicks that the loops were given. While a partition changes hands its lane and the watcher both read it, and who was kicked
// and has come back, or has asked again for what was revoked, must not be told twice.
type orders struct {
	mu   sync.Mutex
	seen map[order]struct{}
	last []order // a ring
	next int
}

type order struct {
	partition int
	id        stream.ID
}

// first reports whether the order has not come before.
func (o *orders) first(partition int, id stream.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := order{partition, id}
	if _, ok := o.seen[key]; ok {
		return false
	}
	if o.seen == nil {
		o.seen, o.last = make(map[order]struct{}), make([]order, ordersKept)
	}
	delete(o.seen, o.last[o.next])
	o.last[o.next] = key
	o.next = (o.next + 1) % len(o.last)
	o.seen[key] = struct{}{}
	return true
}
