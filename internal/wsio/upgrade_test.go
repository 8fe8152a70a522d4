package wsio

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

const goodHead = "GET /ws?token=abc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer a\r\n" +
	"Sec-WebSocket-Protocol: bearer.t, millrace.v1\r\nSec-WebSocket-Protocol: other\r\n\r\n"

// edited is goodHead with one change.
func edited(t *testing.T, before, after string) []byte {
	t.Helper()
	head := strings.Replace(goodHead, before, after, 1)
	if head == goodHead {
		t.Fatalf("%q: nothing replaced", before)
	}
	return []byte(head)
}

func newTestUpgrader(decide func(*Request) (string, error)) *Upgrader {
	if decide == nil {
		decide = func(*Request) (string, error) { return "", nil }
	}
	return &Upgrader{Path: "/ws", Decide: decide}
}

func wantStatus(t *testing.T, response []byte, status int) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
	if err != nil {
		t.Fatalf("%q is no HTTP response: %v", response, err)
	}
	if res.StatusCode != status {
		t.Fatalf("status %d, want %d:\n%s", res.StatusCode, status, response)
	}
	return res
}

func TestUpgrade(t *testing.T) {
	var got Request
	u := newTestUpgrader(func(r *Request) (string, error) { got = *r; return "millrace.v1", nil })
	for range 2 { // it is used again and again
		response, err := u.Upgrade([]byte(goodHead))
		if err != nil {
			t.Fatal(err)
		}
		res := wantStatus(t, response, http.StatusSwitchingProtocols)
		if a := res.Header.Get("Sec-WebSocket-Accept"); a != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 section 1.3
			t.Fatalf("accept %q", a)
		}
		if p := res.Header.Get("Sec-WebSocket-Protocol"); p != "millrace.v1" {
			t.Fatalf("protocol %q", p)
		}
		if got.URI != "/ws?token=abc" || got.Authorization != "Bearer a" || strings.Join(got.Protocols, "|") != "bearer.t|millrace.v1|other" {
			t.Fatalf("%+v", got)
		}
	}
}

