package wsio

import (
	"bytes"
	"strings"
)

// deflated is the answer to an offer of permessage-deflate: each message is compressed by itself, both ways, so that
// nothing is kept of one for the next, and one compression serves many connections (RFC 7692 section 7.1.1).
const deflated = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// offersDeflate reports whether one of the offers of permessage-deflate can be accepted. Offers that cannot are
// declined, as are other extensions. A header that breaks the grammar of RFC 6455 section 9.1 is an error.
func (h *head) offersDeflate() (yes bool, err error) {
	for _, value := range h.extensions {
		p := fieldParser{rest: value}
		for more := true; more; {
			o, ok := p.offer()
			if !ok {
				return false, badRequest("sec-websocket-extensions is malformed")
			}
			if o.acceptable && !yes {
				yes = true
				h.window = o.window
			}
			more = p.skip(',')
		}
		if p.rest = p.trim(); len(p.rest) > 0 {
			return false, badRequest("sec-websocket-extensions is malformed")
		}
	}
	return yes, nil
}

func (h *head) deflate() string {
	if h.window { // it must be repeated where the client has asked for it
		return deflated + "; server_max_window_bits=15"
	}
	return deflated
}

// offer is one extension that a client offers, as far as it matters: whether it is permessage-deflate with parameters
// that can be held.
type offer struct {
	acceptable bool
	window     bool // it bounds the server's window, to the 32 KiB that it has
}

// fieldParser reads the value of a header from its beginning.
type fieldParser struct{ rest []byte }

func (p *fieldParser) trim() []byte { return bytes.TrimLeft(p.rest, " \t") }

// skip takes c off, with blanks before it, if it is next.
func (p *fieldParser) skip(c byte) bool {
	if rest := p.trim(); len(rest) > 0 && rest[0] == c {
		p.rest = rest[1:]
		return true
	}
	return false
}

func (p *fieldParser) token() (string, bool) {
	p.rest = p.trim()
	n := 0
	for n < len(p.rest) && isTokenByte(p.rest[n]) {
		n++
	}
	token := string(p.rest[:n])
	p.rest = p.rest[n:]
	return token, n > 0
}

// value is a token, or a quoted string that holds one (RFC 6455 section 9.1).
func (p *fieldParser) value() (string, bool) {
	if !p.skip('"') {
		return p.token()
	}
	var b []byte
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return string(b), isToken(b)
		case '\\':
			if i++; i < len(p.rest) {
				b = append(b, p.rest[i])
			}
		default:
			b = append(b, c)
		}
	}
	return "", false
}

// offer reads one offer. ok is false where the grammar is broken.
func (p *fieldParser) offer() (o offer, ok bool) {
	name, ok := p.token()
	if !ok {
		return o, false
	}
	o.acceptable = strings.EqualFold(name, "permessage-deflate")
	seen := map[string]bool{}
	for p.skip(';') {
		name, ok := p.token()
		if !ok {
			return o, false
		}
		value, given := "", p.skip('=')
		if given {
			if value, ok = p.value(); !ok {
				return o, false
			}
		}
		if seen[name] || !o.holds(name, value, given) {
			o.acceptable = false
		}
		seen[name] = true
	}
	return o, true
}

// holds reports whether a parameter is one that can be held. The window of compress/flate cannot be made smaller, so
// neither can the server's; what the client does with its own is its affair: 32 KiB are there to read with.
func (o *offer) holds(name, value string, given bool) bool {
	switch name {
	case "server_no_context_takeover", "client_no_context_takeover":
		return !given
	case "client_max_window_bits":
		return !given || windowBits(value) > 0
	case "server_max_window_bits":
		o.window = true
		return windowBits(value) == 15
	}
	return false
}

// windowBits is value as a number of 8 to 15 without leading zeros (RFC 7692 section 7.1.2), else 0.
func windowBits(value string) int {
	switch value {
	case "8", "9":
		return int(value[0] - '0')
	case "10", "11", "12", "13", "14", "15":
		return 10 + int(value[1]-'0')
	}
	return 0
}
