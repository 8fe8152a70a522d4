package route

import (
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
		if a.Kind == stream.KindPub && a.Ref != 0 && r.loop.Conn(a.Conn.FD) == a.Conn { // without Ref no answer was wanted, but this is a failure
			r.members.At(a.Conn.FD).published--
		}
		switch {
		case !a.Stored:
			if a.Kind == stream.KindReq {
				r.settle(a.Conn, a.Ref)
			}
			r.err(a.Conn, a.Ref, protocol.CodeUnavailable, "the streams did not take it; send it again")
		case a.Kind == stream.KindPub:
			r.text = protocol.AppendOK(r.text[:0], a.Ref, nil)
			r.conns.Answer(a.Conn, false, r.text)
		}
	}
}

// Resume is relay.Sink's.
func (r *Router) Resume() { r.conns.ResumeAll() }

// Deliver is relay.Sink's. Revokes and kicks act at once; publications wait for their sweep.
func (r *Router) Deliver(b *hub.Batch, control []stream.Publication) {
	for i := range control {
		if p := &control[i]; p.Kind == stream.KindKick {
			r.kick(p.User, p.Data)
		} else {
			r.hub.Subscribers(p.Channel, func(fd int32) {
				if r.members.At(fd).id.User() == p.User {
					r.revoke(r.loop.Conn(fd), p.Channel, textOr(p.Data, "ended by the backend"))
				}
			})
		}
	}
	r.hub.Take(b)
}

func (r *Router) kick(user, text string) {
	r.conns.Each(func(c loop.Conn) {
		if r.members.At(c.FD).id.User() == user {
			r.conns.CloseWith(c, protocol.CloseDisconnected, 0, textOr(text, "disconnected by the backend"))
		}
	})
}

// Answer is relay.Sink's: entries of the node's stream. Those of other loops' connections are passed over.
func (r *Router) Answer(answers []stream.Answer) {
	for i := range answers {
		if c, ok := r.find(answers[i].Conn); ok {
			r.answer(c, &answers[i])
		}
	}
}

func (r *Router) answer(c loop.Conn, a *stream.Answer) {
	switch a.Kind {
	case stream.KindRes, stream.KindErr:
		ref, err := strconv.ParseUint(a.Ref, 10, 53)
		if err != nil || !r.settle(c, ref) {
			r.counts.LateAnswers++
			return
		}
		if a.Kind == stream.KindRes {
			r.reply(c, protocol.AppendRes(r.text[:0], ref), a)
			return
		}
		code := protocol.Code(a.Code)
		if code < 400 || code > 999 {
			code = protocol.CodeFailed
		}
		r.err(c, ref, code, a.Data)
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
