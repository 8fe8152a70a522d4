package route

import (
	"bytes"
	"strconv"

	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// question is a permission that the backend is asked for: an entry open or sub with a ref, which it answers with grant or err.
//
//	sub ──▶ grants ── known ──────────────────────────────▶ as if there had been no question
//	          └──▶ ask ──▶ `in` ··· grant ──▶ remembered for ttl_ms ─┘
//	                            ··· err, nothing in time, not stored ──▶ err; for open the connection is closed
type question struct {
	open     bool // to be connected; else to subscribe
	ref      uint64
	answer   bool
	channel  string
	position []byte
	void     bool // a revoke came after it was asked: a yes may be of before that
}

// wish is a subscription that is asked for.
type wish struct {
	conn    loop.Conn
	channel string
}

// askResult is what became of an ask, for metrics.
type askResult uint8

const (
	askKnown askResult = iota // remembered, not asked
	askGranted
	askRefused
	askTimeout
	askFailed // the streams did not take it
	askResults
)

// AskResults are the metric labels of [Counts.Asked].
var AskResults = [askResults]string{"known", "granted", "refused", "timeout", "failed"}

// openRef is the ref of open, and the first of those that no client can have.
const openRef = protocol.MaxRef + 1

// opening reports whether the backend has still to say whether c may stay.
func (r *Router) opening(c loop.Conn) bool {
	if r.members.At(c.Seat).requests == 0 {
		return false
	}
	_, waits := r.requests.waiting[request{c, openRef}]
	return waits
}

// granted reports whether the backend's yes of before still holds. While orders are on their way to this loop it does not: one may have ended it.
func (r *Router) granted(user, channel string) bool {
	return r.heard == r.relay.Orders() && r.grants.has(user, channel, r.loop.Tick())
}

// askOpen asks whether c may stay. It hears nothing until then, and what it says waits.
func (r *Router) askOpen(c loop.Conn) {
	m := r.members.At(c.Seat)
	if r.granted(m.id.User(), "") {
		r.counts.Asked[askKnown]++
		r.welcome(c)
		r.tell(c, stream.KindOpen, "")
		return
	}
	a := &question{open: true}
	e := r.entry(c, stream.KindOpen, nil, openRef)
	if !r.relay.Up(e.Partition) || !r.relay.Room() || r.relay.Full() {
		r.counts.Asked[askFailed]++
		r.refuse(c, a, protocol.CodeUnavailable, "")
		return
	}
	r.note(request{c, openRef}, a)
	e.Body = r.about()
	r.relay.Append(e)
}

// about is the body of open: {"remote":"192.0.2.7"}, or nothing when that is not known.
func (r *Router) about() []byte {
	if !r.remote.IsValid() {
		return nil
	}
	return append(strconv.AppendQuote([]byte(`{"remote":`), r.remote.String()), '}')
}

// askSub asks whether c may subscribe, or answers why that cannot be.
func (r *Router) askSub(c loop.Conn, cmd *protocol.Command, partition int) {
	if !r.relay.Up(partition) {
		r.counts.Asked[askFailed]++
		r.err(c, cmd.Ref, protocol.CodeUnavailable, streamsDown)
		return
	}
	if r.relay.Full() {
		r.counts.Asked[askFailed]++
		r.err(c, cmd.Ref, protocol.CodeUnavailable, backlogFull)
		return
	}
	ref := cmd.Ref
	if ref == 0 {
		r.requests.refs++
		ref = openRef + r.requests.refs
	}
	a := &question{ref: cmd.Ref, answer: cmd.Answer, channel: string(cmd.Channel), position: bytes.Clone(cmd.Position)}
	if !r.await(c, ref, a) {
		return
	}
	r.requests.asked[wish{c, a.channel}] = ref
	r.members.At(c.Seat).waiting++
	r.relay.Append(r.entry(c, stream.KindSub, cmd.Channel, ref))
}

// grant is the backend's yes. Revokes and answers come by different streams: so one that was asked for before a revoke counts for nothing.
func (r *Router) grant(c loop.Conn, a *question, ttl uint32) {
	if a.void {
		r.counts.Asked[askRefused]++
		r.refuse(c, a, protocol.CodeUnavailable, "the right was taken while it was asked for; subscribe again")
		return
	}
	r.counts.Asked[askGranted]++
	if ttl > 0 {
		r.grants.add(r.members.At(c.Seat).id.User(), a.channel, r.loop.Tick()+ttl, r.loop.Tick())
	}
	if a.open {
		r.welcome(c)
		r.welcomed = true
		return
	}
	r.follow(c, &waiting{conn: c, ref: a.ref, answer: a.answer, asked: true, channel: []byte(a.channel), position: a.position})
}

// refuse is the answer to whom the backend does not allow, or has not answered. Who may not be connected is told so by bye: 4100, or 1011 when it
// may come back, since nobody has decided about it.
func (r *Router) refuse(c loop.Conn, a *question, code protocol.Code, text string) {
	switch {
	case !a.open:
		r.err(c, a.ref, code, text)
	case code == protocol.CodeTimeout || code == protocol.CodeUnavailable || code == protocol.CodeFailed:
		r.conns.CloseWith(c, protocol.CloseFailed, openRetry, textOr(text, "nobody could say whether this connection is allowed; come back"))
	case code >= 4000 && code <= 4999:
		r.conns.CloseWith(c, code, 0, textOr(text, "refused by the backend"))
	default:
		r.conns.CloseWith(c, protocol.CloseRefused, 0, textOr(text, "refused by the backend"))
	}
}

// openRetry is when those come back about whom nothing was decided, in milliseconds.
const openRetry = 2000
