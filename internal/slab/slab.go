// Package slab keeps one record per small number, such as a connection's seat in its loop: an array that grows by chunks, so
// that a record never moves and growing never copies. Memory is what the highest number in use needs, rounded up to a chunk.
package slab

const (
	chunkBits = 8
	chunkSize = 1 << chunkBits
)

// Slab is the array; the zero value is empty. It belongs to one goroutine.
type Slab[T any] struct{ chunks []*[chunkSize]T }

// At is record i, zero when it has never been written. The pointer stays valid for the slab's life. A negative i panics.
func (s *Slab[T]) At(i int32) *T {
	c := int(i >> chunkBits)
	if c >= len(s.chunks) || s.chunks[c] == nil {
		s.grow(c)
	}
	return &s.chunks[c][i&(chunkSize-1)]
}

// Get is At without making room: nil where there is none, whatever i is.
func (s *Slab[T]) Get(i int32) *T {
	c := uint(i >> chunkBits)
	if c >= uint(len(s.chunks)) || s.chunks[c] == nil {
		return nil
	}
	return &s.chunks[c][i&(chunkSize-1)]
}

func (s *Slab[T]) grow(c int) {
	for len(s.chunks) <= c {
		s.chunks = append(s.chunks, nil)
	}
	s.chunks[c] = new([chunkSize]T)
}

// Len is one more than the highest record there is room for.
func (s *Slab[T]) Len() int32 { return int32(len(s.chunks) << chunkBits) }
