package swarm

// stamp opens the body of every publication. It is printable, so that a text message with it is valid UTF-8, and of fixed
// width: 'm', then in hexadecimal run (8 digits), feed (6), number (8), due (15), lag (10), of which the highest bit says again. The rest of the
// body is padding.
type stamp struct {
	run  uint32
	feed uint32 // below 2^24
	seq  uint32
	due  int64 // ns of CLOCK_MONOTONIC, which all processes of a machine share; below 2^60
	lag  int64 // ns from due to the first sending; below 2^39 (9 minutes), more counts as that

	again bool // it is a repetition
}

// StampSize is the size of the smallest body in bytes.
const StampSize = 1 + 8 + 6 + 8 + 15 + 10

// MaxFeeds is how many pairs of publisher and channel a stamp can tell apart.
const MaxFeeds = 1 << 24

const maxLag = 1<<39 - 1

// sent is when the publication was sent.
func (s stamp) sent() int64 { return s.due + s.lag }

func (s stamp) append(b []byte) []byte {
	b = append(b, 'm')
	b = appendHex(b, uint64(s.run), 8)
	b = appendHex(b, uint64(s.feed), 6)
	b = appendHex(b, uint64(s.seq), 8)
	b = appendHex(b, uint64(s.due), 15)
	lag := min(max(s.lag, 0), maxLag)
	if s.again {
		lag |= maxLag + 1
	}
	return appendHex(b, uint64(lag), 10)
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

func parseStamp(b []byte) (s stamp, ok bool) {
	if len(b) < StampSize || b[0] != 'm' {
		return stamp{}, false
	}
	bad := false
	next := b[1:]
	hex := func(digits int) (v uint64) {
		for _, c := range next[:digits] {
			switch {
			case c >= '0' && c <= '9':
				v = v<<4 | uint64(c-'0')
			case c >= 'a' && c <= 'f':
				v = v<<4 | uint64(c-'a'+10)
			default:
				bad = true
			}
		}
		next = next[digits:]
		return v
	}
	s = stamp{run: uint32(hex(8)), feed: uint32(hex(6)), seq: uint32(hex(8)), due: int64(hex(15)), lag: int64(hex(10))}
	s.again, s.lag = s.lag > maxLag, s.lag&maxLag
	return s, !bad
}

// appendPadding fills a body of size bytes up behind its stamp. What it fills in depends on the place only, so that the receiver
// can tell whether it came unchanged.
func appendPadding(b []byte, size int) []byte {
	for i := range size {
		b = append(b, "abcdefghijklmnopqrstuvwxyz"[i%26])
	}
	return b
}
