package conn

import (
	"errors"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// frames handles the whole WebSocket frames at the start of b and returns how many bytes they are.
func (s *Server) frames(c loop.Conn, st *state, b []byte) (used int) {
	for st.phase == phaseOpen {
		h, ok, err := wsio.ParseHeader(b[used:])
		f := s.fragments[c.Seat]
		if ok {
			err = s.check(st, h, f)
		}
		if err != nil {
			s.violated(c, err)
			return len(b)
		}
		if !ok {
			return used
		}
		payload := b[used+h.Size : min(used+h.Size+h.Length, len(b))]
		whole := len(payload) == h.Length
		if !whole && h.OpCode.IsControl() {
			return used
		}
		seen, taken, err := s.payload(c, st, h, f, payload)
		switch {
		case err != nil:
			s.violated(c, err)
			return len(b)
		case !whole, !taken:
			s.unfinished[c.Seat] = seen // the same bytes come again
			if whole {
				s.pause(c, st)
			}
			return used
		}
		used += h.Size + h.Length
	}
	return used
}

// check applies the rules that depend on what came before; f is the unfinished message, if there is one.
func (s *Server) check(st *state, h wsio.Header, f *wsio.Fragments) error {
	had, limit := 0, s.cfg.MaxFrame
	if f != nil {
		had = f.Len()
	}
	if st.flags&flagDeflate == 0 {
		return h.Check(true, f != nil, had, limit)
	}
	if h.RSV1 || f != nil && f.Deflated {
		limit = wsio.MaxDeflated(limit)
	}
	return h.CheckDeflate(true, f != nil, had, limit)
}

// payload takes what has come of a frame's payload, and the frame when that is all of it. seen is what to go on with when
// it was not, or was not taken.
func (s *Server) payload(c loop.Conn, st *state, h wsio.Header, f *wsio.Fragments, b []byte) (seen wsio.Payload, taken bool, err error) {
	text := h.OpCode == ws.OpText && !h.RSV1
	if h.OpCode == ws.OpContinuation {
		seen, text = f.Next(), f.OpCode == ws.OpText && !f.Deflated
	}
	if len(s.unfinished) > 0 && !h.OpCode.IsControl() {
		if before, ok := s.unfinished[c.Seat]; ok {
			seen = before
			delete(s.unfinished, c.Seat)
		}
	}
	if err := seen.Take(h, b, text); err != nil || len(b) < h.Length {
		return seen, false, err
	}
	taken, err = s.frame(c, st, h, b, f, seen)
	return seen, taken, err
}

// frame handles one frame, unmasked and checked, and reports whether it was taken.
func (s *Server) frame(c loop.Conn, st *state, h wsio.Header, payload []byte, f *wsio.Fragments, seen wsio.Payload) (taken bool, err error) {
	switch {
	case h.OpCode == ws.OpPing:
		s.append(c, ws.OpPong, payload)
	case h.OpCode == ws.OpPong:
	case h.OpCode == ws.OpClose:
		return true, s.closeFrame(c, st, payload)
	case h.Fin && f == nil:
		return s.message(c, h.OpCode, h.RSV1, payload)
	default:
		return s.fragment(c, st, h, payload, f, seen)
	}
	return true, nil
}

func (s *Server) fragment(c loop.Conn, st *state, h wsio.Header, payload []byte, f *wsio.Fragments, seen wsio.Payload) (taken bool, err error) {
	if f == nil {
		f = new(wsio.Fragments)
		s.fragments[c.Seat] = f
		st.since = max(1, s.loop.Tick())
	}
	before := *f
	f.Add(h, payload, seen)
	if !h.Fin {
		return true, nil
	}
	if taken, err = s.message(c, f.OpCode, f.Deflated, f.Message()); err != nil || !taken {
		*f = before
		return false, err
	}
	delete(s.fragments, c.Seat)
	return true, nil
}

// message hands a whole message to the Router, decompressed. Compressed text is checked when all of it is there: to inflate
// it as it comes would take 45 KB for each connection.
func (s *Server) message(c loop.Conn, op ws.OpCode, deflated bool, payload []byte) (taken bool, err error) {
	if deflated {
		if payload, err = s.inflater.Append(s.inflated[:0], payload, s.cfg.MaxFrame); err != nil {
			return false, err
		}
		if s.inflated = payload; cap(payload) > maxInflated {
			s.inflated = nil
		}
		if op == ws.OpText {
			if err := wsio.CheckText(payload); err != nil {
				return false, err
			}
		}
	}
	return s.router.Frame(c, op == ws.OpBinary, payload), nil
}

// maxInflated is the largest buffer of decompressed messages that is kept, in bytes.
const maxInflated = 256 << 10

// closeFrame answers the client's Close with the same code (RFC 6455 section 5.5.1).
func (s *Server) closeFrame(c loop.Conn, st *state, payload []byte) error {
	code, _, err := wsio.ParseClose(payload)
	if err != nil {
		return err
	}
	if code == ws.StatusNoStatusRcvd {
		s.append(c, ws.OpClose, nil)
	} else {
		s.append(c, ws.OpClose, payload[:2])
	}
	st.phase, st.why = phaseClosing, ReasonClient
	s.flush()
	s.loop.CloseAfterFlush(c)
	return nil
}

// violated closes with the code of a *wsio.CloseError.
func (s *Server) violated(c loop.Conn, err error) {
	var ce *wsio.CloseError
	if !errors.As(err, &ce) {
		panic("BUG: a frame failed without a close code: " + err.Error())
	}
	s.finish(c, ReasonViolation, nil, ce.Code, ce.Reason)
}

// pause stops reading c until ResumeAll: its sender waits, in the end in its own send.
func (s *Server) pause(c loop.Conn, st *state) {
	st.flags |= flagPaused
	s.paused = append(s.paused, c)
	s.loop.Pause(c)
}

// ResumeAll reads again those for whom the Router had no Room.
func (s *Server) ResumeAll() {
	paused := s.paused
	s.paused = nil
	for _, c := range paused {
		if s.Alive(c) {
			s.states.At(c.Seat).flags &^= flagPaused
			s.loop.Resume(c)
		}
	}
}

// Paused is how many connections wait for ResumeAll, including some that have ended meanwhile.
func (s *Server) Paused() int { return len(s.paused) }
