// Package hub knows which connections of one loop are subscribed to which channel, and sends publications to them.
//
//	Batch (from the relay) ─▶ queue ─▶ sweep ─▶ Conns.Push, one call per connection and sweep
//	                                     │
//	            │        publications of a channel are joined once and shared by its subscribers;
//	            │        a connection with several such channels gets them joined in one push
//	            ▼
//	          window ─▶ chasers: subscriptions that resume, or were too slow, until they have caught up
//
// A sweep takes all batches that wait and goes over their subscribers in steps, so that a large channel does not
// hold up reads and pongs. Everything belongs to the loop's goroutine. A batch counts as delivered, for positions
// and for who gets it, from the moment its sweep begins: from then on it is in the window, so who subscribes later
// gets it from there if it asks for it, and what comes later by a sweep. A subscription is either live or a chaser,
// never both, which makes resume, replay and live one sequence.
//
// The hub knows neither connections (only seats) nor Redis, and it refuses nothing: limits and permissions are
// the router's. A publication may have two forms, plain and packed; a sweep has the packed one made when it comes to the
// first connection that takes it, at most once for all. Cost: 24 bytes a subscription, 12 a connection, nothing allocated per delivery or per resume from the
// window.
package hub

import (
	"slices"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/slab"
)

// Config of a Hub; the zero value has the defaults named here.
type Config struct {
	Partitions  int
	WindowBytes int           // of publications kept for those who resume, with what that costs; default 64 MiB
	WindowTime  time.Duration // for how long they are kept; default 5 min
}

// Hub belongs to one loop.
type Hub struct {
	// Immutable after New.
	cfg   Config
	conns Conns

	channels map[string]*channel
	members  slab.Slab[member] // by seat
	subs     arena
	windows  []window          // by partition
	uses     []int32           // by partition: its subscriptions
	chasers  map[int32]*chaser // by subscription
	spare    *chaser           // the last one that caught up, for the next
	ahead    bool              // a chaser waits for its partition to get where it is
	bytes    int               // of all windows
	tick     uint32            // seconds

	queue  []*Batch
	sweep  sweep
	frames []frameAt // scratch
	joined []byte    // scratch

	// Counts since the start: publications that had a subscriber here, their deliveries, what was given to chasers, and
	// gaps that were told of.
	Published, Delivered, Replayed uint64
	Gaps                           [GapReasons]uint64
}

// member is what the hub keeps of a connection.
type member struct {
	first int32 // its subscriptions, index in the arena; 0: none
	touch int32 // its links in the sweep under way; 0: none
	count int32 // of subscriptions; below 0: it takes packed frames, and has ^count of them
}

func (m *member) packs() bool { return m.count < 0 }

func (m *member) add(n int32) {
	if m.packs() {
		n = -n
	}
	m.count += n
}

type channel struct {
	name      string
	partition int32
	pend      int32 // of the sweep that is being prepared, +1; 0: none
	chasing   int32 // how many of subs are chasers
	policy    Policy
	subs      []subscriber
}

type subscriber struct{ seat, sub int32 }

// New makes the hub of one loop.
func New(cfg Config, conns Conns) *Hub {
	if cfg.WindowBytes == 0 {
		cfg.WindowBytes = 64 << 20
	}
	if cfg.WindowTime == 0 {
		cfg.WindowTime = 5 * time.Minute
	}
	return &Hub{
		cfg:      cfg,
		conns:    conns,
		channels: map[string]*channel{},
		windows:  make([]window, cfg.Partitions),
		uses:     make([]int32, cfg.Partitions),
		chasers:  map[int32]*chaser{},
	}
}

// Open says how a partition stands that had no subscriber so far.
func (h *Hub) Open(o *Opening) {
	h.Finish() // what an earlier use of the partition left in the queue is before o.At: nobody new may get it
	w := &h.windows[o.Partition]
	h.bytes -= w.bytes
	w.open(o.At, o.Floor)
	for _, p := range o.Recent {
		h.keep(p)
	}
}

// Shut forgets the window of a partition that is not read any more.
func (h *Hub) Shut(partition int) {
	w := &h.windows[partition]
	h.bytes -= w.bytes
	*w = window{at: w.at, epoch: w.epoch}
}

// Lost says how a partition stands of which the stream was lost or went back in time: its subscribers are told of a gap.
func (h *Hub) Lost(o *Opening) {
	h.Open(o)
	for i, c := range h.chasers {
		if int(h.subs.all[i].ch.partition) == o.Partition {
			if c.lossy {
				c.lost = true
			} else {
				h.catchUp(i)
			}
		}
	}
	for _, ch := range h.channels {
		if int(ch.partition) != o.Partition {
			continue
		}
		for _, s := range ch.subs {
			if h.chasers[s.sub] == nil {
				h.gap(s.sub, s.seat, o.At.ID, GapEpoch)
			}
		}
	}
}

