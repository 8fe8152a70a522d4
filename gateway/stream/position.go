package stream

import (
	"bytes"
	"errors"
	"strconv"
)

// Epoch is one life of an `out` stream: it changes when the stream was lost, flushed or went back in time. The zero
// Epoch is none.
type Epoch uint64

// MaxEpoch is the largest Epoch: it is kept where Redis keeps the milliseconds of an ID.
const MaxEpoch Epoch = 1<<48 - 1

// Position is where a subscriber stands: behind entry ID of a partition's `out` stream in one of its lives. Clients
// carry it as an opaque token.
type Position struct {
	ID    ID
	Epoch Epoch
}

// MaxPosition is the most bytes of a Position as text.
const MaxPosition = 20 + 1 + 20 + 1 + 10

// ErrPosition says that a text is not a Position that Append wrote.
var ErrPosition = errors.New("not a position")

// Append writes the Position as "MS-SEQ.EPOCH", the epoch in base 36.
func (p Position) Append(b []byte) []byte {
	b = append(p.ID.Append(b), '.')
	return strconv.AppendUint(b, uint64(p.Epoch), 36)
}

// String is the Position as clients see it.
func (p Position) String() string { return string(p.Append(make([]byte, 0, MaxPosition))) }

// ParsePosition reads what [Position.Append] wrote; anything else is [ErrPosition].
func ParsePosition(b []byte) (Position, error) {
	id, epoch, ok := bytes.Cut(b, []byte{'.'})
	if !ok || len(epoch) == 0 || len(epoch) > 10 || epoch[0] == '0' && len(epoch) > 1 {
		return Position{}, ErrPosition
	}
	var p Position
	for _, c := range epoch { // by hand: strconv would take capitals and underscores, and needs a string
		switch {
		case c >= '0' && c <= '9':
			p.Epoch = p.Epoch*36 + Epoch(c-'0')
		case c >= 'a' && c <= 'z':
			p.Epoch = p.Epoch*36 + Epoch(c-'a'+10)
		default:
			return Position{}, ErrPosition
		}
	}
	var err error
	if p.ID, err = ParseID(string(id)); err != nil || p.Epoch > MaxEpoch {
		return Position{}, ErrPosition
	}
	return p, nil
}
