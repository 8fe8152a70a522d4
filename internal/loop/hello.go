package loop

import "errors"

// helloMost bounds the records of a ClientHello in bytes. Real ones have 200 to 2,500.
const helloMost = 16 << 10

var errNoTLS = errors.New("not a TLS ClientHello")

// wholeHello reports whether b begins with a whole ClientHello, which may lie in several records (RFC 8446 sections 4, 5.1). An error says
// that it never will.
func wholeHello(b []byte) (bool, error) {
	have := 0 // bytes of the handshake message
	var head [4]byte
	for len(b) > 0 {
		if b[0] != 22 || len(b) > 1 && b[1] != 3 {
			return false, errNoTLS
		}
		if len(b) < 5 {
			return false, nil
		}
		size := int(b[3])<<8 | int(b[4])
		if size == 0 || size > helloMost {
			return false, errNoTLS
		}
		b = b[5:]
		part := b[:min(size, len(b))]
		if have < len(head) {
			copy(head[have:], part)
		}
		if have += len(part); have > 0 && head[0] != 1 {
			return false, errNoTLS
		}
		if have >= len(head) {
			need := len(head) + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
			if need > helloMost {
				return false, errNoTLS
			}
			if have >= need {
				return true, nil
			}
		}
		b = b[len(part):]
	}
	return false, nil
}
