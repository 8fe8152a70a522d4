package route

import (
	"time"

	"github.com/millracehq/millrace/gateway/internal/auth"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// Frame is conn.Router's: one command. What needs the streams is not taken while there is no room on the way to them.
func (r *Router) Frame(c loop.Conn, binary bool, frame []byte) (taken bool) {
	cmd := &r.command
	err := protocol.ParseCommand(frame, cmd)
	if (cmd.Verb == protocol.VerbPub || cmd.Verb == protocol.VerbReq) && err == nil && !r.relay.Room() {
		return false
	}
	r.counts.Commands[cmd.Verb]++
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
	m := r.misdeeds[c.FD]
	if now := r.loop.Tick(); m.count == 0 || now-m.since >= misdeedSeconds {
		m = misdeed{since: now}
	}
	m.count++
	r.misdeeds[c.FD] = m
	if m.count >= misdeedLimit {
		r.conns.CloseWith(c, protocol.CloseViolation, 0, "ten malformed frames within a minute")
	}
}

func (r *Router) namespace(channel []byte) (Namespace, bool) {
	ns, ok := r.cfg.Namespaces[string(protocol.Namespace(channel))]
	if !ok {
		ns, ok = r.cfg.Namespaces["*"]
	}
	return ns, ok
}

// allowed checks namespace and grants, and answers 403 when they do not allow it.
func (r *Router) allowed(c loop.Conn, cmd *protocol.Command, a auth.Action) bool {
	ns, ok := r.namespace(cmd.Channel)
	switch {
	case !ok:
		r.err(c, cmd.Ref, protocol.CodeForbidden, "no such namespace")
	case a&(auth.Pub|auth.Req) != 0 && ns.Publish == Deny:
		r.err(c, cmd.Ref, protocol.CodeForbidden, "clients may not publish in this namespace")
	case !ns.Anyone && !r.members.At(c.FD).id.May(a, cmd.Channel):
		r.err(c, cmd.Ref, protocol.CodeForbidden, "the credential does not allow it")
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
	ns, _ := r.namespace(cmd.Channel)
	if ns.MaxBody > 0 && len(cmd.Body) > ns.MaxBody {
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
		r.err(c, cmd.Ref, protocol.CodeUnavailable, "the backlog is full: the backend is behind; nothing was stored, send it again later")
		return
	}
	if kind == stream.KindReq && cmd.Answer && !r.await(c, cmd.Ref) {
		return
	}
	r.session = r.appendSession(r.session[:0], c)
	a := &r.append
	a.Kind, a.Direct, a.Binary, a.Answer = kind, direct, binary, cmd.Answer && kind == stream.KindPub
	a.Partition = partition
	a.Loop, a.Conn, a.Ref, a.At = r.cfg.Loop, c, cmd.Ref, time.Now().UnixMilli()
	a.Channel, a.ID, a.Body, a.User, a.Session = cmd.Channel, cmd.ID, cmd.Body, r.members.At(c.FD).id.User(), r.session
	if a.Answer {
		r.members.At(c.FD).published++
	}
	r.relay.Append(a)
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
