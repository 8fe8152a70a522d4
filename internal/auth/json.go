package auth

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds nesting.
const maxDepth = 32

// scanner walks over one JSON text (RFC 8259) and builds nothing of it. It is stricter than encoding/json where that mends
// things: a text that is not UTF-8, or has half a surrogate pair, is none. Its methods report false at the first fault.
type scanner struct {
	b    []byte
	i    int
	text []byte // strings that had escapes; kept for the next use
}

func (s *scanner) reset(b []byte) { s.b, s.i, s.text = b, 0, s.text[:0] }

// end reports whether nothing is left but space.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// next passes over space and the byte c, if that is what comes.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// peek is the first byte of the next value, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// object calls member for each name; member passes over the value. The name is only valid until then.
func (s *scanner) object(member func(name []byte) bool) bool {
	if !s.next('{') {
		return false
	}
	for first := true; ; first = false {
		if first && s.next('}') {
			return true
		}
		name, ok := s.string()
		if !ok || !s.next(':') || !member(name) {
			return false
		}
		if s.next('}') {
			return true
		}
		if !s.next(',') {
			return false
		}
	}
}

// list calls element at each value, which passes over it.
func (s *scanner) list(element func() bool) bool {
	if !s.next('[') {
		return false
	}
	for first := true; ; first = false {
		if first && s.next(']') {
			return true
		}
		if !element() {
			return false
		}
		if s.next(']') {
			return true
		}
		if !s.next(',') {
			return false
		}
	}
}

// skip passes over any value that nests no deeper than depth.
func (s *scanner) skip(depth int) bool {
	if depth == 0 {
		return false
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(func([]byte) bool { return s.skip(depth - 1) })
	case c == '[':
		return s.list(func() bool { return s.skip(depth - 1) })
	case c == '"':
		_, ok := s.string()
		return ok
	case c == '-' || c >= '0' && c <= '9':
		_, ok := s.number()
		return ok
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.b[s.i:], []byte(word)) {
			s.i += len(word)
			return true
		}
	}
	return false
}

// number is the next value as it stands there.
func (s *scanner) number() (text []byte, ok bool) {
	s.space()
	start := s.i
	s.take("-")
	if !s.take("0") && s.digits() == 0 {
		return nil, false
	}
	if s.take(".") && s.digits() == 0 {
		return nil, false
	}
	if s.take("eE") {
		s.take("+-")
		if s.digits() == 0 {
			return nil, false
		}
	}
	return s.b[start:s.i], true
}

// take passes over one byte if it is one of set.
func (s *scanner) take(set string) bool {
	if s.i < len(s.b) && bytes.IndexByte([]byte(set), s.b[s.i]) >= 0 {
		s.i++
		return true
	}
	return false
}

func (s *scanner) digits() (n int) {
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
		n++
	}
	return n
}

// string is the next value, its escapes undone: a part of the text or of a buffer of the scanner, valid until it is reset.
func (s *scanner) string() (text []byte, ok bool) {
	if !s.next('"') {
		return nil, false
	}
	start := s.i
	for ; s.i < len(s.b) && s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			return s.escaped(start)
		}
		if s.b[s.i] < 0x20 {
			return nil, false
		}
	}
	if s.i == len(s.b) {
		return nil, false
	}
	s.i++
	text = s.b[start : s.i-1]
	return text, utf8.Valid(text)
}

// escaped is string for one that has an escape, at s.i.
func (s *scanner) escaped(start int) (text []byte, ok bool) {
	at := len(s.text)
	s.text = append(s.text, s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			text = s.text[at:]
			return text, utf8.Valid(text)
		case c < 0x20:
			return nil, false
		case c != '\\':
			s.text = append(s.text, c)
		default:
			if !s.escape() {
				return nil, false
			}
		}
	}
	return nil, false
}

// escape undoes one escape, of which the backslash has been passed over.
func (s *scanner) escape() bool {
	if s.i == len(s.b) {
		return false
	}
	c := s.b[s.i]
	s.i++
	if c != 'u' {
		k := bytes.IndexByte([]byte(`"\/bfnrt`), c)
		if k >= 0 {
			s.text = append(s.text, "\"\\/\b\f\n\r\t"[k])
		}
		return k >= 0
	}
	r, ok := s.hex4()
	if ok && utf16.IsSurrogate(r) {
		if ok = s.take(`\`) && s.take("u"); ok {
			var low rune
			low, ok = s.hex4()
			r = utf16.DecodeRune(r, low)
			ok = ok && r != utf8.RuneError
		}
	}
	s.text = utf8.AppendRune(s.text, r)
	return ok
}

func (s *scanner) hex4() (r rune, ok bool) {
	if len(s.b)-s.i < 4 {
		return 0, false
	}
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.i += 4
	return r, true
}
