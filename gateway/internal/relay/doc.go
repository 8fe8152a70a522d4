// Package relay carries commands from the loops to the streams, and publications and answers from the streams to the
// loops.
//
//	loops ── Append ──▶ ring ──▶ writer ──XADD…──▶ `in`, `out`        one goroutine: what gathers during one round
//	loops ◀── Acked ─────────────┘                                    trip is the next batch
//	loops ── Use ──────▶ lane ──Survey, XREVRANGE──▶ Live             the partition's past opens the resume window
//	loops ◀── Deliver, Answer, Lost ─── lane ◀──XREAD── `out` of the partitions in use, and this node's stream
//	loops ── Older ────▶ historian ──XRANGE──▶ Past                   one goroutine: what resume windows do not hold
//	loops ◀── Control ─── watcher ◀──XREAD── `out` of all other partitions   revokes and kicks, which concern everybody
//	keeper: canary, trimming, backlog; one goroutine, every second
//
// A lane is one goroutine that reads: one for all streams, or in a Redis Cluster one for each partition and one for the
// node's stream, since there one XREAD cannot name streams of two slots.
//
// Owners: the ring and the wants are guarded by a lock each, held for a copy; cursors belong to their lane. The ring
// is bounded by bytes and entries; when it is full loops stop reading who publishes (Room), and nothing that was taken
// is dropped. Writer and lanes find out for themselves that Redis is gone; until both are back Append refuses,
// Ready says why, and the lanes go on at their cursors, once they know that the streams are still the same (Survey).
//
// It does not retry an XADD: the answer lost, it says Unavailable, and who publishes with an ID may send it again.
package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// Streams is what the relay needs of Redis; package stream/redis has it.
type Streams interface {
	Connect(ctx context.Context, wait time.Duration) error
	Cluster() bool
	Append(ctx context.Context, adds []stream.Add) []error
	Read(ctx context.Context, cursors []stream.Cursor, count int, block time.Duration) ([]stream.Entries, error)
	Ranges(ctx context.Context, ranges []stream.Range) ([][]stream.Entry, error)
	Survey(ctx context.Context, witnesses []stream.Witness) ([]stream.Standing, error)
	Tails(ctx context.Context, keys []string) ([]stream.ID, error)
	KeepNode(ctx context.Context, key string, read stream.ID, ttl time.Duration) error
	TrimIn(ctx context.Context, node string, ttl time.Duration) (removed int64, err error)
	TrimOut(ctx context.Context, node string, history time.Duration, most int64, ttl time.Duration) (removed int64, err error)
	Backlog(ctx context.Context) (entries int64, err error)
	Prove(ctx context.Context, node string, ttl time.Duration) error
	Delete(ctx context.Context, keys ...string) error
	Socket(ctx context.Context) (fd int, err error)
	Refusal(err error) error
	Ping(ctx context.Context) error
}

// Sink is one loop's side; its methods are called on that loop.
type Sink interface {
	// Live says that a partition is read from now on, and that everything after o.At will be delivered; or that it
	// could not be arranged.
	Live(o *hub.Opening, err error)
	// Lost says that the stream of a partition in use was lost or went back in time, and how it stands now.
	Lost(o *hub.Opening)
	// Deliver hands over what one read brought for partitions in use.
	Deliver(b *hub.Batch)
	// Control hands over revokes and kicks, of any partition.
	Control(list []Order)
	// Past hands over what Older asked for.
	Past(p *hub.Past)
	// Answer hands over entries of the node's stream.
	Answer(answers []stream.Answer)
	// Acked says what became of appended commands.
	Acked(acks []Ack)
	// Resume says that there is Room again.
	Resume()
}

// Poster runs a function on a loop; it reports false when that has stopped.
type Poster interface{ Post(f func()) bool }

// Config of a Relay; the zero value has the defaults named here.
type Config struct {
	Node        string                   // name of this node, unique among all that run
	Keys        stream.Keys              //
	Partitions  int                      //
	RingBytes   int                      // most bytes of commands that wait for Redis; default 16 MiB
	RingEntries int                      // default 65,536
	MaxLen      int64                    // about how many entries an `out` stream keeps; default 10,000
	History     time.Duration            // for how long an `out` stream keeps entries; default 5 min
	WindowBytes int                      // what a hub's resume windows hold together; default 64 MiB
	Backlog     int64                    // entries in the `in` streams over which nothing more is accepted; default 1,000,000
	Timeout     time.Duration            // for one answer of Redis on a wire; default 5 s
	Home        Home                     // the first loop, to have the wires; nil: there are none
	LoopOf      func(session string) int // number of the loop that has a connection; -1 for none
	Compression Compression              // of publications, for connections that take it; default none
	Stages      Stages                   // who is told how long things take; default nobody
	Logger      *slog.Logger
}

// Stages are told how long commands, entries and publications take on their way, each by itself.
type Stages struct {
	Append   Observer // commands: from the loop's having one to Redis's having stored it
	Lag      Observer // entries of partitions: from the time of Redis at which one was stored (its ID, in whole ms) to its being read
	Delivery Observer // publications: from their being read to their having been sent to all of a loop's subscribers
}

// Observer takes a time in seconds; negative ones (clocks that were set) are passed over. Any goroutine may call it.
type Observer interface{ Update(seconds float64) }

type nobody struct{}

// Update implements Observer.
func (nobody) Update(float64) {}

// home is the number of the loop that has the wires.
const home = 0

// Home is the loop that has the wires. All but Post, Wake and Ended are called on it.
type Home interface {
	Poster
	Wake()
	Ended() <-chan struct{}
	Adopt(fd int32, h loop.Handler) loop.Conn
	SendCopy(c loop.Conn, b []byte) loop.Result
	Arm(c loop.Conn, seconds int)
	Close(c loop.Conn, why loop.Reason)
}

// Loop is one loop and its Sink.
type Loop struct {
	Poster
	Sink
}

// Command is what a client sent and a stream is to keep. The slices are copied by Append.
type Command struct {
	Kind      stream.Kind // pub, req, or what a backend is told: open, close, sub, unsub, auth
	Direct    bool        // straight to the channel's `out`
	Binary    bool
	Answer    bool // the client wants to know; a failure is told in any case
	Partition int
	Loop      int
	Conn      loop.Conn
	Ref       uint64
	At        int64 // unix ns
	Channel   []byte
	ID        []byte
	Body      []byte
	User      string
	Session   []byte
}

// Ack says what became of one Command.
type Ack struct {
	Conn   loop.Conn
	Ref    uint64
	Kind   stream.Kind
	Stored bool
}
