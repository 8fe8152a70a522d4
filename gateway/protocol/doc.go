// Package protocol is millrace.v1, the protocol between clients and the gateway (docs/PROTOCOL.md).
//
//	frame = head [ LF body ]       one WebSocket message
//	head  = token *( SP token )    printable ASCII, at most 1,024 bytes
//
// Client to gateway: sub unsub pub req who auth ping. Gateway to client: hello ok err res msg gap join leave revoke
// bye pong. The head is read, the body never is. Parsing returns slices of the frame and does not allocate; nothing
// here does I/O or keeps state.
package protocol

// Subprotocol is the WebSocket subprotocol; BearerPrefix begins an offered one that carries a token.
const (
	Subprotocol  = "millrace.v1"
	BearerPrefix = "bearer."
)

// Limits of the grammar.
const (
	MaxHead     = 1024 // bytes of a head
	MaxChannel  = 128
	MaxPosition = 64
	MaxID       = 64
	MaxRef      = 1<<53 - 1 // what every language's numbers hold
)

// NoRef is the REF of a command that wants no answer.
const NoRef = "-"
