package stream

import (
	"errors"
	"strconv"
	"strings"
)

// ID is the ID of a stream entry: milliseconds and a sequence number within them. The zero ID is before every entry.
type ID struct{ MS, Seq uint64 }

// ErrID says that a text is not the ID of a stream entry.
var ErrID = errors.New("not a stream ID of the form MS-SEQ")

// ParseID reads "1700000000000-0". Missing sequence, signs, blanks and leading zeros are [ErrID]: an ID has one spelling.
func ParseID(s string) (ID, error) {
	ms, seq, ok := strings.Cut(s, "-")
	if !ok {
		return ID{}, ErrID
	}
	var id ID
	var err error
	if id.MS, err = parseDecimal(ms); err != nil {
		return ID{}, err
	}
	if id.Seq, err = parseDecimal(seq); err != nil {
		return ID{}, err
	}
	return id, nil
}

func parseDecimal(s string) (uint64, error) {
	if s == "" || len(s) > 1 && s[0] == '0' || s[0] == '+' {
		return 0, ErrID
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, ErrID
	}
	return n, nil
}

// Append writes the ID as Redis does.
func (id ID) Append(b []byte) []byte {
	b = strconv.AppendUint(b, id.MS, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, id.Seq, 10)
}

// String is the ID as Redis writes it.
func (id ID) String() string { return string(id.Append(make([]byte, 0, 41))) }

// Before reports whether id is older than other.
func (id ID) Before(other ID) bool {
	return id.MS < other.MS || id.MS == other.MS && id.Seq < other.Seq
}