// keep puts a publication into its window and returns its number there. A window may hold its share of half of what all may,
// and more while all hold less than that half.
func (h *Hub) keep(p Publication) (n uint64) {
	w := &h.windows[p.Partition]
	if w.last == nil {
		return 0 // not in use: nobody could come back to it
	}
	n, grown := w.add(p)
	h.bytes += grown
	for half := h.cfg.WindowBytes / 2; h.bytes > half && w.bytes > half/len(h.windows); {
		h.bytes -= w.evict()
	}
	return n
}

// Packs says that a connection, which has no subscription yet, takes packed frames.
func (h *Hub) Packs(seat int32) { h.members.At(seat).count = -1 }

// Subscribe adds a subscription that gets what comes from now on. It reports false when there is one already.
func (h *Hub) Subscribe(seat int32, name []byte, partition int, policy Policy) bool {
	m := h.members.At(seat)
	if h.find(m, name) != 0 {
		return false
	}
	ch := h.channels[string(name)]
	if ch == nil {
		ch = &channel{name: string(name), partition: int32(partition), policy: policy}
		h.channels[ch.name] = ch
	}
	i := h.subs.add(subscription{ch: ch, at: int32(len(ch.subs)), next: m.first})
	ch.subs = append(ch.subs, subscriber{seat: seat, sub: i})
	m.first = i
	m.add(1)
	h.uses[partition]++
	return true
}

// Unsubscribe takes a subscription away, with what a sweep under way still had for it. It reports false when there is none.
func (h *Hub) Unsubscribe(seat int32, name []byte) bool {
	m := h.members.At(seat)
	for link := &m.first; *link != 0; link = &h.subs.all[*link].next {
		if i := *link; h.subs.all[i].ch.name == string(name) {
			*link = h.subs.all[i].next
			h.sweep.forget(m, h.subs.all[i].ch)
			h.leave(i)
			m.add(-1)
			return true
		}
	}
	return false
}

// Subscribed reports whether there is that subscription.
func (h *Hub) Subscribed(seat int32, name []byte) bool {
	return h.find(h.members.At(seat), name) != 0
}

// Names are the channels of a connection, the newest first.
func (h *Hub) Names(seat int32) (names []string) {
	for i := h.members.At(seat).first; i != 0; i = h.subs.all[i].next {
		names = append(names, h.subs.all[i].ch.name)
	}
	return names
}

// Count is how many subscriptions a connection has.
func (h *Hub) Count(seat int32) int {
	m := h.members.At(seat)
	if m.packs() {
		return int(^m.count)
	}
	return int(m.count)
}

// Remove takes away all that belongs to a connection.
func (h *Hub) Remove(seat int32) {
	m := h.members.At(seat)
	for i := m.first; i != 0; {
		next := h.subs.all[i].next
		h.leave(i)
		i = next
	}
	*m = member{}
}

// Subscribers calls f for each connection on a channel; f may end that connection or its subscription.
func (h *Hub) Subscribers(name string, f func(seat int32)) {
	ch := h.channels[name]
	if ch == nil {
		return
	}
	for _, s := range slices.Backward(ch.subs) { // who leaves is replaced by one that has had its call
		f(s.seat)
	}
}

// Channels is how many channels have a subscriber here.
func (h *Hub) Channels() int { return len(h.channels) }

// Subscriptions is how many subscriptions a partition has here.
func (h *Hub) Subscriptions(partition int) int { return int(h.uses[partition]) }

// Position is where a partition stands: everything up to it has been swept.
func (h *Hub) Position(partition int) stream.Position {
	w := &h.windows[partition]
	return w.position(w.at)
}

// Chasers is how many subscriptions are not live.
func (h *Hub) Chasers() int { return len(h.chasers) }

// WindowBytes is what the resume windows hold.
func (h *Hub) WindowBytes() int { return h.bytes }

func (h *Hub) find(m *member, name []byte) int32 {
	for i := m.first; i != 0; i = h.subs.all[i].next {
		if h.subs.all[i].ch.name == string(name) {
			return i
		}
	}
	return 0
}

// leave takes subscription i out of its channel; the last subscriber takes its place.
func (h *Hub) leave(i int32) {
	s := &h.subs.all[i]
	ch := s.ch
	if h.chasers[i] != nil {
		h.catchUp(i)
	}
	last := len(ch.subs) - 1
	ch.subs[s.at] = ch.subs[last]
	h.subs.all[ch.subs[s.at].sub].at = s.at
	ch.subs = ch.subs[:last]
	h.uses[ch.partition]--
	if last == 0 {
		delete(h.channels, ch.name)
	} else if cap(ch.subs) > 64 && last < cap(ch.subs)/4 {
		ch.subs = append(make([]subscriber, 0, 2*last), ch.subs...)
	}
	h.subs.drop(i)
}
