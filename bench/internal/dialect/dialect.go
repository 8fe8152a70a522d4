// Package dialect is how the load generator speaks to each kind of server.
//
//	            ┌─ Millrace   the gateway, and those who speak as much of millrace.v1: the limit, gorilla, gws
//	generator ──┼─ SocketIO   Engine.IO 4 and Socket.IO 5, by WebSocket from the start
//	            └─ NATS       its client protocol in WebSocket messages
//
// A Dialect has no state: it appends what a client sends, framed and masked, and says what a server meant. It refuses to know
// connections and time. The channels of a server are numbers here; each dialect has its own names for them.
package dialect

import (
	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
)

// Kind is what a server has said.
type Kind uint8

// Kinds of an Event.
const (
	Other  Kind = iota // nothing that matters here
	Answer             // the greeting, or that a subscription is there
	Body               // a publication, or the reply to a request; Event.Body is what was sent
	Probe              // the server asks for a sign of life, Dialect.Alive
	Fault              // it complains, with Event.Body
)

// Event is one thing that a server has said. Body is part of the bytes that were read.
type Event struct {
	Kind Kind
	Body []byte
}

// Dialect is one way of speaking. The methods that append return dst with whole WebSocket frames behind it.
type Dialect interface {
	// URI and Protocols are those of the WebSocket handshake.
	URI() string
	Protocols() string
	// Greet is what a client says first. The server's greeting is an Answer.
	Greet(dst []byte) []byte
	// Subscribe asks for channels, and says how many Answers there will be.
	Subscribe(dst []byte, channels []int) (out []byte, answers int)
	// Publish sends body, printable and without quotes, to a channel.
	Publish(dst []byte, channel int, body []byte) []byte
	// Inbox is what a client says before its first Request; usually nothing.
	Inbox(dst []byte, client int) []byte
	// Request asks for body back.
	Request(dst []byte, client int, body []byte) []byte
	// Alive answers a Probe.
	Alive(dst []byte) []byte
	// Read takes one event off the payload of a WebSocket message. n is its length; 0 means that a part is missing.
	Read(payload []byte) (ev Event, n int)
}

// Mask is the same in each frame: servers take it off all the same, and nothing here needs to be hidden from proxies.
var Mask = [4]byte{0x6d, 0x69, 0x6c, 0x6c}

func appendText(dst []byte, payload string) []byte {
	return wsio.AppendMasked(dst, ws.OpText, []byte(payload), Mask)
}
