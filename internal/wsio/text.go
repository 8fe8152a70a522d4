package wsio

import "unicode/utf8"

// Text checks UTF-8 that comes in pieces, which may be cut within a character. The zero value is ready.
type Text struct {
	lead [utf8.UTFMax]byte // an unfinished character
	n    int8
}

// Add reports whether what has come so far, b included, can still become UTF-8.
func (t *Text) Add(b []byte) bool {
	for t.n > 0 && len(b) > 0 {
		t.lead[t.n] = b[0]
		t.n++
		b = b[1:]
		if utf8.FullRune(t.lead[:t.n]) {
			if !utf8.Valid(t.lead[:t.n]) {
				return false
			}
			t.n = 0
		}
	}
	whole := len(b) - unfinished(b)
	if !utf8.Valid(b[:whole]) {
		return false
	}
	if whole < len(b) {
		t.n = int8(copy(t.lead[:], b[whole:]))
	}
	return true
}

// Complete reports whether no character is unfinished.
func (t *Text) Complete() bool { return t.n == 0 }

// unfinished is how many bytes at the end of b begin a character that may yet be finished. FullRune takes bytes that
// can not begin one for a whole (wrong) character, so they stay with the rest and fail there.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// cutText shortens s to at most n bytes without cutting a character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
