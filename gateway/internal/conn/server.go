package conn

import (
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/slab"
	"github.com/millracehq/millrace/internal/wsio"
)

// Fixed deadlines of the protocol, in seconds (docs/PROTOCOL.md, Liveness).
const (
	upgradeSeconds = 5
	frameSeconds   = 30
)

// early is the part of a heartbeat before its end in which a ping that is not due yet goes out with something else.
const early = 8

// Config of a Server.
type Config struct {
	Path      string        // of the WebSocket
	MaxFrame  int           // bytes of one WebSocket message, decompressed
	Origins   wsio.Origins  // web pages that may connect; none: all
	Deflate   bool          // permessage-deflate is agreed on with those who offer it
	Heartbeat time.Duration // at least a second; whole seconds
}

// Server is the loop.Handler of a gateway.
type Server struct {
	// Immutable after New.
	cfg    Config
	loop   *loop.Loop
	router Router
	beat   int // seconds of a heartbeat
	dead   int // seconds without a byte after which a connection is dead

	// Owned by the loop.
	upgrader   wsio.Upgrader
	opening    loop.Conn                 // whose handshake is being decided
	agreed     bool                      // to compress, in that handshake
	states     slab.Slab[state]          // by seat
	unfinished map[int32]wsio.Payload    // of frames of which a part has come
	fragments  map[int32]*wsio.Fragments // of messages
	inflater   wsio.Inflater
	inflated   []byte    // the last compressed message
	out        []byte    // answers that wait for the end of the read
	outConn    loop.Conn // whose answers they are
	paused     []loop.Conn
	closed     [Reasons]uint64
	open       int
	deflating  int // of open
}

type phase uint8

const (
	phaseOpening phase = iota
	phaseOpen
	phaseClosing
)

// state is what a Server keeps of a connection.
type state struct {
	since   uint32 // tick at which an unfinished frame began, or the connection; 0: none
	expires uint32 // tick at which the credential runs out; 0: never
	phase   phase
	why     loop.Reason // of a close that was begun here
	flags   flags
}

type flags uint8

const (
	flagPaused  flags = 1 << iota // not read, for want of room behind: silence is not its fault
	flagFresh                     // the first ping goes out early, by seat, to spread a storm's pings
	flagOwed                      // a ping goes out with whatever is sent next
	flagDeflate                   // permessage-deflate was agreed on
)

// New makes the handler of l; l.Start takes it.
func New(l *loop.Loop, cfg Config, router Router) *Server {
	beat := max(1, int(cfg.Heartbeat/time.Second))
	s := &Server{cfg: cfg, loop: l, router: router, beat: beat, dead: (beat*5 + 1) / 2, unfinished: map[int32]wsio.Payload{}, fragments: map[int32]*wsio.Fragments{}}
	s.upgrader = wsio.Upgrader{Path: cfg.Path, Origins: cfg.Origins, Deflate: cfg.Deflate, Decide: func(r *wsio.Request) (string, error) {
		s.agreed = r.Deflate
		return router.Admit(s.opening, r)
	}}
	return s
}

// Open is the loop's: a TCP connection was accepted.
func (s *Server) Open(c loop.Conn) {
	*s.states.At(c.Seat) = state{since: s.loop.Tick()}
	s.loop.Arm(c, upgradeSeconds)
}

// Data is the loop's: bytes have come.
func (s *Server) Data(c loop.Conn, b []byte) int {
	st := s.states.At(c.Seat)
	used := 0
	if st.phase == phaseOpening {
		if used = s.upgrade(c, st, b); used == 0 {
			return 0
		}
	}
	if st.phase == phaseOpen {
		used += s.frames(c, st, b[used:])
	}
	s.flush()
	if st.phase == phaseClosing {
		return len(b)
	}
	s.track(c, st, used, len(b)-used)
	return used
}

// track notes since when a frame or a fragmented message is unfinished.
func (s *Server) track(c loop.Conn, st *state, used, rest int) {
	switch {
	case rest == 0 && s.fragments[c.Seat] == nil:
		st.since = 0
	case st.since == 0 || used > 0 && s.fragments[c.Seat] == nil:
		st.since = max(1, s.loop.Tick())
	}
}

func (s *Server) upgrade(c loop.Conn, st *state, b []byte) int {
	n := wsio.HeadEnd(b)
	if n == 0 && len(b) <= wsio.MaxHead && wsio.MayBeHead(b) {
		return 0
	}
	if !wsio.MayBeHead(b) {
		s.refuse(c, st, wsio.Response(&wsio.Refusal{Status: http.StatusBadRequest, Reason: "this is not HTTP; connect with a WebSocket client to ws://HOST:PORT" + s.cfg.Path}))
		return len(b)
	}
	if n == 0 || n > wsio.MaxHead {
		s.refuse(c, st, wsio.Response(&wsio.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "the request head is over 8 KiB"}))
		return len(b)
	}
	s.opening = c
	response, err := s.upgrader.Upgrade(b[:n])
	if err != nil {
		s.refuse(c, st, response)
		return len(b)
	}
	if s.loop.SendCopy(c, response) == loop.Gone {
		return len(b)
	}
	*st = state{phase: phaseOpen, expires: st.expires, flags: flagFresh}
	s.open++
	if s.agreed {
		st.flags |= flagDeflate
		s.deflating++
	}
	s.arm(c, st)
	s.router.Opened(c, s.agreed)
	return n
}