func TestUpgradeRefuses(t *testing.T) {
	f := func(name string, status int, before, after string) {
		t.Helper()
		response, err := newTestUpgrader(nil).Upgrade(edited(t, before, after))
		if err == nil {
			t.Fatalf("%s was accepted", name)
		}
		res := wantStatus(t, response, status)
		if !res.Close {
			t.Fatalf("%s: the response does not close", name)
		}
	}
	f("other path", 404, "/ws", "/")
	f("no upgrade", 426, "Upgrade: websocket\r\n", "")
	f("old version", 426, "Version: 13", "Version: 8")
	f("POST", 405, "GET", "POST")
	f("HTTP/1.0", 400, "HTTP/1.1", "HTTP/1.0")
	f("garbage", 400, "GET /ws?token=abc HTTP/1.1", "garbage")
	f("no host", 400, "Host: x\r\n", "")
	f("two hosts", 400, "Host: x\r\n", "Host: x\r\nhost: y\r\n")
	f("two keys", 400, "Authorization:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization:")
	f("short key", 400, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j")
	f("key that is no base64", 400, "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!!!")
	f("body", 400, "Authorization:", "Content-Length: 3\r\nAuthorization:")
	f("chunked", 400, "Authorization:", "Transfer-Encoding: chunked\r\nAuthorization:")
	f("bare LF", 400, "Host: x\r\n", "Host: x\n")
	f("folded line", 400, "Host: x\r\n", "Host: x\r\n y\r\n")
	f("bare CR", 400, "Host: x\r\n", "Host: x\rX: y\r\n")
	f("NUL", 400, "Host: x", "Host: x\x00")
	f("blank before the colon", 400, "Host:", "Host :")
	f("empty host", 400, "Host: x", "Host: ")
	f("bad host", 400, "Host: x", "Host: x/y")
	f("bad port", 400, "Host: x", "Host: x:65536")
	f("two tabs in the request line", 400, "GET /ws", "GET\t/ws")
	f("HTTP/2.0", 505, "HTTP/1.1", "HTTP/2.0")
	f("no version", 400, "Sec-WebSocket-Version: 13\r\n", "")
	f("two versions", 400, "Version: 13\r\n", "Version: 13\r\nSec-WebSocket-Version: 13\r\n")
	f("no connection", 426, "Connection: keep-alive, Upgrade\r\n", "")
	f("connection without upgrade", 426, "keep-alive, Upgrade", "keep-alive, Upgraded")
	f("key with bits that do not count", 400, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR==")
	f("subprotocol twice", 400, "millrace.v1", "millrace.v1, bearer.t")
	f("subprotocol that is no token", 400, "millrace.v1", "mill race")
	f("broken extension", 400, "Host: x\r\n", "Host: x\r\nSec-WebSocket-Extensions: permessage-deflate;\r\n")
}

func TestUpgradeAccepts(t *testing.T) {
	f := func(before, after string) {
		t.Helper()
		if response, err := newTestUpgrader(nil).Upgrade(edited(t, before, after)); err != nil {
			t.Errorf("%q: %v, %s", after, err, response)
		}
	}
	f("Upgrade: websocket", "Upgrade: h2c, WebSocket")
	f("keep-alive, Upgrade", ",UPGRADE ,")
	f("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nconnection: upgrade")
	f("GET /ws?token=abc", "GET http://x/ws?token=abc")
	f("Host: x", "Host: [::1]:80")
	f("Host: x", "hOsT:example.com:8080")
	f("Host: x", "Host: x\r\nX-Other: \xc3\xa9\tand more\r\nContent-Length: 0")
	f("Host: x", "Host: x\r\nOrigin: https://anything.example")
	f("Host: x", "Host: x\r\nSec-WebSocket-Extensions: foo; bar=\"b\\az\", other")
}

func TestOrigins(t *testing.T) {
	origins, err := ParseOrigins([]string{"https://app.example", "http://localhost:3000", "https://*.apps.example:8443"})
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://app.example": true, "HTTPS://APP.EXAMPLE": true, "http://app.example": false, "https://app.example:444": false,
		"https://app.example.evil": false, "https://xapp.example": false, "http://localhost:3000": true, "null": false, "": false,
		"https://a.apps.example:8443": true, "https://a.b.apps.example:8443": true, "https://apps.example:8443": false,
		"https://.apps.example:8443": false, "https://evil/.apps.example:8443": false, "https://*.apps.example:8443": true,
	} {
		u := newTestUpgrader(nil)
		u.Origins = origins
		response, err := u.Upgrade(edited(t, "Host: x\r\n", "Host: x\r\nOrigin: "+origin+"\r\n"))
		if (err == nil) != want {
			t.Errorf("%q: %v", origin, err)
		}
		if err != nil {
			wantStatus(t, response, http.StatusForbidden)
		}
	}
	u := newTestUpgrader(nil)
	u.Origins = origins
	if _, err := u.Upgrade([]byte(goodHead)); err != nil {
		t.Errorf("no origin: %v", err)
	}
	for _, bad := range []string{"", "app.example", "https://", "https://app.example/", "https://a.*.example", "*", "https://u@app.example/x"} {
		if _, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A head is refused as soon as it cannot become one.
func TestHeadEnd(t *testing.T) {
	for head, want := range map[string]int{
		"": 0, "GET / HTTP/1.1\r\n": 0, "GET / HTTP/1.1\r\n\r": 0, "a\r\n\r\n": 5, "a\n\n": 3, "a\n\r\n": 4, "a\r\n\nb": 4, "a\r\nb\r\n\r\nrest": 8,
	} {
		if n := HeadEnd([]byte(head)); n != want {
			t.Errorf("%q: %d, want %d", head, n, want)
		}
	}
	if MayBeHead([]byte{0x16, 3, 1}) || !MayBeHead(nil) || !MayBeHead([]byte("G")) {
		t.Error("TLS may be HTTP")
	}
}

func TestHandshakeOfBothSides(t *testing.T) {
	key := [16]byte{1, 2, 3}
	head := AppendRequest(nil, "localhost:8080", "/ws", key, "millrace.v1", "X-A: b\r\n")
	if HeadEnd(head) != len(head) {
		t.Fatal("the request has no end")
	}
	response, err := newTestUpgrader(nil).Upgrade(head)
	if err != nil {
		t.Fatal(err)
	}
	behind := append(bytes.Clone(response), "frames"...)
	for cut := range len(response) {
		if n, err := ParseResponse(behind[:cut], key); n != 0 || err != nil {
			t.Fatalf("%d of %d bytes: %d, %v", cut, len(response), n, err)
		}
	}
	if n, err := ParseResponse(behind, key); n != len(response) || err != nil {
		t.Fatalf("%d, %v; want %d", n, err, len(response))
	}
	if _, err := ParseResponse(behind, [16]byte{9}); err == nil {
		t.Fatal("an answer to another key was accepted")
	}
}

func FuzzUpgrade(f *testing.F) {
	f.Add([]byte(goodHead))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte(strings.Replace(goodHead, "Host", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"15\", x\r\nHost", 1)))
	f.Fuzz(func(t *testing.T, head []byte) {
		head = append(head, "\r\n\r\n"...)
		head = head[:HeadEnd(head)]
		u := newTestUpgrader(nil)
		u.Deflate = true
		response, err := u.Upgrade(head)
		res, perr := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
		if perr != nil || (err == nil) != (res.StatusCode == 101) {
			t.Fatalf("%q: %v, response %q", head, err, response)
		}
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head))) // another reader of HTTP must see the same
		if err != nil || req.Method != "GET" || req.Header.Get("Sec-Websocket-Version") != "13" || len(req.Header["Sec-Websocket-Key"]) != 1 {
			t.Fatalf("%q was upgraded; net/http says %v, %+v", head, err, req)
		}
	})
}
