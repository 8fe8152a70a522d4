package stream

import "errors"

// ErrDown is wrapped by errors that say that the store cannot be reached or takes nothing, rather than that it refused one entry.
var ErrDown = errors.New("the streams are down")

// ErrPartDown is wrapped by errors that say that some of the partitions are down, on a server of their own, and others are not.
var ErrPartDown = errors.New("a part of the streams is down")

// ErrNoSocket says that there is no plain connection to be had: the store is more than one server, is spoken to by TLS, or has
// replicas that writes wait for.
var ErrNoSocket = errors.New("no plain connection to the streams")

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

	ID ID // set once it is stored
}

// Range is a part of a stream, both ends included unless Open says otherwise.
type Range struct {
	Key      string
	From, To ID
	Open     bool // without From itself, or when Newest without To itself
	Newest   bool // the newest of them, newest first
	Count    int  // at most
}

// Last is the ID beyond all entries, for [Range.To].
var Last = ID{MS: 1<<64 - 1, Seq: 1<<64 - 1}

// Witness is what a program knows of the `out` stream of a partition; with only Partition set it knows nothing.
type Witness struct {
	Partition int
	Epoch     Epoch
	Last      ID     // newest entry that it has read, or that Redis has acknowledged to it
	Run       uint64 // life of the Redis server under which Epoch was confirmed
}

// Standing is where the `out` stream of a partition is. When its Epoch is not that of the Witness, entries may be
// missing behind what the Witness has seen.
type Standing struct {
	Epoch Epoch
	Run   uint64
	Last  ID   // ID of the last entry ever added; only where the Witness did not know the Epoch or the Run
	Whole bool // no entry has ever been removed; as Last
}
