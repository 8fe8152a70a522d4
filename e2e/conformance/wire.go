package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode/utf8"
)

// Opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// Bits of the first byte of a frame.
const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

// caseTimeout is how long a case may take in all. What must fail early fails long before the gateway's own 5 and 30 s.
const caseTimeout = 20 * time.Second

// received is one frame from the gateway.
type received struct {
	first   byte // bits and opcode
	payload []byte
}

func (r received) op() byte { return r.first & 0x0f }

func (r received) String() string { return fmt.Sprintf("%02x %.80q", r.first, r.payload) }

var (
	zeroMask = [4]byte{}
	someMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}
)

// head is a frame's header with the shortest length.
func head(first byte, n int, mask *[4]byte) []byte {
	masked := byte(0)
	if mask != nil {
		masked = 0x80
	}
	b := []byte{first}
	switch {
	case n <= 125:
		b = append(b, masked|byte(n))
	case n <= 0xffff:
		b = append(b, masked|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if mask != nil {
		b = append(b, mask[:]...)
	}
	return b
}

// longHead is a masked header whose length stands in 8 bytes, whatever it is.
func longHead(first byte, n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, n), someMask[:]...)
}

func maskedWith(mask [4]byte, payload []byte) []byte {
	b := bytes.Clone(payload)
	for i := range b {
		b[i] ^= mask[i%4]
	}
	return b
}

// frame is a masked frame; first holds bits and opcode.
func frame(first byte, payload string) []byte {
	return append(head(first, len(payload), &someMask), maskedWith(someMask, []byte(payload))...)
}

// cut is the first n bytes of a frame's payload, behind the header of all of it.
func cut(first byte, payload string, n int) []byte {
	whole := frame(first, payload)
	return whole[:len(whole)-len(payload)+n]
}

func closeFrame(code int, reason string) []byte {
	return frame(fin|opClose, string([]byte{byte(code >> 8), byte(code)})+reason)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// conn is one connection of a case.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(caseTimeout))
	return &conn{c, bufio.NewReader(c)}, nil
}

const exampleKey, exampleAccept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 section 1.3

// request is a good handshake; lines are further header lines.
func request(lines ...string) string {
	all := append([]string{
		"GET /ws HTTP/1.1", "Host: gateway.example", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + exampleKey,
	}, lines...)
	return strings.Join(all, "\r\n") + "\r\n\r\n"
}

// response is the head of an HTTP response: its status, and its headers with names in lower case.
type response struct {
	status int
	header map[string]string
	body   string
}

func (c *conn) response() (response, error) {
	r := response{header: map[string]string{}}
	line, err := c.line()
	if err != nil {
		return r, fmt.Errorf("no HTTP response: %w", err)
	}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d ", &r.status); err != nil {
		return r, fmt.Errorf("%q is no status line", line)
	}
	for {
		line, err := c.line()
		if err != nil {
			return r, fmt.Errorf("the response ends in its head: %w", err)
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ": ")
		name = strings.ToLower(name)
		if _, twice := r.header[name]; !ok || twice {
			return r, fmt.Errorf("header line %q is malformed, or a second one", line)
		}
		r.header[name] = value
	}
	if r.status == 101 {
		return r, nil
	}
	body, err := io.ReadAll(c.r)
	if err != nil {
		return r, fmt.Errorf("behind the response: %w", err)
	}
	r.body = string(body)
	return r, nil
}

func (c *conn) line() (string, error) {
	s, err := c.r.ReadString('\n')
	if err == nil && !strings.HasSuffix(s, "\r\n") {
		err = errors.New("a line does not end in CRLF")
	}
	return strings.TrimSuffix(s, "\r\n"), err
}

