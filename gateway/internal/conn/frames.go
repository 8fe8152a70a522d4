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
		f := s.fragments[c.FD]
		if ok {
			had := 0
			if f != nil {
				had = f.Len()
			}
			err = h.Check(true, f != nil, had, s.cfg.MaxFrame)
		}
		if err != nil {
			s.violated(c, err)
			return len(b)
		}
		if !ok || len(b)-used < h.Size+h.Length {
			return used
		}
		payload := b[used+h.Size : used+h.Size+h.Length]
		ws.Cipher(payload, h.Mask, 0)
		taken, err := s.frame(c, st, h, payload, f)
		if err != nil {
			s.violated(c, err)
			return len(b)
		}
		if !taken {
			ws.Cipher(payload, h.Mask, 0) // masked again: the same bytes come again
			s.pause(c, st)
			return used
		}
		used += h.Size + h.Length
	}
	return used
}

// frame handles one frame and reports whether it was taken; f is the unfinished message, if there is one.
func (s *Server) frame(c loop.Conn, st *state, h wsio.Header, payload []byte, f *wsio.Fragments) (taken bool, err error) {
	switch {
	case h.OpCode == ws.OpPing:
		s.append(c, ws.OpPong, payload)
	case h.OpCode == ws.OpPong:
	case h.OpCode == ws.OpClose:
		return true, s.closeFrame(c, st, payload)
	case h.Fin && f == nil:
		if h.OpCode == ws.OpText {
			if err := wsio.CheckText(payload); err != nil {
				return true, err
			}
		}
		return s.router.Frame(c, h.OpCode == ws.OpBinary, payload), nil
	default:
		return s.fragment(c, st, h, payload, f)
	}
	return true, nil
}

func (s *Server) fragment(c loop.Conn, st *state, h wsio.Header, payload []byte, f *wsio.Fragments) (taken bool, err error) {
	if f == nil {
		f = new(wsio.Fragments)
		s.fragments[c.FD] = f
		st.since = max(1, s.loop.Tick())
	}
	before := *f
	if err := f.Add(h, payload); err != nil || !h.Fin {
		return true, err
	}
	if !s.router.Frame(c, f.OpCode == ws.OpBinary, f.Message()) {
		*f = before
		return false, nil
	}
	delete(s.fragments, c.FD)
	return true, nil
}

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
	st.paused = true
	s.paused = append(s.paused, c)
	s.loop.Pause(c)
}

// ResumeAll reads again those for whom the Router had no Room.
func (s *Server) ResumeAll() {
	paused := s.paused
	s.paused = nil
	for _, c := range paused {
		if s.Alive(c) {
			s.states.At(c.FD).paused = false
			s.loop.Resume(c)
		}
	}
}

// Paused is how many connections wait for ResumeAll, including some that have ended meanwhile.
func (s *Server) Paused() int { return len(s.paused) }
