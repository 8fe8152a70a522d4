package loop

import "math/bits"

// tails keeps the unread bytes of the few connections that have any, in buffers of powers of two that are used again.
// Owned by the loop.
type tails struct {
	bufs  [][]byte // by index; 0 is never used
	free  []int32
	pool  [32][][]byte // by log2 of the capacity
	bytes int          // capacity in use, Stats.Unread
}

const (
	minTail  = 256
	poolTail = 64 // buffers of one size kept for use again
)

func (t *tails) buffer(n int) []byte {
	class := bits.Len(uint(max(n, minTail) - 1))
	if list := t.pool[class]; len(list) > 0 {
		b := list[len(list)-1]
		t.pool[class] = list[:len(list)-1]
		return b
	}
	return make([]byte, 0, 1<<class)
}

func (t *tails) recycle(b []byte) {
	class := bits.Len(uint(cap(b) - 1))
	if len(t.pool[class]) < poolTail {
		t.pool[class] = append(t.pool[class], b[:0])
	}
}

// put keeps a copy of rest and returns its index.
func (t *tails) put(rest []byte) int32 {
	b := append(t.buffer(len(rest)), rest...)
	t.bytes += cap(b)
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		t.bufs[i] = b
		return i
	}
	if len(t.bufs) == 0 {
		t.bufs = append(t.bufs, nil)
	}
	t.bufs = append(t.bufs, b)
	return int32(len(t.bufs) - 1)
}

// room returns tail i with free space behind its bytes. It grows as bytes come, never by what a peer announces.
func (t *tails) room(i int32) []byte {
	b := t.bufs[i]
	if len(b) < cap(b) {
		return b
	}
	bigger := append(t.buffer(2*len(b)), b...)
	t.bytes += cap(bigger) - cap(b)
	t.recycle(b)
	t.bufs[i] = bigger
	return bigger
}

// keep leaves rest, the end of tail i, in it.
func (t *tails) keep(i int32, rest []byte) {
	b := t.bufs[i]
	t.bufs[i] = b[:copy(b[:cap(b)], rest)]
}

func (t *tails) drop(i int32) {
	b := t.bufs[i]
	t.bytes -= cap(b)
	t.bufs[i] = nil
	t.recycle(b)
	t.free = append(t.free, i)
}
