package route

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/millracehq/millrace/gateway/internal/conn"
	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// Acked is relay.Sink's: what became of publications and requests on their way into the streams.
func (r *Router) Acked(acks []relay.Ack) {
	for i := range acks {
		a := &acks[i]
		if a.Kind == stream.KindPub && a.Ref != 0 && r.loop.Conn(a.Conn.Seat) == a.Conn { // without Ref no answer was wanted, but this is a failure
			r.members.At(a.Conn.Seat).published--
		}
		switch {
		case !a.Stored:
			r.unstored(a)
		case a.Kind == stream.KindPub:
			r.text = protocol.AppendOK(r.text[:0], a.Ref, nil)
			r.conns.Answer(a.Conn, false, r.text)
		}
	}
}

// Resume is relay.Sink's.
func (r *Router) Resume() { r.conns.ResumeAll() }

// unstored answers a command that did not get into the streams.
func (r *Router) unstored(a *relay.Ack) {
	const text = "the streams did not take it; send it again"
	switch a.Kind {
	case stream.KindPub:
		r.err(a.Conn, a.Ref, protocol.CodeUnavailable, text)
	case stream.KindReq:
		r.settle(a.Conn, a.Ref)
		r.err(a.Conn, a.Ref, protocol.CodeUnavailable, text)
	default:
		if asked, waited := r.settle(a.Conn, a.Ref); waited && asked != nil {
			r.counts.Asked[askFailed]++
			r.refuse(a.Conn, asked, protocol.CodeUnavailable, text)
		} else {
			r.counts.Untold++
		}
	}
}

// Deliver is relay.Sink's.
func (r *Router) Deliver(b *hub.Batch) { r.hub.Take(b) }

// Control is relay.Sink's. Revokes and kicks act before publications that wait for their sweep.
func (r *Router) Control(list []relay.Order) {
	for i := range list {
		if o := &list[i]; o.Kind == stream.KindKick {
			r.kick(o, textOr(o.Data, "disconnected by the backend"))
		} else {
			r.revokeUser(o, textOr(o.Data, "ended by the backend"))
		}
	}
	r.heard += uint32(len(list))
}

// concerned reports whether an order is for the connection at a seat.
func (r *Router) concerned(o *relay.Order, seat int32) bool {
	m := r.members.At(seat)
	return m.id.User() == o.User && o.Concerns(m.orders)
}

func (r *Router) kick(o *relay.Order, text string) {
	r.grants.dropAll(o.User)
	r.conns.Each(func(c loop.Conn) {
		if r.concerned(o, c.Seat) {
			r.counts.Kicked++
			r.conns.CloseWith(c, protocol.CloseDisconnected, 0, text)
		}
	})
}

func (r *Router) revokeUser(o *relay.Order, text string) {
	channel := o.Channel
	r.grants.drop(o.User, channel)
	for w, ref := range r.requests.asked {
		if w.channel == channel && r.conns.Alive(w.conn) && r.concerned(o, w.conn.Seat) {
			r.requests.waiting[request{w.conn, ref}].void = true
		}
	}
	r.hub.Subscribers(channel, func(seat int32) {
		if r.concerned(o, seat) {
			r.revoke(r.loop.Conn(seat), channel, text)
		}
	})
	p := &r.partitions[stream.Partition(channel, len(r.partitions))]
	for _, w := range slices.Clone(p.waiting) {
		if string(w.channel) == channel && r.conns.Alive(w.conn) && r.concerned(o, w.conn.Seat) {
			r.giveUp(w.conn, p, w.channel, protocol.CodeForbidden, text)
		}
	}
}

// Answer is relay.Sink's: entries of the node's stream. Those of other loops' connections are passed over.
func (r *Router) Answer(answers []stream.Answer) {
	for i := range answers {
		if c, ok := r.find(answers[i].Conn); ok {
			r.answer(c, &answers[i])
		}
	}
	if r.welcomed { // what they have sent meanwhile
		r.welcomed = false
		r.conns.ResumeAll()
	}
}

func (r *Router) answer(c loop.Conn, a *stream.Answer) {
	switch a.Kind {
	case stream.KindRes, stream.KindErr, stream.KindGrant:
		r.settleBy(c, a)
	case stream.KindMsg:
		channel := a.Channel
		if channel == "" {
			channel = "$conn"
		} else if protocol.CheckChannel([]byte(channel)) != nil {
			return
		}
		r.reply(c, protocol.AppendMsg(r.text[:0], channel, []byte("-")), a)
	case stream.KindClose:
		code := protocol.Code(a.Code)
		if code != protocol.CloseGoingAway && (code < 4000 || code > 4999) {
			code = protocol.CloseDisconnected
		}
		r.conns.CloseWith(c, code, 0, textOr(a.Data, "disconnected by the backend"))
	}
}

// settleBy takes the answer to a req, res or err, or to a permission, grant or err.
func (r *Router) settleBy(c loop.Conn, a *stream.Answer) {
	ref, err := strconv.ParseUint(a.Ref, 10, 64)
	if err != nil {
		r.counts.LateAnswers++
		return
	}
	if asked := r.requests.waiting[request{c, ref}]; (asked != nil) != (a.Kind == stream.KindGrant) && a.Kind != stream.KindErr {
		r.counts.LateAnswers++ // res to a permission, or grant to a req
		return
	}
	asked, waited := r.settle(c, ref)
	code := protocol.Code(a.Code)
	switch {
	case !waited:
		r.counts.LateAnswers++
	case a.Kind == stream.KindRes:
		r.reply(c, protocol.AppendRes(r.text[:0], ref), a)
	case a.Kind == stream.KindGrant:
		r.grant(c, asked, ttl(a.Data))
	case asked != nil:
		r.counts.Asked[askRefused]++
		if code == 0 {
			code = protocol.CodeForbidden
		} else if !asked.open && (code < 400 || code > 999) {
			code = protocol.CodeFailed
		}
		r.refuse(c, asked, code, a.Data)
	default:
		if code < 400 || code > 999 {
			code = protocol.CodeFailed
		}
		r.err(c, ref, code, a.Data)
	}
}

// reply sends head and the entry's body. A body that says it is text but is not UTF-8 goes out as binary: a text frame would
// make the client close the connection.
func (r *Router) reply(c loop.Conn, head []byte, a *stream.Answer) {
	r.text = append(head, a.Data...)
	r.conns.Answer(c, a.Binary || !utf8.ValidString(a.Data), r.text)
}

func textOr(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

var (
	_ conn.Router = (*Router)(nil)
	_ relay.Sink  = (*Router)(nil)
)
