package hub

import (
	"github.com/millracehq/millrace/gateway/stream"
)

// Conns is how the hub reaches connections, by their seat in the loop, and the relay.
type Conns interface {
	// Push sends WebSocket frames; b is shared with others and never changes. It reports false when nothing was taken,
	// because too much waits for the connection already.
	Push(seat int32, b []byte) bool
	// PushCopy is Push from a buffer that will be used again.
	PushCopy(seat int32, b []byte) bool
	// Near says that these are pushed to next.
	Near(seats []int32)
	// Room is how many bytes Push takes now, about; idle means that nothing waits: then it takes any one frame.
	Room(seat int32) (bytes int, idle bool)
	// Gap tells a subscriber that publications are lost to it, and that it is live from a position.
	Gap(seat int32, channel string, at stream.Position)
	// Slow ends a connection that does not read what it is sent.
	Slow(seat int32)
	// Find is the seat of a session, if it is a connection of this loop.
	Find(session string) (seat int32, ok bool)
	// Older asks for the stream of a partition behind from, itself included, up to to. The answer is Hub.Older.
	Older(partition int, from, to stream.ID)
}

// Publication is one `out` entry on its way to subscribers.
type Publication struct {
	ID        stream.ID
	Partition int32
	Channel   string
	Frame     []byte // the whole WebSocket frame; shared, never changed
	Packed    Packed // nil: there is Frame only
	Skip      string // session that must not get it
}

// Packed is the shorter form of a publication's frame, for connections that take it. How it is made is not the hub's affair.
type Packed interface {
	// Frame makes it when it is asked for the first time; never longer than the plain frame, and perhaps that.
	Frame() []byte
	// Made is what Frame has made, nil when it was never asked.
	Made() []byte
}

// Batch is what one read of the streams brought.
type Batch struct {
	Publications []Publication
	Cursors      []Cursor // where the partitions stand behind it

	Size int64        // bytes of the frames
	Read int64        // when they were read, in ns: of who reads them, and asks for it in Done
	Done func(*Batch) // called when all of it has been sent, unless nil: who bounds the queue counts by it, and may use the batch again
}

// Cursor is a position of a partition.
type Cursor struct {
	Partition int
	ID        stream.ID
}

// Opening is how a partition stands when it comes into use, or after its stream was lost.
type Opening struct {
	Partition int
	At        stream.Position // what comes after it will be delivered
	Floor     stream.ID       // everything after it, up to At, is in Recent
	Recent    []Publication
}
