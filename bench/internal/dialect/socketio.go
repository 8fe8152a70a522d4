package dialect

import (
	"bytes"
	"strconv"
	"strings"
)

// SocketIO speaks Socket.IO 5 over Engine.IO 4, as rivals/socketio expects it. The first digit of a packet is Engine.IO's (0 open,
// 2 ping, 3 pong, 4 message), the second Socket.IO's (0 connect, 2 event, 3 acknowledgement, 4 refused).
type SocketIO struct{}

// URI implements Dialect.
func (SocketIO) URI() string { return "/socket.io/?EIO=4&transport=websocket" }

// Protocols implements Dialect.
func (SocketIO) Protocols() string { return "" }

// Greet implements Dialect: it connects to the default namespace.
func (SocketIO) Greet(dst []byte) []byte { return appendText(dst, "40") }

// Subscribe implements Dialect: all channels with one event, which is acknowledged as number 0.
func (s SocketIO) Subscribe(dst []byte, channels []int) (out []byte, answers int) {
	names := make([]string, len(channels))
	for i, c := range channels {
		names[i] = s.channel(c)
	}
	return appendText(dst, `420["sub",[`+strings.Join(names, ",")+`]]`), 1
}

// Publish implements Dialect.
func (s SocketIO) Publish(dst []byte, channel int, body []byte) []byte {
	return appendText(dst, `42["pub",`+s.channel(channel)+`,"`+string(body)+`"]`)
}

// Inbox implements Dialect.
func (SocketIO) Inbox(dst []byte, _ int) []byte { return dst }

// Request implements Dialect. The number of the acknowledgement does not matter, as the body comes back; 0 is a subscription's.
func (SocketIO) Request(dst []byte, _ int, body []byte) []byte {
	return appendText(dst, `421["req","`+string(body)+`"]`)
}

// Alive implements Dialect.
func (SocketIO) Alive(dst []byte) []byte { return appendText(dst, "3") }

// Read implements Dialect.
func (SocketIO) Read(payload []byte) (ev Event, n int) {
	switch {
	case len(payload) == 0:
		return ev, 0
	case payload[0] == '2':
		ev.Kind = Probe
	case bytes.HasPrefix(payload, []byte(`42["msg","`)):
		ev = Event{Body, quoted(payload[len(`42["msg","`):])}
	case bytes.HasPrefix(payload, []byte(`431["`)):
		ev = Event{Body, quoted(payload[len(`431["`):])}
	case bytes.HasPrefix(payload, []byte("40")), bytes.HasPrefix(payload, []byte("430")):
		ev.Kind = Answer
	case payload[0] == '1', bytes.HasPrefix(payload, []byte("41")), bytes.HasPrefix(payload, []byte("44")):
		ev = Event{Fault, payload}
	}
	return ev, len(payload)
}

// quoted is what stands before the next quote. Bodies hold none, so they need no decoding.
func quoted(b []byte) []byte {
	body, _, _ := bytes.Cut(b, []byte{'"'})
	return body
}

func (SocketIO) channel(i int) string { return `"c` + strconv.Itoa(i) + `"` }
