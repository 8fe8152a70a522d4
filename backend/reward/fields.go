package reward

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fields is what a store keeps of a day or a user, as text: numbers that end with a semicolon, and texts behind their length, 3;red. JSON takes ten times as long to read, and
// all other counting waits meanwhile.
type fields string

var errFields = errors.New("it ends early, or is no number where there should be one")

func appendNumber(b []byte, n int64) []byte { return append(strconv.AppendInt(b, n, 10), ';') }

func appendText(b []byte, s string) []byte { return append(appendNumber(b, int64(len(s))), s...) }

// number takes a number off the front.
func (f *fields) number() (int64, error) {
	digits, rest, ok := strings.Cut(string(*f), ";")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		return 0, errFields
	}
	*f = fields(rest)
	return n, nil
}

// text takes a text off the front.
func (f *fields) text() (string, error) {
	n, err := f.number()
	if err != nil || n < 0 || n > int64(len(*f)) {
		return "", errFields
	}
	s := string((*f)[:n])
	*f = (*f)[n:]
	return s, nil
}

// list takes a number off the front, and has read called as many times.
func (f *fields) list(read func() error) error {
	n, err := f.number()
	for ; err == nil && n > 0; n-- {
		err = read()
	}
	return err
}

func appendCounts[N ~int | ~int64](b []byte, counts map[string]N) []byte {
	b = appendNumber(b, int64(len(counts)))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		b = appendNumber(appendText(b, name), int64(counts[name]))
	}
	return b
}

func readCounts[N ~int | ~int64](f *fields, counts map[string]N) error {
	return f.list(func() error {
		name, err1 := f.text()
		n, err2 := f.number()
		counts[name] = N(n)
		return cmp.Or(err1, err2)
	})
}
