package dialect

import (
	"bytes"
	"strconv"
)

// Millrace speaks millrace.v1. It renounces acknowledgements, which the other servers do not give.
type Millrace struct {
	Namespace string // of the channels
}

// URI implements Dialect.
func (m Millrace) URI() string { return "/ws" }

// Protocols implements Dialect.
func (m Millrace) Protocols() string { return "millrace.v1" }

// Greet implements Dialect: the gateway speaks first.
func (m Millrace) Greet(dst []byte) []byte { return dst }

// Subscribe implements Dialect.
func (m Millrace) Subscribe(dst []byte, channels []int) (out []byte, answers int) {
	for i, c := range channels {
		dst = appendText(dst, "sub "+strconv.Itoa(i+1)+" "+m.channel(c))
	}
	return dst, len(channels)
}

// Publish implements Dialect.
func (m Millrace) Publish(dst []byte, channel int, body []byte) []byte {
	return appendText(dst, "pub - "+m.channel(channel)+"\n"+string(body))
}

// Inbox implements Dialect.
func (m Millrace) Inbox(dst []byte, _ int) []byte { return dst }

// Request implements Dialect. The stamp in the body differs from one request to the next, so its digits will do as REF.
func (m Millrace) Request(dst []byte, client int, body []byte) []byte {
	return appendText(dst, "req "+strconv.FormatUint(reference(body), 10)+" "+m.channel(client)+"\n"+string(body))
}

// reference makes a REF, 1 to 2^53-1, of a body.
func reference(body []byte) uint64 {
	hash := uint64(14695981039346656037) // FNV-1a
	for _, c := range body[:min(len(body), 32)] {
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	return hash>>12 | 1
}

// Alive implements Dialect.
func (m Millrace) Alive(dst []byte) []byte { return dst }

// Read implements Dialect.
func (m Millrace) Read(payload []byte) (ev Event, n int) {
	verb, _, _ := bytes.Cut(payload, []byte{' '})
	switch string(verb) {
	case "msg", "res":
		_, body, _ := bytes.Cut(payload, []byte{'\n'})
		ev = Event{Body, body}
	case "ok", "hello":
		ev.Kind = Answer
	case "err", "bye", "gap", "revoke":
		ev = Event{Fault, payload}
	}
	return ev, len(payload)
}

func (m Millrace) channel(i int) string { return m.Namespace + ":" + strconv.Itoa(i) }
