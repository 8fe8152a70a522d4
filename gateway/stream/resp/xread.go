package resp

import (
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

// XREAD writes that command again and again. It names some dozens of streams, of which one or two have moved since the last time, and only
// those are written anew. The zero value is ready.
type XREAD struct {
	streams []asked
	keys    []byte // of all of them
}

// asked is a stream as it was written the last time.
type asked struct {
	key  string
	id   stream.ID
	text [48]byte // of the ID: at most 41 bytes, their number and two ends of lines
	n    int      // of text
}

// Append writes XREAD COUNT count BLOCK ms STREAMS key … id …. BLOCK 0 would be for ever: at least a millisecond is asked for.
func (x *XREAD) Append(b []byte, cursors []stream.Cursor, count int, block time.Duration) []byte {
	if !x.names(cursors) {
		x.rename(cursors)
	}
	b = appendArray(b, 6+2*len(cursors))
	b = appendBulk(b, "XREAD")
	b = appendBulk(b, "COUNT")
	b = appendInt(b, int64(count))
	b = appendBulk(b, "BLOCK")
	b = appendInt(b, max(block.Milliseconds(), 1))
	b = appendBulk(b, "STREAMS")
	b = append(b, x.keys...)
	for i := range cursors {
		s := &x.streams[i]
		if s.id != cursors[i].ID {
			s.write(cursors[i].ID)
		}
		b = append(b, s.text[:s.n]...)
	}
	return b
}

// names reports whether the same streams, in the same order, were named the last time.
func (x *XREAD) names(cursors []stream.Cursor) bool {
	if len(x.streams) != len(cursors) {
		return false
	}
	for i := range cursors {
		if x.streams[i].key != cursors[i].Key {
			return false
		}
	}
	return true
}

func (x *XREAD) rename(cursors []stream.Cursor) {
	x.streams, x.keys = make([]asked, len(cursors)), nil
	for i, c := range cursors {
		x.keys = appendBulk(x.keys, c.Key)
		x.streams[i].key = c.Key
		x.streams[i].write(c.ID)
	}
}

func (s *asked) write(id stream.ID) {
	var digits [41]byte
	text := id.Append(digits[:0])
	s.id, s.n = id, len(append(append(appendLength(s.text[:0], '$', len(text)), text...), "\r\n"...))
}
