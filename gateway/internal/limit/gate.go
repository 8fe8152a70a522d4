package limit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
)

// Gate counts the connections of a gateway, over all its loops. It counts by address and by user only while those are bounded: when a bound is new, those who
// are there already do not count.
type Gate struct {
	seed maphash.Seed // Immutable.

	// Guarded by mu.
	mu        sync.Mutex
	open      int
	addresses map[uint64]int32 // index in slots
	slots     []slot           // the first is never used
	free      []int32
	users     map[uint64]int32 // connections, by hash
	used      int64            // of the rate, in thousandths
	at        int64            // ms
}

type slot struct {
	address uint64
	count   int32
}

// Bounds are what a Gate is held to; 0 bounds nothing.
type Bounds struct {
	Connections int
	Address     int // connections of one: of an IPv4 address, or of a /64 of IPv6
	User        int // connections of one
	Accepts     Rate
}

// Counted says by what a connection was counted, so that it can be taken off again.
type Counted uint32

const userCounted Counted = 1 << 31

// NewGate makes one that nobody has passed.
func NewGate() *Gate {
	return &Gate{seed: maphash.MakeSeed(), addresses: map[uint64]int32{}, users: map[uint64]int32{}, slots: make([]slot, 1)}
}

// Enter counts a connection at a time in ms, or says which bound is in the way and after how many ms it may not be; 0: nobody knows.
// An address that is not valid is not counted.
func (g *Gate) Enter(now int64, addr netip.Addr, b *Bounds) (c Counted, in Limit, retry int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.Connections > 0 && g.open >= b.Connections {
		return 0, Connections, 0
	}
	key := block(addr)
	i := g.addresses[key]
	if b.Address > 0 && addr.IsValid() {
		if g.slots[i].count >= int32(b.Address) { // that of the first slot is 0
			return 0, Address, 0
		}
	}
	if b.Accepts.On() {
		if now > g.at {
			g.used, g.at = b.Accepts.drained(g.used, now-g.at), now
		}
		if wait := b.Accepts.wait(g.used, 1); wait > 0 {
			return 0, AcceptRate, wait
		}
		g.used += 1000
	}
	g.open++
	if b.Address == 0 || !addr.IsValid() {
		return 0, None, 0
	}
	if i == 0 {
		i = g.slot(key)
	}
	g.slots[i].count++
	return Counted(i), None, 0
}

func (g *Gate) slot(key uint64) (i int32) {
	if n := len(g.free); n > 0 {
		i = g.free[n-1]
		g.free = g.free[:n-1]
	} else {
		i = int32(len(g.slots))
		g.slots = append(g.slots, slot{})
	}
	g.slots[i] = slot{address: key}
	g.addresses[key] = i
	return i
}

// Identify counts a connection that has entered as one of user's, if that is bounded, and reports whether it may.
func (g *Gate) Identify(c *Counted, user string, b *Bounds) bool {
	if b.User == 0 {
		return true
	}
	key := maphash.String(g.seed, user)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users[key] >= int32(b.User) {
		return false
	}
	g.users[key]++
	*c |= userCounted
	return true
}

// Leave takes a connection off.
func (g *Gate) Leave(c Counted, user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if c&userCounted != 0 {
		key := maphash.String(g.seed, user)
		if g.users[key]--; g.users[key] == 0 {
			delete(g.users, key)
		}
	}
	i := int32(c &^ userCounted)
	if i == 0 {
		return
	}
	s := &g.slots[i]
	if s.count--; s.count == 0 {
		delete(g.addresses, s.address)
		g.free = append(g.free, i)
	}
}

// Open is how many connections have entered and not left.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// block is an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber line has. The first of ::/64 and of ::ffff:0:0/96 are nobody's
// on the internet, so the two do not meet.
func block(a netip.Addr) uint64 {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}
