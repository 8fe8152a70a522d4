package relay

import (
	"sync"
	"sync/atomic"

	"github.com/millracehq/millrace/gateway/stream"
)

// Order is a revoke or a kick for the connections that were there when it was read. Loops hear of it one after the other: who is kicked by one, and
// comes back on another before that has heard of it, must stay.
type Order struct {
	stream.Publication
	Number uint32 // see Relay.Orders; above 0
}

// Concerns reports whether the order is for a connection that came when that many orders had been read.
func (o *Order) Concerns(orders uint32) bool { return int32(o.Number-orders) > 0 }

// ordersKept is how many orders are remembered. They come twice within a second or not at all.
const ordersKept = 1024

// orders are the last ones that the loops were given. While a partition changes hands its lane and the watcher both read it, and who was kicked
// and has come back, or has asked again for what was revoked, must not be told twice.
type orders struct {
	count atomic.Uint32 // written under mu
	mu    sync.Mutex
	seen  map[orderKey]struct{}
	last  []orderKey // a ring
	next  int
}

type orderKey struct {
	partition int
	id        stream.ID
}

// first numbers an order, unless it has come before.
func (o *orders) first(partition int, id stream.ID, p stream.Publication) (n Order, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := orderKey{partition, id}
	if _, ok := o.seen[key]; ok {
		return n, false
	}
	if o.seen == nil {
		o.seen, o.last = make(map[orderKey]struct{}), make([]orderKey, ordersKept)
	}
	delete(o.seen, o.last[o.next])
	o.last[o.next] = key
	o.next = (o.next + 1) % len(o.last)
	o.seen[key] = struct{}{}
	return Order{Publication: p, Number: o.count.Add(1)}, true
}

// Orders is how many revokes and kicks have been read: a connection that comes now is not meant by any of them.
func (r *Relay) Orders() uint32 { return r.orders.count.Load() }
