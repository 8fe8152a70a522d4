package loop

const (
	// wheelSlots is how many seconds one turn of the wheel takes. A timer further away stays in its slot for more turns.
	wheelSlots = 64
	// firing is the slot of the timers that fire in this second, so that a handler may arm or disarm any of them meanwhile.
	firing = wheelSlots + 1
)

// wheel holds at most one timer per connection: doubly linked through the records, by seat. 0 ends a list, since nobody has
// that seat.
type wheel struct {
	heads [firing + 1]int32 // of the slots, from 1 on
	tick  uint32            // seconds since the loop started
}

// slotAt is the slot of the timers that are due at a tick.
func slotAt(tick uint32) uint8 { return uint8(1 + tick%wheelSlots) }

func (l *Loop) link(seat int32, r *record, slot uint8) {
	head := l.wheel.heads[slot]
	r.slot, r.prev, r.next = slot, 0, head
	if head != 0 {
		l.conns.At(head).prev = seat
	}
	l.wheel.heads[slot] = seat
}

func (l *Loop) unlink(r *record) {
	if r.slot == 0 {
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
	r.slot = 0
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
	l.link(c.Seat, r, slotAt(r.due))
}

// Tick is the time in whole seconds since the loop was made.
func (l *Loop) Tick() uint32 { return l.wheel.tick }

// advance fires what is due up to the present second.
func (l *Loop) advance() {
	drainCounter(l.wheelFD)
	for now := uint32((l.now - l.clock.base) / 1e9); l.wheel.tick < now; {
		l.wheel.tick++
		l.fire(slotAt(l.wheel.tick))
	}
	l.publish()
}

func (l *Loop) fire(slot uint8) {
	for seat := l.wheel.heads[slot]; seat != 0; {
		r := l.conns.At(seat)
		next := r.next
		if r.due <= l.wheel.tick {
			l.unlink(r)
			l.link(seat, r, firing)
		}
		seat = next
	}
	for seat := l.wheel.heads[firing]; seat != 0; seat = l.wheel.heads[firing] {
		r := l.conns.At(seat)
		l.unlink(r)
		c := Conn{Seat: seat, Gen: r.gen}
		l.current = c
		switch {
		case r.state == stateClosing:
			l.Close(c, ReasonLinger)
		case r.flags&flagProxy != 0:
			l.counts.ProxyRefused++
			l.Close(c, ReasonProxy)
		default:
			l.handlerOf(c, r).Timer(c)
		}
	}
}
