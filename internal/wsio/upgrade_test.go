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
		head := strings.Replace(goodHead, before, after, 1)
		if head == goodHead {
			t.Fatalf("%s: nothing replaced", name)
		}
		response, err := newTestUpgrader(nil).Upgrade([]byte(head))
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
	f.Fuzz(func(t *testing.T, head []byte) {
		head = append(head, "\r\n\r\n"...)
		head = head[:HeadEnd(head)]
		response, err := newTestUpgrader(nil).Upgrade(head)
		res, perr := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
		if perr != nil || (err == nil) != (res.StatusCode == 101) {
			t.Fatalf("%q: %v, response %q", head, err, response)
		}
	})
}
