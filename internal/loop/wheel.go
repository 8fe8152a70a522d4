package loop

// wheelSlots is how many seconds one turn of the wheel takes. A timer further away stays in its slot for more turns.
const wheelSlots = 64

// wheel holds at most one timer per connection: doubly linked through the records, by descriptor; 0 ends a list,
// since descriptor 0 is never a connection.
type wheel struct {
	// heads of the slots; the last one holds the timers that fire in this second, so that a handler may arm or
	// disarm any of them meanwhile.
	heads [wheelSlots + 1]int32
	tick  uint32 // seconds since the loop started
}

func (l *Loop) link(fd int32, r *record, slot uint8) {
	head := l.wheel.heads[slot]
	r.slot, r.prev, r.next, r.timed = slot, 0, head, true
	if head != 0 {
		l.conns.At(head).prev = fd
	}
	l.wheel.heads[slot] = fd
}

func (l *Loop) unlink(r *record) {
	if !r.timed {
		return
	}
	if r.prev != 0 {
		l.conns.At(r.prev).next = r.next
	} else {
		l.wheel.heads[r.slot] = r.next
	}
	if r.next != 0 {
		l.conns.At(r.next).prev = r.prev
	}
	r.timed = false
}

// Arm asks for Timer in that many seconds, at least 1, instead of when it was asked for before. 0 takes the timer away.
func (l *Loop) Arm(c Conn, seconds int) {
	r := l.record(c)
	if r == nil {
		return
	}
	l.unlink(r)
	if seconds <= 0 {
		return
	}
	r.due = l.wheel.tick + uint32(seconds)
	l.link(c.FD, r, uint8(r.due%wheelSlots))
}

// Tick is the time in whole seconds since the loop was made.
func (l *Loop) Tick() uint32 { return l.wheel.tick }

// advance fires what is due up to the present second.
func (l *Loop) advance() {
	drainCounter(l.wheelFD)
	for now := uint32((l.now - l.clock.base) / 1e9); l.wheel.tick < now; {
		l.wheel.tick++
		l.fire(uint8(l.wheel.tick % wheelSlots))
	}
	l.publish()
}

func (l *Loop) fire(slot uint8) {
	for fd := l.wheel.heads[slot]; fd != 0; {
		r := l.conns.At(fd)
		next := r.next
		if r.due <= l.wheel.tick {
			l.unlink(r)
			l.link(fd, r, wheelSlots)
		}
		fd = next
	}
	for fd := l.wheel.heads[wheelSlots]; fd != 0; fd = l.wheel.heads[wheelSlots] {
		r := l.conns.At(fd)
		l.unlink(r)
		c := Conn{FD: fd, Gen: r.gen}
		l.current = c
		switch {
		case r.state == stateClosing:
			l.Close(c, ReasonLinger)
		case r.flags&flagProxy != 0:
			l.counts.ProxyRefused++
			l.Close(c, ReasonProxy)
		default:
			l.handlerOf(c.FD, r).Timer(c)
		}
	}
}
