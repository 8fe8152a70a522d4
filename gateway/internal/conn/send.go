package conn

import (
	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// maxJoin is how many bytes of answers are joined before they are sent.
const maxJoin = 32 << 10

// Answer sends one millrace frame, joined with other answers to the same connection that come before the next flush.
func (s *Server) Answer(c loop.Conn, binary bool, frame []byte) {
	op := ws.OpText
	if binary {
		op = ws.OpBinary
	}
	s.append(c, op, frame)
}

func (s *Server) append(c loop.Conn, op ws.OpCode, payload []byte) {
	if s.outConn != c || len(s.out) > maxJoin {
		s.flush()
		s.outConn = c
	}
	s.out = wsio.AppendFrame(s.out, op, payload)
}

func (s *Server) flush() {
	if len(s.out) == 0 {
		return
	}
	c := s.outConn
	s.outConn = loop.Conn{}
	if s.loop.SendCopy(c, s.out) == loop.Full {
		s.Slow(c)
	}
	s.out = s.out[:0]
	if cap(s.out) > 8*maxJoin {
		s.out = nil
	}
}

// Push sends WebSocket frames that are shared with other connections: b is kept by reference and must never change. It
// reports false when the outbox is full and nothing was taken.
func (s *Server) Push(seat int32, b []byte) bool {
	c := s.loop.Conn(seat)
	if s.outConn == c {
		s.flush()
	}
	return s.loop.Send(c, b) != loop.Full
}

// PushCopy is Push from a buffer that will be used again.
func (s *Server) PushCopy(seat int32, b []byte) bool {
	c := s.loop.Conn(seat)
	if s.outConn == c {
		s.flush()
	}
	return s.loop.SendCopy(c, b) != loop.Full
}

// Slow ends a connection that does not read what it is sent: what has not begun to go out is dropped, so that the
// word about it fits.
func (s *Server) Slow(c loop.Conn) {
	s.loop.DropUnsent(c)
	s.closeFor(c, ReasonSlowConsumer, protocol.CloseSlowConsumer, 0, "too slow: the outbox is full; resume from your last position")
}

// CloseWith says bye and closes: code is 1001 or of the 4000s, and delayMS when the client should come back.
func (s *Server) CloseWith(c loop.Conn, code protocol.Code, delayMS int, text string) {
	why := ReasonBye
	switch code {
	case protocol.CloseDrain:
		why = ReasonDrain
	case protocol.CloseStreamLost:
		why = ReasonStreamLost
	}
	s.closeFor(c, why, code, delayMS, text)
}

func (s *Server) closeFor(c loop.Conn, why loop.Reason, code protocol.Code, delayMS int, text string) {
	s.finish(c, why, protocol.AppendBye(nil, code, delayMS, text), ws.StatusCode(code), text)
}

// finish sends the last words, exactly one Close, and closes once they are out.
func (s *Server) finish(c loop.Conn, why loop.Reason, bye []byte, code ws.StatusCode, reason string) {
	st := s.states.At(c.Seat)
	if !s.loop.Alive(c) || st.phase != phaseOpen {
		return
	}
	if s.outConn == c {
		s.flush()
	}
	if st.phase != phaseOpen { // the flush found it too slow and has closed it
		return
	}
	st.phase, st.why = phaseClosing, why
	var last []byte
	if bye != nil {
		last = wsio.AppendFrame(last, ws.OpText, bye)
	}
	last = wsio.AppendFrame(last, ws.OpClose, wsio.AppendClose(nil, code, reason))
	if s.loop.SendCopy(c, last) == loop.Full {
		s.loop.Close(c, why)
		return
	}
	s.loop.CloseAfterFlush(c)
}

// Expire closes c with 4101 in that many seconds, unless it is called again; 0 means never.
func (s *Server) Expire(c loop.Conn, seconds int) {
	st := s.states.At(c.Seat)
	st.expires = 0
	if seconds > 0 {
		st.expires = s.loop.Tick() + uint32(seconds)
	}
	if st.phase == phaseOpen {
		s.arm(c, st)
	}
}

// Alive reports whether c is open and not closing.
func (s *Server) Alive(c loop.Conn) bool {
	return s.loop.Alive(c) && s.states.At(c.Seat).phase == phaseOpen
}

// Each calls f for every open connection.
func (s *Server) Each(f func(c loop.Conn)) {
	for seat := range s.states.Len() {
		if c := s.loop.Conn(seat); c.Gen != 0 && s.Alive(c) {
			f(c)
		}
	}
}
