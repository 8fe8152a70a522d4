package loop

import "golang.org/x/sys/unix"

// read hands the handler what has come. Edge-triggered, it must read until the kernel has no more, or come again by
// itself: a short read says "no more", unless a hang-up waits behind it.
func (l *Loop) read(c Conn, r *record) {
	if r.flags&flagPaused != 0 {
		return
	}
	if r.flags&(flagTLS|flagProxy) != 0 {
		l.readEdge(c, r)
		return
	}
	for budget := readTurn; ; {
		buf, kept := l.buf, 0
		if r.tail != 0 {
			b := l.tails.room(r.tail)
			buf, kept = b[:cap(b)], len(b)
		}
		n, errno := recv(r.fd, buf[kept:])
		l.counts.Reads++
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0 || n == 0:
			l.Close(c, r.ending())
			return
		}
		l.countIn(r, n)
		r.heard = l.wheel.tick
		if r.state == stateOpen && !l.deliver(c, r, buf[:kept+n]) {
			return
		}
		if kept+n < len(buf) && r.flags&flagHangup == 0 {
			return
		}
		if budget -= n; budget <= 0 {
			l.again(c, r)
			return
		}
	}
}

func (r *record) ending() Reason {
	if r.state == stateClosing {
		return ReasonLinger
	}
	return ReasonPeer
}

// deliver calls the handler with b and keeps what it leaves. It reports whether reading may go on.
func (l *Loop) deliver(c Conn, r *record, b []byte) bool {
	used := l.handlerOf(c, r).Data(c, b)
	if r.state == stateDead {
		return false
	}
	rest := b[used:]
	if r.state == stateClosing {
		rest = nil
	}
	switch {
	case len(rest) > l.cfg.MaxUnread && r.flags&flagAdopted == 0:
		l.Close(c, ReasonUnread)
		return false
	case r.tail == 0 && len(rest) > 0:
		r.tail = l.tails.put(rest)
	case r.tail != 0 && len(rest) == 0:
		l.tails.drop(r.tail)
		r.tail = 0
	case r.tail != 0:
		l.tails.keep(r.tail, rest)
	}
	return r.flags&flagPaused == 0
}

// Pause stops reading c: its sender is slowed by TCP itself. What Data left is kept.
func (l *Loop) Pause(c Conn) {
	if r := l.record(c); r != nil && r.state == stateOpen {
		r.flags |= flagPaused
	}
}

// Resume reads c again; Data is called with what it left even when nothing new has come.
func (l *Loop) Resume(c Conn) {
	if r := l.record(c); r != nil && r.flags&flagPaused != 0 {
		r.flags &^= flagPaused
		l.again(c, r)
	}
}

// again reads c later in this turn or in the next one, without an event.
func (l *Loop) again(c Conn, r *record) {
	if r.flags&flagReady == 0 {
		r.flags |= flagReady
		l.ready = append(l.ready, c)
	}
}

func (l *Loop) readAgain() {
	l.ready, l.reading = l.reading[:0], l.ready
	for _, c := range l.reading {
		r := l.record(c)
		if r == nil || r.state == stateDead {
			continue
		}
		r.flags &^= flagReady
		if r.flags&flagPaused != 0 {
			continue
		}
		l.current = c
		if r.state == stateOpen && r.tail != 0 && !l.deliver(c, r, l.tails.bufs[r.tail]) {
			continue
		}
		l.read(c, r)
	}
}
