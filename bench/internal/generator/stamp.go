package generator

// stamp opens every body: printable and of fixed width, so that no protocol has to escape it. 'b', then in hexadecimal the number of
// the load (4 digits) and when the body was due (15). The rest of a body is padding.
type stamp struct {
	load uint16
	due  int64 // ns of CLOCK_MONOTONIC, below 2^60
}

// StampSize is the size of the smallest body in bytes.
const StampSize = 1 + 4 + 15

func (s stamp) append(b []byte) []byte {
	b = append(b, 'b')
	b = appendHex(b, uint64(s.load), 4)
	return appendHex(b, uint64(s.due), 15)
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

func parseStamp(b []byte) (s stamp, ok bool) {
	if len(b) < StampSize || b[0] != 'b' {
		return stamp{}, false
	}
	load, ok := parseHex(b[1:5])
	due, ok2 := parseHex(b[5:StampSize])
	return stamp{uint16(load), int64(due)}, ok && ok2
}

func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// appendBody is a body of size bytes.
func (s stamp) appendBody(b []byte, size int) []byte {
	at := len(b)
	b = s.append(b)
	for i := len(b) - at; i < size; i++ {
		b = append(b, "abcdefghijklmnopqrstuvwxyz"[i%26])
	}
	return b
}
