package loop

// Adopt takes over a connected, non-blocking socket, to be served by h instead of the loop's own Handler: h hears Data, Timer,
// Drained and Closed, but neither Open nor Turn. It counts neither as a connection nor against MaxUnread: whoever wants the loop to
// talk to a server of its own knows what that may send. The descriptor is the loop's from now on.
func (l *Loop) Adopt(fd int32, h Handler) Conn {
	c := l.enter(fd, stateOpen, watchRead)
	l.open--
	l.conns.At(c.Seat).flags |= flagAdopted
	l.adopted[c.Seat] = h
	return c
}

// handlerOf is who serves c, whose record is r.
func (l *Loop) handlerOf(c Conn, r *record) Handler {
	if r.flags&flagAdopted != 0 {
		return l.adopted[c.Seat]
	}
	return l.handler
}

// countIn and countOut count bytes of the loop's own connections, not of adopted ones.
func (l *Loop) countIn(r *record, n int) {
	if r.flags&flagAdopted == 0 {
		l.counts.BytesIn += uint64(n)
	}
}

func (l *Loop) countOut(r *record, n int) {
	if r.flags&flagAdopted == 0 {
		l.counts.BytesOut += uint64(n)
	}
}

// Wake makes a turn come soon. Unlike Post it never waits; it may be called from anywhere, the loop itself included.
func (l *Loop) Wake() {
	in := &l.inbox
	in.mu.Lock()
	wake := !in.armed && !in.stopped
	in.armed = in.armed || wake
	in.mu.Unlock()
	if wake {
		l.poke()
	}
}
