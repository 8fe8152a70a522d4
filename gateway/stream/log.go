package stream

import "errors"

// ErrDown is wrapped by errors that say that the store cannot be reached or takes nothing, rather than that it refused one entry.
var ErrDown = errors.New("the streams are down")

// Entry is one stream entry as the store keeps it: its ID and its fields and values in their order, one after the other.
type Entry struct {
	ID     ID
	Fields []string
}

// Entries are what one stream answered.
type Entries struct {
	Key     string
	Entries []Entry
}

// Cursor is where to read a stream on: entries after ID.
type Cursor struct {
	Key string
	ID  ID
}

// Add is one entry to be written (XADD).
type Add struct {
	Key    string
	MaxLen int64 // about how many entries the stream may keep; 0: all
	Values []any // fields and values
}