func (s *Server) refuse(c loop.Conn, st *state, response []byte) {
	st.phase, st.why = phaseClosing, ReasonHandshake
	s.loop.SendCopy(c, response)
	s.loop.CloseAfterFlush(c)
}

// Timer is the loop's: something of c is due.
func (s *Server) Timer(c loop.Conn) {
	st := s.states.At(c.Seat)
	now := s.loop.Tick()
	quiet := s.loop.Quiet(c)
	switch {
	case st.phase == phaseOpening:
		s.refuse(c, st, wsio.Response(&wsio.Refusal{Status: http.StatusRequestTimeout, Reason: "no WebSocket handshake within 5 seconds"}))
		return
	case st.expires != 0 && now >= st.expires:
		s.CloseWith(c, protocol.CloseExpired, 0, "the credential has expired")
		return
	case st.flags&flagPaused != 0:
		s.loop.Arm(c, s.beat)
		return
	case st.since != 0 && now-st.since >= frameSeconds:
		s.closeFor(c, ReasonHeartbeat, protocol.CloseHeartbeat, 0, "a frame took more than 30 seconds")
		return
	case quiet >= s.dead:
		s.closeFor(c, ReasonHeartbeat, protocol.CloseHeartbeat, 0, "nothing heard for 2.5 heartbeats")
		return
	case quiet >= s.due(c, st):
		st.flags &^= flagFresh | flagOwed
		if s.loop.Pay(c, pingFrame) == loop.Full {
			s.Slow(c)
		}
	case quiet >= s.due(c, st)-s.beat/early:
		if st.flags&flagOwed == 0 {
			st.flags |= flagOwed
			s.loop.Owe(c, pingFrame)
		}
	case st.flags&flagOwed != 0: // it went out with something else, and was answered
		st.flags &^= flagFresh | flagOwed
	}
	s.arm(c, st)
}

// due is for how many seconds c may be silent before it is sent a ping.
func (s *Server) due(c loop.Conn, st *state) int {
	if st.flags&flagFresh != 0 {
		return s.beat - int(c.Seat)%(s.beat/2+1)
	}
	return s.beat
}

// arm asks for the next time at which anything of c can be due. A frame that begins meanwhile is due later than any
// of these, because no wait is longer than 30 seconds.
func (s *Server) arm(c loop.Conn, st *state) {
	now, quiet := s.loop.Tick(), s.loop.Quiet(c)
	next := s.due(c, st) - quiet
	if next > s.beat/early {
		next -= s.beat / early
	}
	if quiet >= s.beat {
		next = min(s.beat, s.dead-quiet)
	}
	next = min(next, frameSeconds)
	if st.since != 0 {
		next = min(next, int(st.since)+frameSeconds-int(now))
	}
	if st.expires != 0 {
		next = min(next, int(st.expires)-int(now))
	}
	s.loop.Arm(c, max(1, next))
}

var pingFrame = wsio.AppendFrame(nil, ws.OpPing, nil)

// Drained is the loop's: what waited for c has gone out. While the handshake or the Close is what went, the Router has
// nothing to say.
func (s *Server) Drained(c loop.Conn) {
	if s.states.At(c.Seat).phase == phaseOpen {
		s.router.Drained(c)
	}
}

// Closed is the loop's.
func (s *Server) Closed(c loop.Conn, why loop.Reason) {
	st := s.states.At(c.Seat)
	if st.why != 0 && why != loop.ReasonPanic {
		why = st.why
	}
	s.closed[why]++
	delete(s.unfinished, c.Seat)
	delete(s.fragments, c.Seat)
	if s.outConn == c {
		s.out, s.outConn = s.out[:0], loop.Conn{}
	}
	opened := st.phase != phaseOpening && st.why != ReasonHandshake
	if st.flags&flagDeflate != 0 {
		s.deflating--
	}
	*st = state{}
	if opened {
		s.open--
		s.router.Closed(c, why)
	}
}

// Turn is the loop's.
func (s *Server) Turn() bool {
	s.flush()
	more := s.router.Turn()
	s.flush()
	return more
}

// Opened is how many WebSockets there are.
func (s *Server) Opened() int { return s.open }

// Deflating is how many of them have agreed on compression.
func (s *Server) Deflating() int { return s.deflating }

// Ended is how many connections have ended for a reason.
func (s *Server) Ended(why loop.Reason) uint64 { return s.closed[why] }