// read reads one frame and holds it to what a server must send: no mask, the shortest length, no reserved opcode or bit but
// RSV1, control frames whole and short.
func (c *conn) read() (received, error) {
	var f received
	var h [10]byte
	if _, err := io.ReadFull(c.r, h[:2]); err != nil {
		return f, err
	}
	f.first = h[0]
	n := uint64(h[1] & 0x7f)
	short := uint64(0)
	switch n {
	case 126:
		if _, err := io.ReadFull(c.r, h[2:4]); err != nil {
			return f, err
		}
		n, short = uint64(binary.BigEndian.Uint16(h[2:])), 126
	case 127:
		if _, err := io.ReadFull(c.r, h[2:10]); err != nil {
			return f, err
		}
		n, short = binary.BigEndian.Uint64(h[2:]), 1<<16
	}
	op := f.op()
	switch {
	case h[1]&0x80 != 0:
		return f, errors.New("the gateway has masked a frame")
	case n < short || n > 1<<24:
		return f, fmt.Errorf("the gateway has written a length of %d in %x", n, h)
	case f.first&(rsv2|rsv3) != 0 || op > opBinary && op < opClose || op > opPong:
		return f, fmt.Errorf("the gateway has sent reserved bits or opcodes: %02x", f.first)
	case op >= opClose && (f.first&(fin|rsv1) != fin || n > 125):
		return f, fmt.Errorf("the gateway has sent a control frame %02x of %d bytes", f.first, n)
	}
	f.payload = make([]byte, n)
	_, err := io.ReadFull(c.r, f.payload)
	return f, err
}

// open does the handshake and reads hello. behind goes out in the same write as the request.
func (c *conn) open(behind []byte, lines ...string) (response, error) {
	if _, err := c.Write(append([]byte(request(lines...)), behind...)); err != nil {
		return response{}, err
	}
	r, err := c.response()
	if err != nil {
		return r, err
	}
	if err := checkUpgrade(r); err != nil {
		return r, err
	}
	f, err := c.read()
	if err != nil {
		return r, fmt.Errorf("no hello: %w", err)
	}
	if f.first != fin|opText || !bytes.HasPrefix(f.payload, []byte("hello ")) {
		return r, fmt.Errorf("%v instead of hello", f)
	}
	return r, nil
}

func checkUpgrade(r response) error {
	if r.status != 101 || !strings.EqualFold(r.header["upgrade"], "websocket") || !strings.EqualFold(r.header["connection"], "upgrade") || r.header["sec-websocket-accept"] != exampleAccept {
		return fmt.Errorf("no upgrade: %d %v %s", r.status, r.header, r.body)
	}
	return nil
}

// alive asks for a pong, and nothing may come before it.
func (c *conn) alive() error {
	if _, err := c.Write(frame(fin|opPing, "alive?")); err != nil {
		return fmt.Errorf("no longer alive: %w", err)
	}
	f, err := c.read()
	if err != nil {
		return fmt.Errorf("no longer alive: %w", err)
	}
	if f.first != fin|opPong || string(f.payload) != "alive?" {
		return fmt.Errorf("%v instead of the pong at the end", f)
	}
	return nil
}

// closed reads the Close that is due, answers it if the gateway began, and wants the orderly end of TCP behind it. Code 1005
// is a Close without a payload.
func (c *conn) closed(code int, ours bool) error {
	f, err := c.read()
	if err != nil {
		return fmt.Errorf("no Close: %w", err)
	}
	if f.op() != opClose {
		return fmt.Errorf("%v instead of Close %d", f, code)
	}
	got := 1005
	if len(f.payload) >= 2 {
		got = int(binary.BigEndian.Uint16(f.payload))
	}
	if got != code || len(f.payload) == 1 || len(f.payload) > 2 && !utf8.Valid(f.payload[2:]) {
		return fmt.Errorf("got Close %d (%q), want %d", got, f.payload, code)
	}
	if !ours {
		_, _ = c.Write(closeFrame(code, "")) // the gateway may have ended what it sends, never what it reads
	}
	rest, err := io.ReadAll(c.r)
	switch {
	case err != nil:
		return fmt.Errorf("no orderly end of the connection behind the Close: %w", err)
	case len(rest) > 0:
		return fmt.Errorf("%d bytes behind the Close", len(rest))
	}
	return nil
}
