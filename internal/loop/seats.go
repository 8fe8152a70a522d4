package loop

// seats deals the numbers by which everything about a connection is kept, here and by the handlers. A loop deals them for
// itself, so that its records lie close together and are as many as it has ever had connections at a time. Descriptors would
// not do: the kernel deals them to all loops of the process in turn, and each loop would pay for the connections of all.
type seats struct {
	dealt int32 // the highest so far
	free  int32 // the one that was left last, of a list through record.next; 0: none. So 0 is nobody's
}

// sit is a seat that nobody has, and its record, of which gen counts.
func (l *Loop) sit() (seat int32, r *record) {
	s := &l.seats
	if seat = s.free; seat == 0 {
		s.dealt++
		return s.dealt, l.conns.At(s.dealt)
	}
	r = l.conns.At(seat)
	s.free = r.next
	return seat, r
}

// leave gives a seat back. Its record keeps gen, so that a Conn of an earlier use is still known as one.
func (l *Loop) leave(seat int32, r *record) {
	*r = record{gen: r.gen, fd: -1, next: l.seats.free}
	l.seats.free = seat
}
