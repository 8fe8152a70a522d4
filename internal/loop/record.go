package loop

// record is all that a loop keeps of an idle connection. It holds no pointer: the collector never looks at it.
type record struct {
	gen   uint32 // counts the uses of the seat
	fd    int32
	state state
	flags uint8
	slot  uint8  // of the wheel; 0: no timer
	why   Reason // once dead
	prev  int32  // seats in the wheel's list
	next  int32  // and, while free, in that of the free ones
	due   uint32 // tick of the timer
	heard uint32 // tick at which the last byte came
	tail  int32  // unread bytes, index in Loop.tails; 0: none
	out   int32  // unsent bytes, index in Loop.outboxes; 0: none, owing: none, but Loop.owed
}

type state uint8

const (
	stateFree    state = iota
	stateDialing       // connect is under way
	stateOpen
	stateClosing // nothing more is read or taken; what is unsent still goes out
	stateDead    // closed at the end of this turn
)

const (
	flagPaused  uint8 = 1 << iota // the handler does not want to read
	flagReady                     // queued in Loop.ready
	flagWriting                   // EPOLLOUT is armed
	flagShut                      // our side of the TCP connection is shut
	flagHangup                    // the peer has shut its side; to be seen after the last byte is read
	flagAdopted                   // served by a Handler of its own, in Loop.adopted
	flagTLS                       // encrypted, or to be
	flagProxy                     // the handler has not heard of it: the PROXY header is still to come
)

// record of c, or nil when that connection is gone.
func (l *Loop) record(c Conn) *record {
	r := l.conns.Get(c.Seat)
	if r == nil || r.gen != c.Gen || r.state == stateFree {
		return nil
	}
	return r
}

// Alive reports whether c is open for reading and sending.
func (l *Loop) Alive(c Conn) bool {
	r := l.record(c)
	return r != nil && r.state == stateOpen
}

// Conn names the connection that has a seat now; its Gen is 0 when there is none.
func (l *Loop) Conn(seat int32) Conn {
	r := l.conns.Get(seat)
	if r == nil || r.state == stateFree {
		return Conn{Seat: seat}
	}
	return Conn{Seat: seat, Gen: r.gen}
}

// Descriptor is the socket of c, for options that the loop does not know; -1 when c is gone.
func (l *Loop) Descriptor(c Conn) int {
	r := l.record(c)
	if r == nil {
		return -1
	}
	return int(r.fd)
}

// Quiet is for how many seconds c has not sent a byte.
func (l *Loop) Quiet(c Conn) int {
	r := l.record(c)
	if r == nil {
		return 0
	}
	return int(l.wheel.tick - r.heard)
}
