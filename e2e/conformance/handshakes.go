package main

import (
	"fmt"
	"strings"
)

// refusal adds a case in which raw bytes are answered with an HTTP status, a line of text and the end of the connection.
func (s *suite) refusal(name, raw string, status int, header ...string) {
	s.add(name, func(at gateways) error { return refused(at.plain, raw, status, header...) })
}

func refused(addr, raw string, status int, header ...string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(raw)); err != nil {
		return err
	}
	r, err := c.response()
	if err != nil {
		return err
	}
	if r.status != status {
		return fmt.Errorf("%d %s, want %d", r.status, strings.TrimSpace(r.body), status)
	}
	if !strings.Contains(r.header["connection"], "close") || r.header["content-length"] != fmt.Sprint(len(r.body)) || len(strings.Fields(r.body)) < 4 {
		return fmt.Errorf("the response is not one sentence and the end: %v %q", r.header, r.body)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if r.header[name] != value {
			return fmt.Errorf("%s is %q, want %q", name, r.header[name], value)
		}
	}
	return nil
}

// accepted adds a case in which a request is upgraded.
func (s *suite) accepted(name, raw string) {
	s.add(name, func(at gateways) error {
		c, err := dial(at.plain)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte(raw)); err != nil {
			return err
		}
		r, err := c.response()
		if err != nil {
			return err
		}
		if err := checkUpgrade(r); err != nil {
			return err
		}
		if _, err := c.read(); err != nil { // hello
			return err
		}
		return c.alive()
	})
}

// with is a good request with one change.
func with(before, after string) string {
	r := strings.Replace(request(), before, after, 1)
	if r == request() {
		panic("BUG: nothing replaced in " + before)
	}
	return r
}

const (
	hostLine    = "Host: gateway.example\r\n"
	keyLine     = "Sec-WebSocket-Key: " + exampleKey + "\r\n"
	versionLine = "Sec-WebSocket-Version: 13\r\n"
)

