package wsio

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
)

// Request is what a client asked for in its handshake. The strings are copies.
type Request struct {
	URI           string // path and query
	Authorization string
	ForwardedFor  []string // values of X-Forwarded-For, in order
	Forwarded     []string // values of Forwarded (RFC 7239), in order
	Protocols     []string // offered subprotocols, in order
	Deflate       bool     // permessage-deflate will be agreed on, if the handshake is not refused
}

// Refusal answers a handshake with an HTTP status instead of an upgrade.
type Refusal struct {
	Status int
	Reason string // for the person who reads it; the body of the response
	Header http.Header
}

func (r *Refusal) Error() string { return r.Reason }

// Upgrader answers opening handshakes (RFC 6455 section 4.2). It belongs to one loop and is used for one handshake
// after the other.
type Upgrader struct {
	Path    string  // the only one that is upgraded; others are answered 404
	Origins Origins // web pages that may connect; none: all
	Deflate bool    // permessage-deflate is agreed on with those who offer it
	// Decide sees each request that is well-formed; it returns the subprotocol to name in the answer ("" for none),
	// or a *Refusal.
	Decide func(*Request) (protocol string, err error)

	head head
	out  []byte
}

// Upgrade answers the request head (all of it, as HeadEnd found it). The response is to be sent in either case, and is
// valid until the next call; with an error the connection ends after it.
func (u *Upgrader) Upgrade(head []byte) (response []byte, err error) {
	var req Request
	var key [16]byte
	if err = u.read(head, &req, &key); err != nil {
		return Response(err), err
	}
	protocol, err := u.Decide(&req)
	if err != nil {
		return Response(err), err
	}
	u.out = append(u.out[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	u.out = append(u.out, accept(key)...)
	if protocol != "" {
		u.out = append(append(u.out, "\r\nSec-WebSocket-Protocol: "...), protocol...)
	}
	if req.Deflate {
		u.out = append(append(u.out, "\r\nSec-WebSocket-Extensions: "...), u.head.deflate()...)
	}
	u.out = append(u.out, "\r\n\r\n"...)
	return u.out, nil
}

// read takes what a request says, or says what is wrong with it: the path first, so that who is lost is told where the
// WebSocket is.
func (u *Upgrader) read(b []byte, req *Request, key *[16]byte) error {
	h := &u.head
	if err := h.parse(b); err != nil {
		return err
	}
	switch {
	case h.major > 1:
		return &Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "this server speaks HTTP/1.1"}
	case h.major < 1 || h.minor < 1:
		return badRequest("a WebSocket handshake is HTTP/1.1")
	case string(h.method) != "GET":
		return &Refusal{Status: http.StatusMethodNotAllowed, Reason: "open a WebSocket with GET", Header: http.Header{"Allow": {"GET"}}}
	case h.host == nil || !validHost(h.host):
		return badRequest("the host header is missing or malformed")
	case h.transfer || h.length != nil && string(h.length) != "0":
		return badRequest("a WebSocket handshake has no body")
	}
	req.URI = originForm(string(h.target))
	if path, _, _ := strings.Cut(req.URI, "?"); path != u.Path {
		return &Refusal{Status: http.StatusNotFound, Reason: "nothing here; the WebSocket is at " + u.Path}
	}
	if err := h.webSocket(key); err != nil {
		return err
	}
	if h.origin != nil && !u.Origins.allow(string(h.origin)) {
		return &Refusal{Status: http.StatusForbidden, Reason: "web pages of this origin may not connect"}
	}
	req.Authorization = string(h.authorization)
	req.ForwardedFor, req.Forwarded = texts(h.forwardedFor), texts(h.forwarded)
	for i, p := range h.protocols {
		if !isToken(p) {
			return badRequest("sec-websocket-protocol is malformed")
		}
		for _, other := range h.protocols[:i] {
			if bytes.Equal(p, other) {
				return badRequest("a subprotocol is offered twice")
			}
		}
		req.Protocols = append(req.Protocols, string(p))
	}
	agreed, err := h.offersDeflate()
	req.Deflate = agreed && u.Deflate
	return err
}

// webSocket checks what makes a request an opening handshake (RFC 6455 section 4.2.1).
func (h *head) webSocket(key *[16]byte) error {
	switch {
	case !has(h.upgrade, "websocket") || !has(h.connection, "upgrade"):
		return upgradeRequired
	case h.version == nil:
		return &Refusal{Status: http.StatusBadRequest, Reason: "bad request: sec-websocket-version is missing; this server speaks 13", Header: versionHeader}
	case string(h.version) != "13":
		return upgradeRequired
	case h.key == nil || !decodeKey(key, h.key):
		return badRequest("sec-websocket-key is not the base64 of 16 bytes")
	}
	return nil
}

var (
	versionHeader   = http.Header{"Sec-Websocket-Version": {"13"}}
	upgradeRequired = &Refusal{
		Status: http.StatusUpgradeRequired,
		Reason: "this is a WebSocket server: connect with a WebSocket client, version 13",
		Header: http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}},
	}
)

func texts(values [][]byte) (list []string) {
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}

func decodeKey(key *[16]byte, value []byte) bool {
	var b [18]byte
	if len(value) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Strict().Decode(b[:], value)
	copy(key[:], b[:])
	return err == nil && n == 16
}

// originForm takes scheme and host off a target in absolute form, which a client may send (RFC 9112 section 3.2.2).
func originForm(target string) string {
	for _, scheme := range []string{"http://", "https://"} {
		if len(target) > len(scheme) && strings.EqualFold(target[:len(scheme)], scheme) {
			if i := strings.IndexAny(target[len(scheme):], "/?"); i >= 0 {
				return target[len(scheme)+i:]
			}
			return "/"
		}
	}
	return target
}
