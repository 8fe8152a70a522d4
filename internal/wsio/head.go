package wsio

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// MaxHead is the longest HTTP request head in bytes that is read; a longer one is answered 431.
const MaxHead = 8 << 10

// head is a request head of which the syntax is known to be right (RFC 9112 sections 2 to 5). The slices are parts of it.
type head struct {
	method, target []byte
	major, minor   byte // of the HTTP version

	// Headers that may be there once; nil: not there.
	host, key, version, authorization, origin, length []byte

	// Lists, over all headers of that name.
	upgrade, connection, protocols, extensions [][]byte
	forwardedFor, forwarded                    [][]byte // whole values: what is in them is for the router to judge

	transfer bool // there is a Transfer-Encoding
	window   bool // the accepted offer of permessage-deflate bounds the window of the server
}

// HeadEnd is the length of the request head at the start of b, its empty line included, or 0 when it is not complete.
// A bare LF ends a line too, so that a head with such lines is refused at once, not after a while.
func HeadEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := b[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// MayBeHead reports whether b can become a request: it begins with a method. TLS and binary protocols do not.
func MayBeHead(b []byte) bool { return len(b) == 0 || isTokenByte(b[0]) }

func badRequest(reason string) error {
	return &Refusal{Status: http.StatusBadRequest, Reason: "bad request: " + reason}
}

// parse reads all of a head. Errors are a *Refusal.
func (h *head) parse(b []byte) error {
	*h = head{}
	line, rest, err := cutLine(b)
	if err != nil {
		return err
	}
	if err := h.requestLine(line); err != nil {
		return err
	}
	for {
		if line, rest, err = cutLine(rest); err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if err := h.field(line); err != nil {
			return err
		}
	}
}

// cutLine takes the first line off b. It ends in CRLF, and has no other CR, LF or control character.
func cutLine(b []byte) (line, rest []byte, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, badRequest("a line does not end in CRLF")
	}
	line = b[:i-1]
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, badRequest("a line holds a control character")
		}
	}
	return line, b[i+1:], nil
}

func (h *head) requestLine(line []byte) error {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, ok := bytes.Cut(rest, []byte(" "))
	if !ok || !isToken(method) || len(version) != 8 || string(version[:5]) != "HTTP/" || !isDigit(version[5]) || version[6] != '.' || !isDigit(version[7]) {
		return badRequest("the request line is malformed")
	}
	for _, c := range target {
		if c <= ' ' || c > '~' || c == '#' {
			return badRequest("the request target is malformed")
		}
	}
	h.method, h.target, h.major, h.minor = method, target, version[5]-'0', version[7]-'0'
	return nil
}

func (h *head) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return badRequest("a header line is malformed")
	}
	value = bytes.Trim(value, " \t")
	var single *[]byte
	switch {
	case is(name, "host"):
		single = &h.host
	case is(name, "sec-websocket-key"):
		single = &h.key
	case is(name, "sec-websocket-version"):
		single = &h.version
	case is(name, "authorization"):
		single = &h.authorization
	case is(name, "origin"):
		single = &h.origin
	case is(name, "content-length"):
		single = &h.length
	case is(name, "transfer-encoding"):
		h.transfer = true
	case is(name, "upgrade"):
		h.upgrade = appendList(h.upgrade, value)
	case is(name, "connection"):
		h.connection = appendList(h.connection, value)
	case is(name, "sec-websocket-protocol"):
		h.protocols = appendList(h.protocols, value)
	case is(name, "x-forwarded-for"):
		h.forwardedFor = append(h.forwardedFor, value)
	case is(name, "forwarded"):
		h.forwarded = append(h.forwarded, value)
	case is(name, "sec-websocket-extensions"):
		h.extensions = append(h.extensions, value)
	}
	if single == nil {
		return nil
	}
	if *single != nil {
		return badRequest("more than one " + strings.ToLower(string(name)))
	}
	if *single = value; value == nil {
		*single = []byte{}
	}
	return nil
}

// is compares a header's name with one in lower case.
func is(name []byte, lower string) bool {
	return len(name) == len(lower) && bytes.EqualFold(name, []byte(lower))
}

// appendList appends the members of a comma-separated list; empty ones do not count (RFC 9110 section 5.6.1).
func appendList(list [][]byte, value []byte) [][]byte {
	for len(value) > 0 {
		var member []byte
		member, value, _ = bytes.Cut(value, []byte(","))
		if member = bytes.Trim(member, " \t"); len(member) > 0 {
			list = append(list, member)
		}
	}
	return list
}

func has(list [][]byte, token string) bool {
	return slices.ContainsFunc(list, func(b []byte) bool { return is(b, token) })
}

// validHost says whether value is uri-host [":" port] (RFC 9110 section 7.2) with a host that is not empty.
func validHost(value []byte) bool {
	var host, port []byte
	if len(value) > 0 && value[0] == '[' {
		end := bytes.IndexByte(value, ']')
		if end < 3 || len(bytes.Trim(value[1:end], "0123456789abcdefABCDEF:.")) > 0 || bytes.Count(value[:end], []byte(":")) < 2 {
			return false
		}
		host, port = value[:end+1], value[end+1:]
		if len(port) > 0 && port[0] != ':' {
			return false
		}
		port = bytes.TrimPrefix(port, []byte(":"))
	} else {
		host, port, _ = bytes.Cut(value, []byte(":"))
		for _, c := range host {
			if !isAlnum(c) && !strings.ContainsRune("-._~%!$&'()*+,;=", rune(c)) {
				return false
			}
		}
	}
	n := 0
	for _, c := range port {
		if n = n*10 + int(c-'0'); !isDigit(c) || n > 65535 {
			return false
		}
	}
	return len(host) > 0
}

func isToken(b []byte) bool {
	return len(b) > 0 && !slices.ContainsFunc(b, func(c byte) bool { return !isTokenByte(c) })
}

// isTokenByte is tchar of RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool {
	return isAlnum(c) || c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlnum(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
