// Package limit counts and measures what clients may have of a gateway: connections, and rates of frames, bytes and publications.
//
//	handshake ─▶ Gate ── connections of the gateway, an address, a user; accepts a second     one for all loops
//	frame ─────▶ Meter ── frames and bytes a second of one connection                         16 bytes each
//	pub ───────▶ Channels ── publications a second of one channel                             one for all loops
//	X-Forwarded-For, Forwarded ─▶ Proxies.Client: whose address counts
//
// Time is handed in, in milliseconds. Nothing here knows HTTP, WebSockets or codes, and nothing is allocated for a frame. Gate and Channels
// have a lock each, held for a look into a map; a Meter belongs to its loop. What is not limited costs nothing: no lock is taken and
// nothing is kept.
package limit

// Limit names a limit, for metrics.
type Limit uint8

// Limits that refuse.
const (
	None          Limit = iota
	Connections         // of the gateway
	Address             // connections of an address
	User                // connections of a user
	AcceptRate          // handshakes a second
	FrameRate           // of a connection
	ByteRate            // of a connection
	PublishRate         // of a channel
	Subscriptions       // of a connection
	Requests            // unanswered ones of a connection
	Body                // size of one
	Limits              // how many there are, None included
)

// String is the metric label.
func (l Limit) String() string {
	return [Limits]string{"none", "connections", "address", "user", "accept_rate", "frame_rate", "byte_rate", "publish_rate", "subscriptions", "requests", "body"}[l]
}
