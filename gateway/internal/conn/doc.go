// Package conn is the WebSocket side of a connection: handshake, frames, pings, closes. It turns bytes into millrace
// frames for a Router and answers into bytes.
//
//	loop ── Open ──▶ opening ── whole head ──▶ open ── Close frame, or CloseWith ──▶ closing ──▶ Closed
//	                   │ 5 s, bad head             │ quiet for 2.5 heartbeats: 4002
//	                   ▼ HTTP status               ▼ rules broken: 1002, 1007, 1009
//
// A Server serves all connections of one loop and belongs to its goroutine. It does not know the hub. What is answered
// while a connection is being read is joined and leaves in one send. Cost: 12 bytes a connection; the state of an
// unfinished message and of those who break the rules exists only while there is one. Reading a frame does not allocate.
package conn

import (
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// Router is what a Server calls, on the loop.
type Router interface {
	// Admit decides on a handshake: the subprotocol to name in the answer, or a *wsio.Refusal.
	Admit(c loop.Conn, r *wsio.Request) (protocol string, err error)
	// Opened is called once the connection is a WebSocket; deflate says that it takes compressed frames.
	Opened(c loop.Conn, deflate bool)
	// Frame is one WebSocket message, decompressed, only valid in the call. It reports false when it cannot be taken now: c is not
	// read then until ResumeAll, and the same frame comes again.
	Frame(c loop.Conn, binary bool, frame []byte) (taken bool)
	// Drained tells that all that waited in the outbox of an open c has gone out. c may be sent to.
	Drained(c loop.Conn)
	// Closed is called once for each connection that was Opened.
	Closed(c loop.Conn, why loop.Reason)
	// Turn is called at the end of each turn of the loop and reports whether there is more to do.
	Turn() (more bool)
}

// Reasons why a Server ends a connection, for metrics.
const (
	ReasonHandshake    = loop.ReasonUser + iota // refused with an HTTP status
	ReasonBye                                   // closed by CloseWith, for no reason of its own
	ReasonClient                                // the client sent Close
	ReasonViolation                             // the client broke RFC 6455
	ReasonHeartbeat                             // nothing heard for too long
	ReasonSlowConsumer                          // the outbox was full
	ReasonDrain                                 // bye 4000
	ReasonStreamLost                            // bye 4003
	reasonEnd
)

// Reasons is how many reasons there are, the loop's included.
const Reasons = int(reasonEnd)

// ReasonName is the metric label of a reason.
func ReasonName(r loop.Reason) string {
	return [Reasons]string{"peer", "refused", "unread", "linger", "stopped", "panic", "tls", "proxy", "handshake", "bye", "client", "violation", "heartbeat", "slow_consumer", "drain", "stream_lost"}[r]
}
