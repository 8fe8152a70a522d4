package resp

import (
	"fmt"
	"strings"

	"github.com/millracehq/millrace/gateway/stream"
)

// Reading reads the reply of one XREAD, in as many pieces as it comes in:
//
//	*streams ( *2 key *entries ( *2 id *fields field value … )… )…        or *-1, when there was nothing in time
//
// The zero value is ready for a reply; when one is complete it is ready for the next.
type Reading struct {
	begun   bool
	streams int // still to come, the one under way included
	entries int // still to come of it
	inside  bool
	key     string            // of it
	keys    map[string]string // all that have come: copies, since they outlive the bytes they came in
	fields  []string
}

// Found is what Next has found.
type Found uint8

// What there is.
const (
	More  Found = iota // the rest is not there yet
	Entry              // an entry
	End                // of the reply
)

const maxFields = 1 << 16

// Next reads on in b, behind what it has consumed before, and returns how many bytes more that are. With Entry, key is the stream and
// e the entry, whose strings are views of b and whose Fields are valid until the next call. An [Error] is what Redis answered
// instead; any error ends the Reading.
func (r *Reading) Next(b []byte) (found Found, key string, e stream.Entry, n int, err error) {
	for {
		switch {
		case !r.begun:
			count, m, err := length(b[n:], '*', stream.MaxPartitions+1)
			if err != nil || m == 0 {
				return More, "", e, n, err
			}
			n += m
			r.begun, r.streams = true, max(count, 0)
		case r.streams == 0:
			*r = Reading{keys: r.keys, fields: r.fields[:0]}
			return End, "", e, n, nil
		case !r.inside:
			m, err := r.stream(b[n:])
			if err != nil || m == 0 {
				return More, "", e, n, err
			}
			n += m
		case r.entries == 0:
			r.inside = false
			r.streams--
		default:
			e, m, err := r.entry(b[n:])
			if err != nil || m == 0 {
				return More, "", e, n, err
			}
			r.entries--
			return Entry, r.key, e, n + m, nil
		}
	}
}

// stream reads the head of a stream: *2 key *entries.
func (r *Reading) stream(b []byte) (n int, err error) {
	n, err = pair(b)
	if err != nil || n == 0 {
		return 0, err
	}
	key, m, err := bulk(b[n:])
	if err != nil || m == 0 {
		return 0, err
	}
	n += m
	count, m, err := length(b[n:], '*', 1<<24)
	if err != nil || m == 0 {
		return 0, err
	}
	if r.key = r.keys[key]; r.key == "" {
		if r.keys == nil {
			r.keys = map[string]string{}
		}
		r.key = strings.Clone(key)
		r.keys[r.key] = r.key
	}
	r.inside, r.entries = true, max(count, 0)
	return n + m, nil
}

// entry reads *2 id *fields field value ….
func (r *Reading) entry(b []byte) (e stream.Entry, n int, err error) {
	n, err = pair(b)
	if err != nil || n == 0 {
		return e, 0, err
	}
	id, m, err := bulk(b[n:])
	if err != nil || m == 0 {
		return e, 0, err
	}
	n += m
	if e.ID, err = stream.ParseID(id); err != nil {
		return e, 0, fmt.Errorf("%w: entry ID %q", ErrReply, id)
	}
	count, m, err := length(b[n:], '*', maxFields)
	if err != nil || m == 0 {
		return e, 0, err
	}
	n += m
	fields := r.fields[:0]
	for range count {
		text, m, err := bulk(b[n:])
		if err != nil || m == 0 {
			return e, 0, err
		}
		fields = append(fields, text)
		n += m
	}
	r.fields = fields
	e.Fields = fields
	return e, n, nil
}

func pair(b []byte) (n int, err error) {
	count, n, err := length(b, '*', 2)
	if err == nil && n > 0 && count != 2 {
		err = fmt.Errorf("%w: %d values for a pair", ErrReply, count)
	}
	return n, err
}
