package wsio

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the handshake of RFC 6455 is defined with it
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// AppendRequest appends a client's opening handshake (RFC 6455 section 4.1). key is 16 random bytes; header lines in
// extra end in CRLF each.
func AppendRequest(dst []byte, host, uri string, key [16]byte, protocols, extra string) []byte {
	dst = append(dst, "GET "+uri+" HTTP/1.1\r\nHost: "+host+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	dst = base64.StdEncoding.AppendEncode(dst, key[:])
	dst = append(dst, "\r\n"...)
	if protocols != "" {
		dst = append(dst, "Sec-WebSocket-Protocol: "+protocols+"\r\n"...)
	}
	dst = append(dst, extra...)
	return append(dst, "\r\n"...)
}

// StatusError is the answer of a server that did not upgrade.
type StatusError struct {
	Status int
	Body   string // the first 200 bytes of what came with it
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered HTTP %d: %s", e.Status, strings.TrimSpace(e.Body))
}

var (
	errResponse = errors.New("the server's handshake is not HTTP/1.1")
	errAccept   = errors.New("the server's Sec-WebSocket-Accept does not fit our key")
)

// ParseResponse reads a server's handshake from the start of b: its length, or 0 when it is not complete yet. A status
// other than 101 is a [*StatusError].
func ParseResponse(b []byte, key [16]byte) (n int, err error) {
	n = HeadEnd(b)
	if n == 0 {
		if len(b) > MaxHead {
			return 0, errResponse
		}
		return 0, nil
	}
	head := b[:n]
	if len(head) < 12 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, errResponse
	}
	status, err := strconv.Atoi(string(head[9:12]))
	if err != nil {
		return 0, errResponse
	}
	if status != 101 {
		return 0, &StatusError{Status: status, Body: string(b[n:min(len(b), n+200)])}
	}
	const name = "\r\nsec-websocket-accept:"
	i := bytes.Index(bytes.ToLower(head), []byte(name))
	if i < 0 {
		return 0, errAccept
	}
	value, _, _ := bytes.Cut(head[i+len(name):], []byte("\r\n"))
	if string(bytes.TrimSpace(value)) != accept(key) {
		return 0, errAccept
	}
	return n, nil
}

// accept is what a server must answer to key (RFC 6455 section 1.3).
func accept(key [16]byte) string {
	sum := sha1.Sum([]byte(base64.StdEncoding.EncodeToString(key[:]) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}
