package main

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the handshake of RFC 6455 is defined with it
	"encoding/base64"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
)

const (
	guid  = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3
	hello = "hello bench\n{}"

	// position stands where the gateway names one, and is as long: everybody sends the same number of bytes.
	position = "1700000000000-000.0000000"
)

var (
	headEnd   = []byte("\r\n\r\n")
	keyHeader = []byte("Sec-WebSocket-Key: ")
)

// take handles what is complete in b, the request head first. It reports false when the connection is to end.
func (l *limit) take(fd int32, b []byte) (used int, ok bool) {
	if !l.conns[fd].upgraded {
		if used = l.upgrade(fd, b); used <= 0 {
			return 0, used == 0
		}
	}
	for {
		h, ok, err := wsio.ParseHeader(b[used:])
		if err != nil || h.OpCode == ws.OpClose {
			return used, false
		}
		if !ok || len(b)-used < h.Size+h.Length {
			return used, true
		}
		payload := b[used+h.Size:][:h.Length]
		ws.Cipher(payload, h.Mask, 0)
		l.command(fd, payload)
		used += h.Size + h.Length
	}
}

// upgrade answers the handshake. It returns the length of the head, 0 when it is not complete and -1 when it is not for us.
func (l *limit) upgrade(fd int32, b []byte) int {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return 0
	}
	at := bytes.Index(b[:end], keyHeader)
	if at < 0 || len(b) < at+len(keyHeader)+24 {
		return -1
	}
	key := append(l.out[:0], b[at+len(keyHeader):][:24]...)
	sum := sha1.Sum(append(key, guid...)) //nolint:gosec // as above
	out := append(l.out[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: millrace.v1\r\nSec-WebSocket-Accept: "...)
	out = base64.StdEncoding.AppendEncode(out, sum[:])
	out = append(out, headEnd...)
	l.send(fd, append(wsio.AppendHeader(out, ws.OpText, len(hello)), hello...))
	l.conns[fd].upgraded = true
	return end + len(headEnd)
}

// command obeys sub, pub and req as the gateway would.
func (l *limit) command(fd int32, frame []byte) {
	head, body, _ := bytes.Cut(frame, []byte{'\n'})
	verb, rest, _ := bytes.Cut(head, []byte{' '})
	ref, channel, _ := bytes.Cut(rest, []byte{' '})
	switch string(verb) {
	case "sub":
		l.subscribe(fd, channel)
		l.send(fd, l.frame("ok ", ref, " "+position, nil))
	case "pub":
		if members := l.channels[string(channel)]; members != nil {
			l.publish(members, l.frame("msg ", channel, " "+position+"\n", body))
		}
	case "req":
		l.send(fd, l.frame("res ", ref, "\n", body))
	}
}

// frame is one text message, valid until the next one is made.
func (l *limit) frame(verb string, token []byte, rest string, body []byte) []byte {
	out := wsio.AppendHeader(l.out[:0], ws.OpText, len(verb)+len(token)+len(rest)+len(body))
	out = append(append(append(out, verb...), token...), rest...)
	return append(out, body...)
}

func (l *limit) subscribe(fd int32, channel []byte) {
	members := l.channels[string(channel)]
	if members == nil {
		members = new([]member)
		l.channels[string(channel)] = members
	}
	*members = append(*members, member{fd, l.conns[fd].gen})
}

// publish sends b to all who are still there, and forgets the others.
func (l *limit) publish(members *[]member, b []byte) {
	kept := (*members)[:0]
	for _, m := range *members {
		if l.conns[m.fd].gen == m.gen {
			l.send(m.fd, b)
			kept = append(kept, m)
		}
	}
	*members = kept
}
