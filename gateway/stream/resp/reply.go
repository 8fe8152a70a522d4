package resp

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"
)

// ErrReply says that bytes are not the reply that was due: the connection is of no use any more.
var ErrReply = errors.New("resp: unexpected reply")

// MaxBulk bounds one string of a reply, in bytes: as much as Redis keeps in one by default (proto-max-bulk-len).
const MaxBulk = 512 << 20

// maxLine bounds a line: an error text, a length, an ID.
const maxLine = 4 << 10

// Error is what Redis answered instead of a value: its first word says what it is about.
type Error string

func (e Error) Error() string { return string(e) }

// Line reads a reply that is one value: a simple or bulk string, or an integer as its digits. An error of Redis is returned as err,
// an [Error]. n is 0 while the reply is not complete; text is a view of b.
func Line(b []byte) (text string, n int, err error) {
	kind, rest, n, err := header(b)
	if err != nil || n == 0 {
		return "", 0, err
	}
	switch kind {
	case '+', ':':
		return View(rest), n, nil
	case '-':
		return "", n, Error(rest)
	case '$':
		text, m, err := bulk(b)
		return text, m, err
	}
	return "", 0, fmt.Errorf("%w: %q", ErrReply, kind)
}

// header reads the first line of a value: its kind and what stands behind that.
func header(b []byte) (kind byte, rest []byte, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if end < 0 {
		if len(b) >= maxLine {
			return 0, nil, 0, fmt.Errorf("%w: a line of over %d bytes", ErrReply, maxLine)
		}
		return 0, nil, 0, nil
	}
	if end < 2 || b[end-1] != '\r' {
		return 0, nil, 0, fmt.Errorf("%w: a line without a value", ErrReply)
	}
	return b[0], b[1 : end-1], end + 1, nil
}

// length reads a header of a kind and its number, from -1, which stands for nothing, up to most.
func length(b []byte, want byte, most int) (count, n int, err error) {
	kind, rest, n, err := header(b)
	if err != nil || n == 0 {
		return 0, 0, err
	}
	if kind == '-' {
		return 0, 0, Error(rest)
	}
	if kind != want {
		return 0, 0, fmt.Errorf("%w: %q for %q", ErrReply, kind, want)
	}
	if string(rest) == "-1" {
		return -1, n, nil
	}
	if len(rest) == 0 || len(rest) > 9 {
		return 0, 0, fmt.Errorf("%w: length %q", ErrReply, rest)
	}
	for _, c := range rest {
		if c < '0' || c > '9' {
			return 0, 0, fmt.Errorf("%w: length %q", ErrReply, rest)
		}
		count = 10*count + int(c-'0')
	}
	if count > most {
		return 0, 0, fmt.Errorf("%w: length %d", ErrReply, count)
	}
	return count, n, nil
}

// bulk reads a bulk string that is there; n is 0 while it is not complete.
func bulk(b []byte) (text string, n int, err error) {
	size, n, err := length(b, '$', MaxBulk)
	if err != nil || n == 0 {
		return "", 0, err
	}
	if size < 0 {
		return "", 0, fmt.Errorf("%w: no string", ErrReply)
	}
	if len(b) < n+size+2 {
		return "", 0, nil
	}
	if b[n+size] != '\r' || b[n+size+1] != '\n' {
		return "", 0, fmt.Errorf("%w: a string longer than it says", ErrReply)
	}
	return View(b[n : n+size]), n + size + 2, nil
}

// View is b as a string, without a copy: it is valid as long as b is not changed.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
