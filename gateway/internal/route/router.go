// Package route answers commands: it is where connections, the hub and the relay of one loop meet.
//
//	conn.Server ── Frame ──▶ Router ─┬─ sub unsub ──▶ hub.Hub            and relay.Use, when a partition is new here
//	                                 ├─ pub req ────▶ relay.Append  ──▶ Acked, Answer
//	                                 └─ auth ping who, and every err
//	                                 ├─ all that the backend is asked for or told of: open sub, close unsub auth ──▶ relay.Append
//	relay ── Live, Deliver, Control, Answer, Acked, Resume (on the loop) ──▶ Router ──▶ hub, conn.Server
//
// A Router belongs to its loop's goroutine; only Stats may be read from elsewhere. It holds what a client may do, which
// requests are unanswered, and where partitions stand; it decides permissions and limits and keeps no body. Routing a
// publication does not allocate.
package route

import (
	"log/slog"
	"maps"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/internal/conn"
	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/auth"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/slab"
	"github.com/millracehq/millrace/internal/wsio"
)

// Relay is what a Router needs of it.
type Relay interface {
	Up(partition int) bool
	Full() bool
	Orders() uint32
	Room() bool
	Append(c *relay.Command)
	Turn(loop int)
	Use(loop, partition int)
	Unuse(loop, partition int)
	Older(loop, partition int, epoch stream.Epoch, from, to stream.ID)
}

// Config of a Router.
type Config struct {
	Loop           int             // number of the loop
	Nonce          string          // of this process: the first part of its sessions
	Rules          *Rules          // to begin with; see Apply
	Gate           *limit.Gate     // of all loops; default: one of its own
	Flows          *limit.Channels // of all loops; default: one of its own
	Partitions     int
	RequestTimeout time.Duration // whole seconds
	WindowBytes    int           // of this loop's resume windows
	WindowTime     time.Duration
	Logger         *slog.Logger // default: none
}

// Router is the conn.Router and the relay.Sink of one loop.
type Router struct {
	// Immutable after New and Wire.
	cfg   Config
	loop  *loop.Loop
	conns *conn.Server
	hub   *hub.Hub
	relay Relay

	// Owned by the loop.
	rules      *Rules
	tells      Notify                 // of what the backend is told in any namespace
	members    slab.Slab[member]      // by seat
	meters     slab.Slab[limit.Meter] // by seat; used only while rates are bounded
	grants     grants
	heard      uint32 // orders
	partitions []partition
	requests   requests
	misdeeds   map[int32]misdeed
	command    protocol.Command
	append     relay.Command
	text       []byte // an answer being written
	session    []byte
	tick       uint32
	draining   bool // for good
	complained complaint
	remote     netip.Addr    // of the handshake that was last decided on, where anybody wants to know
	welcomed   bool          // somebody was, so frames may wait that can be taken now
	refusal    *wsio.Refusal // of all handshakes; nil: they are decided on
	leaving    *departure    // nil: nobody is sent away
	counts     Counts

	stats atomic.Pointer[Stats]
}

// member is what a Router keeps of a connection.
type member struct {
	id        *auth.Identity
	requests  int32 // unanswered
	published int32 // publications that wait for their ok
	waiting   int32 // subs that wait for their partition, or for a grant
	counted   limit.Counted
	orders    uint32 // that had been read when it came
}

// Counts are numbers since the start.
type Counts struct {
	Commands    [8]uint64 // by protocol.Verb; 0 is what could not be read
	Errors      map[protocol.Code]uint64
	LateAnswers uint64               // answers to requests that were no longer waiting
	Refused     [auth.Reasons]uint64 // credentials, by reason
	Limited     [limit.Limits]uint64 // what was over a limit
	Asked       [askResults]uint64   // permissions asked of the backend, by what came of it
	Kicked      uint64               // connections
	Revoked     uint64               // subscriptions
	Untold      uint64               // open, close, sub, unsub and auth that did not fit or could not be written
}

// Stats are a loop's numbers, at most a second old.
type Stats struct {
	Counts
	Connections   int // WebSockets now
	Deflating     int // of them, those that have agreed on compression
	Channels      int
	Paused        int
	Requests      int // unanswered now
	Published     uint64
	Delivered     uint64
	Replayed      uint64 // deliveries to those who resumed or were too slow
	Gaps          [hub.GapReasons]uint64
	Behind        int // subscriptions that have still to catch up
	WindowBytes   int
	Ended         [conn.Reasons]uint64
	Subscriptions int
	Asking        int // permissions that are asked for now
	Grants        int // that are remembered
}