func handshake(s *suite) {
	s.accepted("plain", request())
	for _, v := range []struct{ name, before, after string }{
		{"header names in capitals", "Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY"},
		{"Upgrade in capitals", "Upgrade: websocket", "Upgrade: WebSocket"},
		{"Upgrade among others", "Upgrade: websocket", "Upgrade: h2c, websocket"},
		{"Connection among others", "Connection: Upgrade", "Connection: keep-alive, Upgrade"},
		{"Connection in two lines", "Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"},
		{"Connection with empty members", "Connection: Upgrade", "Connection: , upgrade,,"},
		{"no blank behind the colon", "Host: g", "Host:g"},
		{"blanks around a value", "Version: 13", "Version: \t 13 \t"},
		{"host with a port", "gateway.example", "gateway.example:8080"},
		{"host that is IPv6", "gateway.example", "[2001:db8::1]:8080"},
		{"query", "GET /ws", "GET /ws?a=b&c"},
		{"absolute target", "GET /ws", "GET http://gateway.example/ws"},
		{"unknown headers", hostLine, hostLine + "X-One: 1\r\nX-One: 2\r\nCookie: a=b\r\nUser-Agent: caf\xc3\xa9\r\n"},
		{"content-length of 0", hostLine, hostLine + "Content-Length: 0\r\n"},
		{"an extension that nobody knows", hostLine, hostLine + "Sec-WebSocket-Extensions: x-other; a=1; b\r\n"},
		{"allowed origin", hostLine, hostLine + "Origin: https://app.example\r\n"},
		{"allowed origin in capitals", hostLine, hostLine + "Origin: HTTPS://App.Example\r\n"},
		{"allowed origin by a wildcard", hostLine, hostLine + "Origin: https://x.apps.example\r\n"},
		{"subprotocol", hostLine, hostLine + "Sec-WebSocket-Protocol: millrace.v1\r\n"},
		{"subprotocol among others", hostLine, hostLine + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: millrace.v1\r\n"},
		{"head of 8 KiB", hostLine, hostLine + "X: " + strings.Repeat("x", 8192-len(request())-5) + "\r\n"},
	} {
		s.accepted(v.name, with(v.before, v.after))
	}

	for _, v := range []struct{ name, before, after string }{
		{"no host", hostLine, ""},
		{"two hosts", hostLine, hostLine + hostLine},
		{"empty host", "gateway.example", ""},
		{"host with a path", "gateway.example", "gateway.example/x"},
		{"host with a user", "gateway.example", "a@gateway.example"},
		{"host with a blank", "gateway.example", "gateway example"},
		{"port that is none", "gateway.example", "gateway.example:http"},
		{"port 65536", "gateway.example", "gateway.example:65536"},
		{"broken IPv6 host", "gateway.example", "[::1"},
		{"no key", keyLine, ""},
		{"two keys", keyLine, keyLine + keyLine},
		{"empty key", exampleKey, ""},
		{"key of 15 bytes", exampleKey, "AAAAAAAAAAAAAAAAAAAA"},
		{"key of 17 bytes", exampleKey, "AAAAAAAAAAAAAAAAAAAAAAA="},
		{"key that is not base64", exampleKey, "dGhlIHNhbXBsZSBub25j!Q=="},
		{"key in the other base64", exampleKey, "____________________Zw=="},
		{"key without padding", exampleKey, "dGhlIHNhbXBsZSBub25jZQ"},
		{"key with stray bits", exampleKey, "dGhlIHNhbXBsZSBub25jZR=="},
		{"key with a blank inside", exampleKey, "dGhlIHNhbXBs ZSBub25jZQ="},
		{"no version", versionLine, ""},
		{"two versions", versionLine, versionLine + versionLine},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0"},
		{"HTTP/0.9", " HTTP/1.1", ""},
		{"http in small letters", "HTTP/1.1", "http/1.1"},
		{"HTTP/1.10", "HTTP/1.1", "HTTP/1.10"},
		{"two blanks in the request line", "GET /ws", "GET  /ws"},
		{"blank before the request line", "GET", " GET"},
		{"blank behind the request line", "HTTP/1.1", "HTTP/1.1 "},
		{"tab in the request line", "GET /ws", "GET\t/ws"},
		{"target with a fragment", "/ws", "/ws#a"},
		{"target that is not ASCII", "/ws", "/ws?\xc3\xa9"},
		{"bare LF", hostLine, "Host: gateway.example\n"},
		{"all lines bare LF", "\r\n", "\n"},
		{"bare CR", hostLine, "Host: gateway.example\rX: y\r\n"},
		{"NUL", "gateway.example", "gateway\x00example"},
		{"control character", hostLine, hostLine + "X: \x01\r\n"},
		{"DEL", hostLine, hostLine + "X: \x7f\r\n"},
		{"folded line", hostLine, hostLine + " folded\r\n"},
		{"blank before the colon", "Host:", "Host :"},
		{"no colon", hostLine, hostLine + "Nothing\r\n"},
		{"empty name", hostLine, hostLine + ": x\r\n"},
		{"name that is no token", hostLine, hostLine + "X(Y): z\r\n"},
		{"empty line first", "GET", "\r\nGET"},
		{"body", hostLine, hostLine + "Content-Length: 5\r\n"},
		{"two lengths", hostLine, hostLine + "Content-Length: 0\r\nContent-Length: 0\r\n"},
		{"length that is none", hostLine, hostLine + "Content-Length: -0\r\n"},
		{"chunked", hostLine, hostLine + "Transfer-Encoding: chunked\r\n"},
		{"length and chunked", hostLine, hostLine + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"},
		{"two origins", hostLine, hostLine + "Origin: https://app.example\r\nOrigin: https://app.example\r\n"},
		{"two authorizations", hostLine, hostLine + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"},
		{"other subprotocols only", hostLine, hostLine + "Sec-WebSocket-Protocol: a, b\r\n"},
		{"subprotocol twice", hostLine, hostLine + "Sec-WebSocket-Protocol: millrace.v1, millrace.v1\r\n"},
		{"subprotocol that is no token", hostLine, hostLine + "Sec-WebSocket-Protocol: millrace.v1, a b\r\n"},
		{"extensions that break the grammar", hostLine, hostLine + "Sec-WebSocket-Extensions: a; =b\r\n"},
	} {
		s.refusal(v.name, with(v.before, v.after), 400)
	}
	for _, version := range []string{"0", "4", "7", "8", "12", "14", "013", "13, 8", "x", ""} {
		s.refusal("version "+version, with("Version: 13", "Version: "+version), 426, "sec-websocket-version: 13", "upgrade: websocket")
	}
	s.refusal("no version, and which it speaks", with(versionLine, ""), 400, "sec-websocket-version: 13")
	s.refusal("no Upgrade", with("Upgrade: websocket\r\n", ""), 426, "upgrade: websocket")
	s.refusal("Upgrade to another", with("Upgrade: websocket", "Upgrade: h2c"), 426, "upgrade: websocket")
	s.refusal("no Connection", with("Connection: Upgrade\r\n", ""), 426, "upgrade: websocket")
	s.refusal("Connection without Upgrade", with("Connection: Upgrade", "Connection: keep-alive"), 426, "upgrade: websocket")
	s.refusal("plain HTTP at /ws", "GET /ws HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", 426, "upgrade: websocket")
	s.refusal("plain HTTP", "GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", 404)
	s.refusal("other path", with("/ws", "/ws/"), 404)
	s.refusal("no path", with("/ws", "*"), 404)
	for _, method := range []string{"POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND"} {
		s.refusal("method "+method, with("GET", method), 405, "allow: GET")
	}
	s.refusal("HTTP/2.0", with("HTTP/1.1", "HTTP/2.0"), 505)
	s.refusal("method that is no token", with("GET", "G(T"), 400)
	s.refusal("origin that is not allowed", with(hostLine, hostLine+"Origin: https://evil.example\r\n"), 403)
	s.refusal("origin with another scheme", with(hostLine, hostLine+"Origin: http://app.example\r\n"), 403)
	s.refusal("origin with a port", with(hostLine, hostLine+"Origin: https://app.example:8443\r\n"), 403)
	s.refusal("origin that begins like an allowed one", with(hostLine, hostLine+"Origin: https://app.example.evil.example\r\n"), 403)
	s.refusal("origin null", with(hostLine, hostLine+"Origin: null\r\n"), 403)
	s.refusal("the parent of a wildcard", with(hostLine, hostLine+"Origin: https://apps.example\r\n"), 403)
	s.refusal("head over 8 KiB", with(hostLine, hostLine+"X: "+strings.Repeat("x", 8192)+"\r\n"), 431)
	s.refusal("head over 8 KiB without an end", "GET /ws HTTP/1.1\r\nX: "+strings.Repeat("x", 9000), 431)
	s.refusal("request line without an end", "GET /"+strings.Repeat("x", 9000), 431)
	s.refusal("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
	s.refusal("garbage", "\x00\x01\x02", 400)
	s.refusal("5 seconds: head that does not end", "GET /ws HTTP/1.1\r\nHost: x\r\n", 408)
	s.refusal("5 seconds: nothing at all", "", 408)

	raw := request()
	for i := 1; i < len(raw); i += 7 {
		s.add(fmt.Sprintf("cut after byte %d", i), func(at gateways) error {
			c, err := dial(at.plain)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.pieces([][]byte{[]byte(raw[:i]), append([]byte(raw[i:]), frame(fin|opText, "ping 1")...)}); err != nil {
				return err
			}
			if r, err := c.response(); err != nil || r.status != 101 {
				return fmt.Errorf("%v, %w", r, err)
			}
			if _, err := c.read(); err != nil { // hello
				return err
			}
			return (&exchange{want: []string{"pong 1"}}).answers(c)
		})
	}
}
