package dialect

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
)

// NATS speaks its client protocol; a WebSocket message holds any number of its lines.
type NATS struct{}

var endOfLine = []byte("\r\n")

// URI implements Dialect.
func (NATS) URI() string { return "/" }

// Protocols implements Dialect.
func (NATS) Protocols() string { return "" }

// Greet implements Dialect: the PONG says that CONNECT was taken.
func (NATS) Greet(dst []byte) []byte {
	return appendLines(dst, `CONNECT {"verbose":false,"pedantic":false,"protocol":1,"lang":"bench","version":"1"}`+"\r\nPING\r\n")
}

// Subscribe implements Dialect. A subscription's number is its channel; one PONG says that all have been taken.
func (n NATS) Subscribe(dst []byte, channels []int) (out []byte, answers int) {
	var lines strings.Builder
	for _, c := range channels {
		lines.WriteString("SUB " + n.channel(c) + " " + strconv.Itoa(c) + "\r\n")
	}
	return appendLines(dst, lines.String()+"PING\r\n"), 1
}

// Publish implements Dialect.
func (n NATS) Publish(dst []byte, channel int, body []byte) []byte {
	return appendLines(dst, "PUB "+n.channel(channel)+" "+strconv.Itoa(len(body))+"\r\n"+string(body)+"\r\n")
}

// Inbox implements Dialect: replies come to a subject of the client's own.
func (NATS) Inbox(dst []byte, client int) []byte {
	return appendLines(dst, "SUB "+inbox(client)+" reply\r\n")
}

// Request implements Dialect.
func (NATS) Request(dst []byte, client int, body []byte) []byte {
	return appendLines(dst, "PUB echo "+inbox(client)+" "+strconv.Itoa(len(body))+"\r\n"+string(body)+"\r\n")
}

// Alive implements Dialect.
func (NATS) Alive(dst []byte) []byte { return appendLines(dst, "PONG\r\n") }

// Read implements Dialect.
func (NATS) Read(payload []byte) (ev Event, n int) {
	line, rest, ok := bytes.Cut(payload, endOfLine)
	if !ok {
		return ev, 0
	}
	n = len(line) + len(endOfLine)
	switch {
	case bytes.HasPrefix(line, []byte("MSG ")):
		size, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
		if err != nil || size < 0 {
			return Event{Fault, line}, n
		}
		if len(rest) < size+len(endOfLine) {
			return ev, 0
		}
		return Event{Body, rest[:size]}, n + size + len(endOfLine)
	case bytes.HasPrefix(line, []byte("PONG")):
		ev.Kind = Answer
	case bytes.HasPrefix(line, []byte("PING")):
		ev.Kind = Probe
	case bytes.HasPrefix(line, []byte("-ERR")):
		ev = Event{Fault, line}
	}
	return ev, n
}

func (NATS) channel(i int) string { return "c." + strconv.Itoa(i) }

func inbox(client int) string { return "_r." + strconv.Itoa(client) }

func appendLines(dst []byte, lines string) []byte {
	return wsio.AppendMasked(dst, ws.OpBinary, []byte(lines), Mask)
}
