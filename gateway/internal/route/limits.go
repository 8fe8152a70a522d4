package route

import (
	"strconv"

	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
)

// millis is the loop's clock in milliseconds.
func (r *Router) millis() int64 { return r.loop.Now() / 1e6 }

// measure counts a frame of n bytes and reports whether it may pass. One that may not is answered 429; who goes on and on is closed with 4104.
func (r *Router) measure(c loop.Conn, cmd *protocol.Command, n int) bool {
	v := r.meters.At(c.Seat).Take(uint32(r.millis()), n, &r.rules.Rates)
	if v.Limit == limit.None {
		return true
	}
	r.tooFast(c, cmd.Ref, v.Limit, v.Retry)
	if v.Over {
		r.conns.CloseWith(c, protocol.CloseOverLimit, 0, "too much, and more after each err 429")
	}
	return false
}

// tooFast answers 429. Like the frame that it answers it leaves nothing for the collector.
func (r *Router) tooFast(c loop.Conn, ref uint64, l limit.Limit, retry int64) {
	r.counts.Limited[l]++
	r.counts.Errors[protocol.CodeTooFast]++
	r.text = protocol.AppendErr(r.text[:0], ref, protocol.CodeTooFast, "retry_ms=")
	r.text = strconv.AppendInt(r.text, retry, 10)
	r.conns.Answer(c, false, r.text)
}
