package relay

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// ring gathers commands of all loops for the writer: two batches, one that is being filled and one that is being
// written. Bound: Config.RingBytes and RingEntries, overrun by at most one command a loop; policy: Room is false, and
// loops stop reading; metric: Stats.Ring.
type ring struct {
	bytes, entries int // Immutable: the bounds.

	// Guarded by mu.
	mu      sync.Mutex
	filling *batch

	wake chan struct{} // one token: something has come for the writer
	lent atomic.Bool   // the home loop writes
	home Home          // Immutable; nil: nobody but the writer does

	// Atomic.
	size   atomic.Int64 // bytes that wait or are being written
	count  atomic.Int64
	starve atomic.Bool // a loop was told that there is no room
}

// batch is pointer-free but for its two slices, so that a million waiting commands cost the collector nothing.
type batch struct {
	text    []byte
	records []record
}

type record struct {
	conn      loop.Conn
	ref       uint64
	at        int64    // unix ns
	end       [5]int32 // where channel, id, user, session, body end in the text
	start     int32
	partition uint16
	loop      uint16
	flags     uint8
	kind      uint8 // index in kinds
}

// kinds are those of commands.
var kinds = [...]stream.Kind{stream.KindPub, stream.KindReq, stream.KindOpen, stream.KindClose, stream.KindSub, stream.KindUnsub, stream.KindAuth}

const (
	flagDirect uint8 = 1 << iota
	flagBinary
	flagAnswer
)

func (r *ring) init(cfg Config) {
	r.bytes, r.entries, r.home = cfg.RingBytes, cfg.RingEntries, cfg.Home
	r.filling = new(batch)
	r.wake = make(chan struct{}, 1)
}

// room reports whether a command may be appended. When not, the loops' Sinks hear Resume once there is.
func (r *ring) room() bool {
	if r.size.Load() < int64(r.bytes) && r.count.Load() < int64(r.entries) {
		return true
	}
	r.starve.Store(true)
	// The writer may have finished between the two lines above; then nobody would call.
	return r.size.Load() < int64(r.bytes) && r.count.Load() < int64(r.entries)
}

func (r *ring) append(c *Command) {
	n := len(c.Channel) + len(c.ID) + len(c.User) + len(c.Session) + len(c.Body)
	r.size.Add(int64(n))
	r.count.Add(1)
	r.mu.Lock()
	b := r.filling
	rec := record{conn: c.Conn, ref: c.Ref, at: c.At, start: int32(len(b.text)), partition: uint16(c.Partition), loop: uint16(c.Loop), flags: c.flags(), kind: uint8(slices.Index(kinds[:], c.Kind))}
	b.text = append(b.text, c.Channel...)
	rec.end[0] = int32(len(b.text))
	b.text = append(b.text, c.ID...)
	rec.end[1] = int32(len(b.text))
	b.text = append(b.text, c.User...)
	rec.end[2] = int32(len(b.text))
	b.text = append(b.text, c.Session...)
	rec.end[3] = int32(len(b.text))
	b.text = append(b.text, c.Body...)
	rec.end[4] = int32(len(b.text))
	b.records = append(b.records, rec)
	first := len(b.records) == 1
	r.mu.Unlock()
	if first && (c.Loop != home || !r.lent.Load()) { // the home loop looks at the end of its turn
		r.poke()
	}
}

// poke tells who writes.
func (r *ring) poke() {
	if r.lent.Load() {
		r.home.Wake()
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// swap takes what has gathered and gives the empty batch for the next.
func (r *ring) swap(empty *batch) *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.filling
	r.filling = empty
	return full
}

// done makes room for what was written and reports whether a loop waits for it.
func (r *ring) done(b *batch) (starving bool) {
	r.size.Add(int64(-len(b.text)))
	r.count.Add(int64(-len(b.records)))
	b.text, b.records = b.text[:0], b.records[:0]
	if cap(b.text) > 4<<20 {
		b.text, b.records = nil, nil
	}
	return r.starve.Swap(false)
}

func (c *Command) flags() (f uint8) {
	set := func(on bool, bit uint8) {
		if on {
			f |= bit
		}
	}
	set(c.Direct, flagDirect)
	set(c.Binary, flagBinary)
	set(c.Answer, flagAnswer)
	return f
}
