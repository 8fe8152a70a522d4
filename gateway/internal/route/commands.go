package route

import (
	"time"

	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/auth"
	"github.com/millracehq/millrace/internal/loop"
)

// Frame is conn.Router's: one command. What needs the streams is not taken while there is no room on the way to them.
func (r *Router) Frame(c loop.Conn, binary bool, frame []byte) (taken bool) {
	cmd := &r.command
	err := protocol.ParseCommand(frame, cmd)
	if err == nil && r.held(c, cmd) {
		return false
	}
	r.counts.Commands[cmd.Verb]++
	if r.rules.Rates.On() && !r.measure(c, cmd, len(frame)) {
		return true
	}
	if err != nil {
		r.err(c, cmd.Ref, err.Code, err.Text)
		if err.Code == protocol.CodeMalformed {
			r.misbehaved(c)
		}
		return true
	}
	switch cmd.Verb {
	case protocol.VerbSub:
		r.sub(c, cmd)
	case protocol.VerbUnsub:
		r.unsub(c, cmd)
	case protocol.VerbPub, protocol.VerbReq:
		r.publish(c, cmd, binary)
	case protocol.VerbWho:
		if r.allowed(c, cmd, auth.Who) {
			r.err(c, cmd.Ref, protocol.CodeNotFound, noPresence)
		}
	case protocol.VerbAuth:
		r.renew(c, cmd)
	case protocol.VerbPing:
		if cmd.Answer {
			r.text = protocol.AppendPong(r.text[:0], cmd.Ref)
			r.conns.Answer(c, false, r.text)
		}
	}
	return true
}

const noPresence = "presence is not kept on this channel"

// misdeed counts malformed heads of one connection.
type misdeed struct {
	since uint32 // tick of the first
	count int
}

// Ten malformed heads within a minute end a connection.
const (
	misdeedLimit   = 10
	misdeedSeconds = 60
)

func (r *Router) misbehaved(c loop.Conn) {
	m := r.misdeeds[c.Seat]
	if now := r.loop.Tick(); m.count == 0 || now-m.since >= misdeedSeconds {
		m = misdeed{since: now}
	}
	m.count++
	r.misdeeds[c.Seat] = m
	if m.count >= misdeedLimit {
		r.conns.CloseWith(c, protocol.CloseViolation, 0, "ten malformed frames within a minute")
	}
}

// held reports whether a command must wait: for room on the way to the streams, where they are to hear of it, or until the backend has said
// whether the connection may stay.
func (r *Router) held(c loop.Conn, cmd *protocol.Command) bool {
	if r.opening(c) {
		return true
	}
	switch cmd.Verb {
	case protocol.VerbPub, protocol.VerbReq:
	case protocol.VerbSub, protocol.VerbUnsub:
		ns, _ := r.rules.namespace(cmd.Channel)
		if ns.Authorize != ByBackend && ns.Notify == 0 {
			return false
		}
	default:
		return false
	}
	return !r.relay.Room()
}

// allowed checks namespace and grants, and answers 403 when they do not allow it.
func (r *Router) allowed(c loop.Conn, cmd *protocol.Command, a auth.Action) bool {
	ns, ok := r.rules.namespace(cmd.Channel)
	switch {
	case !ok:
		r.err(c, cmd.Ref, protocol.CodeForbidden, "no such namespace")
	case a&(auth.Pub|auth.Req) != 0 && ns.Publish == Deny:
		r.err(c, cmd.Ref, protocol.CodeForbidden, "clients may not publish in this namespace")
	case ns.Authorize == ByToken && !r.members.At(c.Seat).id.May(a, cmd.Channel):
		r.err(c, cmd.Ref, protocol.CodeForbidden, "the credential does not allow it")
	case ns.Authorize == ByBackend && a == auth.Pub && ns.Publish == Direct && !r.hub.Subscribed(c.Seat, cmd.Channel):
		r.err(c, cmd.Ref, protocol.CodeForbidden, "only subscribers may publish in this namespace")
	default:
		return true
	}
	return false
}

func (r *Router) publish(c loop.Conn, cmd *protocol.Command, binary bool) {
	action, kind := auth.Pub, stream.KindPub
	if cmd.Verb == protocol.VerbReq {
		action, kind = auth.Req, stream.KindReq
	}
	if !r.allowed(c, cmd, action) {
		return
	}
	ns, _ := r.rules.namespace(cmd.Channel)
	if ns.MaxBody > 0 && len(cmd.Body) > ns.MaxBody {
		r.counts.Limited[limit.Body]++
		r.err(c, cmd.Ref, protocol.CodeTooLarge, "the body is larger than the namespace allows")
		return
	}
	partition := stream.Partition(cmd.Channel, len(r.partitions))
	direct := kind == stream.KindPub && ns.Publish == Direct
	if !r.relay.Up(partition) {
		r.err(c, cmd.Ref, protocol.CodeUnavailable, "the streams are down; nothing was stored, send it again")
		return
	}
	if !direct && r.relay.Full() {
		r.err(c, cmd.Ref, protocol.CodeUnavailable, backlogFull)
		return
	}
	if kind == stream.KindReq && cmd.Answer && !r.await(c, cmd.Ref, nil) {
		return
	}
	if kind == stream.KindPub && ns.Rate.On() {
		if retry := r.cfg.Flows.Take(r.millis(), cmd.Channel, ns.Rate); retry > 0 {
			r.tooFast(c, cmd.Ref, limit.PublishRate, retry)
			return
		}
	}
	a := r.entry(c, kind, cmd.Channel, cmd.Ref)
	a.Direct, a.Binary, a.Answer = direct, binary, cmd.Answer && kind == stream.KindPub
	a.ID, a.Body = cmd.ID, cmd.Body
	if a.Answer {
		r.members.At(c.Seat).published++
	}
	r.relay.Append(a)
}

// entry begins a command for the relay: of c, on a channel, or on none.
func (r *Router) entry(c loop.Conn, kind stream.Kind, channel []byte, ref uint64) *relay.Command {
	r.session = r.appendSession(r.session[:0], c)
	place := channel
	if len(place) == 0 {
		place = r.session
	}
	r.append = relay.Command{
		Kind: kind, Partition: stream.Partition(place, len(r.partitions)), Loop: r.cfg.Loop, Conn: c, Ref: ref, At: time.Now().UnixNano(),
		Channel: channel, User: r.members.At(c.Seat).id.User(), Session: r.session,
	}
	return &r.append
}

func (r *Router) ok(c loop.Conn, cmd *protocol.Command, position []byte) {
	if cmd.Answer {
		r.text = protocol.AppendOK(r.text[:0], cmd.Ref, position)
		r.conns.Answer(c, false, r.text)
	}
}

// err is told also where no answer was wanted: losing silently is worse than an answer too many.
func (r *Router) err(c loop.Conn, ref uint64, code protocol.Code, text string) {
	r.counts.Errors[code]++
	r.text = protocol.AppendErr(r.text[:0], ref, code, text)
	r.conns.Answer(c, false, r.text)
}
