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

// find is the open connection that has session, if it is one of this loop.
func (r *Router) find(session string) (loop.Conn, bool) {
	nonce, rest, ok := strings.Cut(session, ".")
	if !ok || nonce != r.cfg.Nonce {
		return loop.Conn{}, false
	}
	n, err := strconv.ParseUint(rest, 36, 64)
	if err != nil || int(n>>56) != r.cfg.Loop {
		return loop.Conn{}, false
	}
	c := loop.Conn{Seat: int32(n >> 32 & 0xffffff), Gen: uint32(n)}
	if r.loop.Conn(c.Seat) != c || !r.conns.Alive(c) {
		return loop.Conn{}, false
	}
	return c, true
}
