package redis

import (
	"errors"
	"fmt"

	"github.com/millracehq/millrace/gateway/stream"
)

// Entry is the contract's.
type Entry = stream.Entry

// Entries is the contract's.
type Entries = stream.Entries

var errReply = errors.New("redis answered in an unexpected shape")

// parseStreams reads the answer of XREAD and XREADGROUP: [[key, [[id, [field, value, …]], …]], …].
func parseStreams(reply any) ([]Entries, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: %T for a list of streams", errReply, reply)
	}
	out := make([]Entries, 0, len(list))
	for _, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("%w: %T for a stream", errReply, item)
		}
		key, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("%w: %T for a key", errReply, pair[0])
		}
		entries, err := parseEntries(pair[1])
		if err != nil {
			return nil, err
		}
		out = append(out, Entries{Key: key, Entries: entries})
	}
	return out, nil
}

// parseEntries reads [[id, [field, value, …]], …], the answer of XRANGE. An entry that has been deleted since it
// became pending has nil for its fields; it is kept, with none.
func parseEntries(reply any) ([]Entry, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: %T for a list of entries", errReply, reply)
	}
	out := make([]Entry, 0, len(list))
	for _, item := range list {
		if item == nil { // XAUTOCLAIM of Redis 6 on a deleted entry
			continue
		}
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("%w: %T for an entry", errReply, item)
		}
		text, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("%w: %T for an entry ID", errReply, pair[0])
		}
		id, err := stream.ParseID(text)
		if err != nil {
			return nil, fmt.Errorf("%w: entry ID %q", errReply, text)
		}
		e := Entry{ID: id}
		values, _ := pair[1].([]any)
		e.Fields = make([]string, len(values))
		for i, v := range values {
			if e.Fields[i], ok = v.(string); !ok {
				return nil, fmt.Errorf("%w: %T for a field", errReply, v)
			}
		}
		out = append(out, e)
	}
	return out, nil
}
