// Package proxy reads the header of the PROXY protocol, versions 1 and 2, with which a load balancer says for whom it
// connects (haproxy.org/download/3.0/doc/proxy-protocol.txt). It works on memory, keeps nothing and allocates nothing but errors.
//
// It refuses what is not exactly as written there: a header that is too long, an address that is not one, text behind the ports.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// MaxHeader bounds a header in bytes. Version 1 has at most 107; version 2 has 16 and what it says follows, of which load
// balancers use a few hundred.
const MaxHeader = 4096

const maxText = 107 // CRLF included

// Header is what a proxy says.
type Header struct {
	Size   int            // bytes of it; 0: it is not whole yet
	Source netip.AddrPort // of the client; not valid when the proxy speaks for itself, or does not say
}

var (
	signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	prefix    = []byte("PROXY ")
)

// What is wrong with a header.
var (
	ErrNone    = errors.New("PROXY protocol: no header: does the load balancer send one?")
	ErrInvalid = errors.New("PROXY protocol: malformed header")
	ErrLong    = errors.New("PROXY protocol: header is too long")
)

// Parse reads the header at the start of b.
func Parse(b []byte) (Header, error) {
	switch {
	case starts(b, signature):
		if len(b) < len(signature)+4 {
			return Header{}, nil
		}
		return binaryHeader(b)
	case starts(b, prefix):
		return textHeader(b)
	}
	return Header{}, ErrNone
}

// starts reports whether b begins with p, as far as it goes.
func starts(b, p []byte) bool {
	n := min(len(b), len(p))
	return bytes.Equal(b[:n], p[:n])
}

// binaryHeader is section 2.2.
func binaryHeader(b []byte) (Header, error) {
	version, command := b[12]>>4, b[12]&15
	family, transport := b[13]>>4, b[13]&15
	h := Header{Size: 16 + int(binary.BigEndian.Uint16(b[14:]))}
	switch {
	case version != 2 || command > 1 || family > 3 || transport > 2:
		return Header{}, ErrInvalid
	case h.Size > MaxHeader:
		return Header{}, ErrLong
	}
	size := 16
	switch {
	case command == 0 || transport != 1: // LOCAL: a health check of the proxy itself
	case family == 1:
		size = 16 + 12
	case family == 2:
		size = 16 + 36
	}
	switch {
	case h.Size < size:
		return Header{}, ErrInvalid
	case len(b) < h.Size:
		return Header{}, nil
	case size == 16+12:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(b[24:]))
	case size == 16+36:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[16:32])).Unmap(), binary.BigEndian.Uint16(b[48:]))
	}
	return h, nil
}

// textHeader is section 2.1.
func textHeader(b []byte) (Header, error) {
	end := bytes.Index(b[:min(len(b), maxText)], []byte("\r\n"))
	if end < 0 {
		if len(b) >= maxText {
			return Header{}, ErrLong
		}
		return Header{}, nil
	}
	h := Header{Size: end + 2}
	if end < len(prefix) {
		return Header{}, ErrInvalid
	}
	words := strings.Split(string(b[len(prefix):end]), " ")
	if words[0] == "UNKNOWN" { // the rest of the line is to be ignored
		return h, nil
	}
	if len(words) != 5 {
		return Header{}, ErrInvalid
	}
	source, ok := address(words[0], words[1], words[3])
	if _, there := address(words[0], words[2], words[4]); !ok || !there {
		return Header{}, ErrInvalid
	}
	h.Source = source
	return h, nil
}

func address(family, host, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || family != "TCP4" && family != "TCP6" || a.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}