// New makes the Router of l. Wire must follow before l is started.
func New(cfg Config, l *loop.Loop, server conn.Config) *Router {
	if cfg.Gate == nil {
		cfg.Gate = limit.NewGate()
	}
	if cfg.Flows == nil {
		cfg.Flows = limit.NewChannels()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		cfg:        cfg,
		loop:       l,
		partitions: make([]partition, cfg.Partitions),
		misdeeds:   map[int32]misdeed{},
	}
	r.Apply(cfg.Rules)
	r.requests.waiting = map[request]*question{}
	r.requests.asked = map[wish]uint64{}
	r.counts.Errors = map[protocol.Code]uint64{}
	r.conns = conn.New(l, server, r)
	r.hub = hub.New(hub.Config{Partitions: cfg.Partitions, WindowBytes: cfg.WindowBytes, WindowTime: cfg.WindowTime}, conns{r})
	r.publishStats()
	return r
}

// Wire gives the Router its relay, which in turn needs all Routers.
func (r *Router) Wire(to Relay) { r.relay = to }

// Handler is what the loop serves.
func (r *Router) Handler() loop.Handler { return r.conns }

// Turn is conn.Router's.
func (r *Router) Turn() bool {
	if now := r.loop.Tick(); now != r.tick {
		r.tick = now
		r.expireRequests()
		r.leavePartitions()
		r.grants.expire(now)
		r.hub.Tick(now, time.Now().UnixMilli())
		r.publishStats()
	}
	r.relay.Turn(r.cfg.Loop)
	more := r.hub.Step(fanoutChunk)
	if r.leaving != nil && r.leaving.step(r) {
		more = true
	}
	return more
}

// fanoutChunk is how many connections are served before reads, pongs and accepts have their turn.
const fanoutChunk = 512

func (r *Router) publishStats() {
	s := &Stats{
		Counts:      r.counts,
		Connections: r.conns.Opened(),
		Deflating:   r.conns.Deflating(),
		Channels:    r.hub.Channels(),
		Paused:      r.conns.Paused(),
		Requests:    len(r.requests.waiting) - r.requests.asks,
		Asking:      r.requests.asks,
		Grants:      len(r.grants.until),
		Published:   r.hub.Published,
		Delivered:   r.hub.Delivered,
		Replayed:    r.hub.Replayed,
		Gaps:        r.hub.Gaps,
		Behind:      r.hub.Chasers(),
		WindowBytes: r.hub.WindowBytes(),
	}
	s.Errors = maps.Clone(r.counts.Errors)
	for why := range s.Ended {
		s.Ended[why] = r.conns.Ended(loop.Reason(why))
	}
	for p := range r.partitions {
		s.Subscriptions += r.hub.Subscriptions(p)
	}
	r.stats.Store(s)
}

// Stats may be called from any goroutine.
func (r *Router) Stats() *Stats { return r.stats.Load() }

// conns is the hub's way to connections and to the relay.
type conns struct{ r *Router }

func (c conns) Near(seats []int32)                 { c.r.loop.Near(seats) }
func (c conns) Push(seat int32, b []byte) bool     { return c.r.conns.Push(seat, b) }
func (c conns) PushCopy(seat int32, b []byte) bool { return c.r.conns.PushCopy(seat, b) }
func (c conns) Room(seat int32) (bytes int, idle bool) {
	at := c.r.loop.Conn(seat)
	return c.r.loop.Room(at), c.r.loop.Unsent(at) == 0
}
func (c conns) Slow(seat int32) { c.r.conns.Slow(c.r.loop.Conn(seat)) }
func (c conns) Gap(seat int32, channel string, at stream.Position) {
	var buf [stream.MaxPosition]byte
	c.r.text = protocol.AppendGap(c.r.text[:0], channel, at.Append(buf[:0]))
	c.r.conns.Answer(c.r.loop.Conn(seat), false, c.r.text)
}

func (c conns) Find(session string) (int32, bool) {
	found, ok := c.r.find(session)
	return found.Seat, ok
}

func (c conns) Older(partition int, from, to stream.ID) {
	c.r.relay.Older(c.r.cfg.Loop, partition, c.r.hub.Position(partition).Epoch, from, to)
}
