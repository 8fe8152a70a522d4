package check

import (
	"github.com/millracehq/millrace/gateway/stream"
)

// None stands for a time that never came.
const None int32 = -1

// History is all that is known of one run. Times are milliseconds since its start.
type History struct {
	Channels   []Channel
	Partitions [][]Entry // by partition: all entries of its `out` stream that were ever seen, by rising ID
	Limits     Limits
}

// Limits say how far back a subscription can resume; a gap behind that needs no other reason.
type Limits struct {
	Entries int   // of one partition
	Age     int64 // ms
}

// Channel has one publisher, which sends publication n+1 only when n has been acknowledged.
type Channel struct {
	Name      string
	Direct    bool          // goes to `out` without a backend, and so without anybody who looks at the ID
	Partition int           // index in History.Partitions
	Published []Publication // the n-th at n-1
	Subs      [][]Event     // by subscriber: what it got, in its order
}

// Publication is what its publisher knows of it.
type Publication struct {
	Sent  int32  // when it was sent for the first time
	Acked int32  // when it was acknowledged; None: never
	Sends uint32 // how often it was sent
}

// Entry is one entry of an `out` stream.
type Entry struct {
	ID      stream.ID
	Channel uint32 // index in History.Channels
	N       uint32 // number of the publication; 0: a body that no publisher of ours wrote
	Gone    bool   // the stream had it, and after a restart or failover has it no more. Trimmed entries are not gone
}

// EventKind says what happened to a subscription.
type EventKind uint8

// What happens to a subscription.
const (
	Subscribed EventKind = iota // answered ok without a position given; ID is the position in the answer
	Resumed                     // answered ok with a position given: that of the event before
	Delivered                   // msg: ID from its position, N from its body
	Gap                         // gap; ID is its position
	Ended                       // connection lost, or revoked
)

// Event of one subscriber on one channel.
type Event struct {
	ID   stream.ID
	At   int32
	N    uint32
	Kind EventKind
}
