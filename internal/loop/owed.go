package loop

// owing is a record's out while Loop.owed is to go out with whatever is sent next.
const owing = -1

// maxPaying is the largest buffer for what goes out with it that is kept.
const maxPaying = 64 << 10

// Owe has b go out ahead of what is sent to c next, in the same write: a copy costs next to nothing beside a write of its own. A loop has one
// b for all of its connections, the last one that it was given. For a connection with TLS or with an outbox, and one that is closing,
// it does nothing: there is [Loop.Pay].
func (l *Loop) Owe(c Conn, b []byte) {
	l.owed = b
	if r := l.record(c); r != nil && r.state == stateOpen && r.out == 0 && r.flags&flagTLS == 0 {
		r.out = owing
	}
}

// Pay sends b now, once, whether it is owed or not.
func (l *Loop) Pay(c Conn, b []byte) Result {
	if r := l.record(c); r != nil && r.out == owing {
		r.out = 0
	}
	return l.Send(c, b)
}

// withOwed is what is owed, and b, until it is called again.
func (l *Loop) withOwed(b []byte) []byte {
	both := append(append(l.paying[:0], l.owed...), b...)
	if l.paying = both[:0]; cap(both) > maxPaying {
		l.paying = nil
	}
	return both
}

// Near says that these will be sent to next. A record that has not been used for a while comes from far away, and the processor
// waits for many at once as long as for one.
func (l *Loop) Near(seats []int32) {
	for _, seat := range seats {
		if r := l.conns.Get(seat); r != nil {
			l.near += r.gen
		}
	}
}
