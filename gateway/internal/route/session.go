package route

import (
	"strconv"
	"strings"

	"github.com/millracehq/millrace/internal/loop"
)

// appendSession writes the session of c. A session is an address: this process, the loop, the seat and which use
// of it, so that an answer finds its connection without a table.
func (r *Router) appendSession(dst []byte, c loop.Conn) []byte {
	dst = append(append(dst, r.cfg.Nonce...), '.')
	return strconv.AppendUint(dst, uint64(r.cfg.Loop)<<56|uint64(c.Seat)<<32|uint64(c.Gen), 36)
}

// parseSession is the loop and the connection of a session of the process that nonce names; loop is -1 when it is none.
func parseSession(nonce, session string) (number int, c loop.Conn) {
	whose, rest, ok := strings.Cut(session, ".")
	if !ok || whose != nonce {
		return -1, c
	}
	n, err := strconv.ParseUint(rest, 36, 64)
	if err != nil {
		return -1, c
	}
	return int(n >> 56), loop.Conn{Seat: int32(n >> 32 & 0xffffff), Gen: uint32(n)}
}

// LoopOf is the number of the loop that a session of the process that nonce names is on, -1 when it is none.
func LoopOf(nonce, session string) int {
	number, _ := parseSession(nonce, session)
	return number
}

// find is the open connection that has session, if it is one of this loop.
func (r *Router) find(session string) (loop.Conn, bool) {
	number, c := parseSession(r.cfg.Nonce, session)
	if number != r.cfg.Loop {
		return loop.Conn{}, false
	}
	if r.loop.Conn(c.Seat) != c || !r.conns.Alive(c) {
		return loop.Conn{}, false
	}
	return c, true
}
