package loop

// Conn names one connection of one loop: its seat, and which use of that seat it is. Seats are used again at once; a
// Conn is not, for the next four billion uses of its seat: one that is kept too long names nobody rather than somebody
// else.
type Conn struct {
	Seat int32  // a small number of this loop, never 0 for a connection: records about connections lie by it
	Gen  uint32 // never 0 for a connection
}

// Handler is what a loop calls, always on the loop's goroutine.
type Handler interface {
	// Open tells of a connection that was accepted, or of a Dial that has connected.
	Open(c Conn)
	// Data hands over all unread bytes. b may be changed in place and is only valid in the call. What is not
	// consumed comes again with more behind it, until it is more than Config.MaxUnread.
	Data(c Conn, b []byte) (consumed int)
	// Timer is called at the second that Arm asked for.
	Timer(c Conn)
	// Drained tells that the outbox of c, which had something in it, has become empty because the socket took it all:
	// once for each time that it empties. c may be sent to in the call. It is not called for what DropUnsent took
	// back, nor while c is closing: nothing could be sent then.
	Drained(c Conn)
	// Closed is the last call for c; for a Dial that failed it is the only one. The seat is free by then: a Dial in the call
	// may be given it.
	Closed(c Conn, why Reason)
	// Turn is called at the end of each turn, after all of its events. more says that work is left: the next
	// turn then comes without waiting for an event.
	Turn() (more bool)
}

// Reason says why a connection ended; it is a label of metrics.
type Reason uint8

// Reasons of the loop itself. A Handler has its own from ReasonUser on.
const (
	ReasonPeer    Reason = iota // the peer closed or reset the connection
	ReasonRefused               // Dial: nobody listens there, or no answer
	ReasonUnread                // more than MaxUnread bytes were left unconsumed
	ReasonLinger                // closed after everything was sent, or after the linger time
	ReasonStopped               // the loop was stopped
	ReasonPanic                 // the Handler panicked on this connection
	ReasonTLS                   // no TLS, or broken TLS
	ReasonProxy                 // no PROXY header, or from somebody who may not send one; the Handler does not hear of it
	ReasonUser                  // first of the Handler's own
)

// Result is what became of bytes that were to be sent.
type Result uint8

// Results of Send.
const (
	Sent   Result = iota // the kernel has all of it
	Queued               // the rest waits in the connection's outbox
	Full                 // nothing was taken: the outbox is at its bound
	Gone                 // there is no such connection any more
)
