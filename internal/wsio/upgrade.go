package wsio

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/gobwas/ws"
)

// MaxHead is the longest HTTP request head in bytes that is read; a longer one is answered 431.
const MaxHead = 8 << 10

// Request is what a client asked for in its handshake. The strings are copies.
type Request struct {
	URI           string
	Authorization string
	ForwardedFor  []string // values of X-Forwarded-For, in order
	Forwarded     []string // values of Forwarded (RFC 7239), in order
	Protocols     []string // offered subprotocols, in order
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
	Path string // the only one that is upgraded; others are answered 404
	// Decide sees each request that is well-formed; it returns the subprotocol to name in the answer ("" for none),
	// or a *Refusal.
	Decide func(*Request) (protocol string, err error)

	req      Request
	out      bytes.Buffer
	upgrader ws.Upgrader
}

// HeadEnd is the length of the request head at the start of b, its empty line included, or 0 when it is not complete.
func HeadEnd(b []byte) int {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return 0
	}
	return i + 4
}

// Upgrade answers the request head (all of it, as HeadEnd found it). The response is to be sent in either case, and is
// valid until the next call; with an error the connection ends after it.
func (u *Upgrader) Upgrade(head []byte) (response []byte, err error) {
	u.req = Request{}
	u.out.Reset()
	if err := checkHead(head); err != nil {
		return Response(err), err
	}
	if u.upgrader.OnRequest == nil {
		u.prepare()
	}
	up := u.upgrader
	up.OnBeforeUpgrade = func() (ws.HandshakeHeader, error) {
		p, err := u.Decide(&u.req)
		if err != nil || p == "" {
			return nil, err
		}
		return ws.HandshakeHeaderHTTP{"Sec-WebSocket-Protocol": []string{p}}, nil
	}
	_, err = up.Upgrade(memory{bytes.NewReader(head), &u.out})
	if err == nil {
		return u.out.Bytes(), nil
	}
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
	case errors.Is(err, ws.ErrHandshakeBadUpgrade), errors.Is(err, ws.ErrHandshakeUpgradeRequired):
		refusal = upgradeRequired
	case errors.Is(err, ws.ErrHandshakeBadMethod):
		refusal = &Refusal{Status: http.StatusMethodNotAllowed, Reason: "open a WebSocket with GET", Header: http.Header{"Allow": {"GET"}}}
	default:
		refusal = &Refusal{Status: http.StatusBadRequest, Reason: "bad WebSocket handshake: " + err.Error()}
	}
	return Response(refusal), refusal
}

var upgradeRequired = &Refusal{
	Status: http.StatusUpgradeRequired,
	Reason: "this is a WebSocket server: connect with a WebSocket client, version 13",
	Header: http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}},
}

func (u *Upgrader) prepare() {
	u.upgrader = ws.Upgrader{
		ReadBufferSize:  MaxHead,
		WriteBufferSize: 512,
		OnRequest: func(uri []byte) error {
			u.req.URI = string(uri)
			if path, _, _ := strings.Cut(u.req.URI, "?"); path != u.Path {
				return &Refusal{Status: http.StatusNotFound, Reason: "nothing here; the WebSocket is at " + u.Path}
			}
			return nil
		},
		OnHeader: func(key, value []byte) error {
			switch string(key) {
			case "Authorization":
				u.req.Authorization = string(value)
			case "X-Forwarded-For":
				u.req.ForwardedFor = append(u.req.ForwardedFor, string(value))
			case "Forwarded":
				u.req.Forwarded = append(u.req.Forwarded, string(value))
			}
			return nil
		},
		ProtocolCustom: func(value []byte) (string, bool) { // called for each such header
			for p := range strings.SplitSeq(string(value), ",") {
				if p = strings.Trim(p, " \t"); p != "" {
					u.req.Protocols = append(u.req.Protocols, p)
				}
			}
			return "", true
		},
	}
}

type memory struct {
	*bytes.Reader
	*bytes.Buffer
}

func (m memory) Read(p []byte) (int, error)  { return m.Reader.Read(p) }
func (m memory) Write(p []byte) (int, error) { return m.Buffer.Write(p) }

// checkHead refuses what gobwas/ws lets pass: lines that do not end in CRLF, folded lines, a second one of the headers
// that must be single, a body, a key that is not the base64 of 16 bytes (RFC 6455 section 4.1, RFC 9112 sections 2.2, 5.2, 6).
func checkHead(head []byte) error {
	bad := func(reason string) error {
		return &Refusal{Status: http.StatusBadRequest, Reason: "bad request: " + reason}
	}
	seen := map[string]bool{}
	first := true
	for line := range bytes.Lines(head) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || bytes.IndexByte(line, 0) >= 0 || bytes.Count(line, []byte("\r")) != 1 {
			return bad("a line does not end in CRLF")
		}
		if first || len(line) == 2 {
			first = false
			continue
		}
		name, value, ok := bytes.Cut(line[:len(line)-2], []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return bad("a header line is malformed")
		}
		value = bytes.Trim(value, " \t")
		switch key := strings.ToLower(string(name)); key {
		case "host", "sec-websocket-key", "sec-websocket-version", "authorization", "content-length", "origin":
			if seen[key] {
				return bad("more than one " + key)
			}
			seen[key] = true
			if key == "sec-websocket-key" && !validKey(value) {
				return bad("sec-websocket-key is not the base64 of 16 bytes")
			}
			if key == "content-length" && string(value) != "0" {
				return bad("a WebSocket handshake has no body")
			}
		case "transfer-encoding":
			return bad("a WebSocket handshake has no body")
		}
	}
	return nil
}

func validKey(value []byte) bool {
	var key [18]byte
	n, err := base64.StdEncoding.Strict().Decode(key[:], value[:min(len(value), 24)])
	return err == nil && n == 16 && len(value) == 24
}
