// Package resp is the part of Redis' protocol (RESP2) that the streams need on the way on which each microsecond counts: XADD
// and XREAD written into a buffer, and their replies read from bytes as they come.
//
//	AppendXADD, XREAD.Append ─▶ bytes ─▶ Redis ─▶ bytes ─▶ Line (what XADD answers), Reading (what XREAD answers)
//
// It is pure: no connection, no clock, nothing kept but the place in a reply. Everything else that is said to Redis goes through
// go-redis, in stream/redis. Nothing is allocated per entry; strings are views of the buffer that they were read from.
package resp

import "strconv"

// AppendCommand writes one command of words (an array of bulk strings).
func AppendCommand(b []byte, words ...string) []byte {
	b = appendArray(b, len(words))
	for _, w := range words {
		b = appendBulk(b, w)
	}
	return b
}

// AppendXADD writes XADD key [MAXLEN ~ maxLen] * field value …; maxLen 0 keeps all.
func AppendXADD(b []byte, key string, maxLen int64, fields []string) []byte {
	n := 3 + len(fields)
	if maxLen > 0 {
		n += 3
	}
	b = appendArray(b, n)
	b = appendBulk(b, "XADD")
	b = appendBulk(b, key)
	if maxLen > 0 {
		b = appendBulk(b, "MAXLEN")
		b = appendBulk(b, "~")
		b = appendInt(b, maxLen)
	}
	b = appendBulk(b, "*")
	for _, f := range fields {
		b = appendBulk(b, f)
	}
	return b
}

func appendArray(b []byte, n int) []byte { return appendLength(b, '*', n) }

func appendLength(b []byte, kind byte, n int) []byte {
	b = strconv.AppendInt(append(b, kind), int64(n), 10)
	return append(b, "\r\n"...)
}

func appendBulk(b []byte, s string) []byte {
	b = append(appendLength(b, '$', len(s)), s...)
	return append(b, "\r\n"...)
}

func appendInt(b []byte, n int64) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	b = append(appendLength(b, '$', len(text)), text...)
	return append(b, "\r\n"...)
}
