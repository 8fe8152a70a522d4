package route

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millracehq/millrace/gateway/internal/auth"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// Admit is conn.Router's: subprotocol and credential of a handshake.
func (r *Router) Admit(c loop.Conn, req *wsio.Request) (string, error) {
	if r.refusal != nil {
		return "", r.refusal
	}
	named, bearer := "", ""
	for _, p := range req.Protocols {
		if p == protocol.Subprotocol {
			named = p
		} else if token, ok := strings.CutPrefix(p, protocol.BearerPrefix); ok {
			bearer = token
		}
	}
	if named == "" && len(req.Protocols) > 0 {
		return "", &wsio.Refusal{Status: http.StatusBadRequest, Reason: "unknown subprotocol: offer " + protocol.Subprotocol}
	}
	id, expires, err := r.identify(req, bearer)
	if err != nil {
		r.counts.Refused++
		return "", &wsio.Refusal{Status: http.StatusUnauthorized, Reason: err.Error(), Header: http.Header{"Www-Authenticate": {"Bearer"}}}
	}
	*r.members.At(c.FD) = member{id: id}
	r.expire(c, expires)
	return named, nil
}

var errNoToken = errors.New("no credential: send Authorization: Bearer TOKEN, ?token=TOKEN, or the subprotocol bearer.TOKEN")

func (r *Router) identify(req *wsio.Request, bearer string) (id *auth.Identity, expires time.Time, err error) {
	if r.cfg.Verifier == nil {
		return auth.Everything, expires, nil
	}
	token := bearer
	if scheme, t, ok := strings.Cut(req.Authorization, " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(t)
	} else if _, query, ok := strings.Cut(req.URI, "?"); ok && token == "" {
		if values, err := url.ParseQuery(query); err == nil {
			token = values.Get("token")
		}
	}
	if token == "" {
		return nil, expires, errNoToken
	}
	return r.cfg.Verifier.Verify(token)
}

// expire has c closed when its credential runs out; the second in which it does is the last. The zero time is never.
func (r *Router) expire(c loop.Conn, at time.Time) {
	seconds := 0
	if !at.IsZero() {
		seconds = max(1, int((time.Until(at)+time.Second-1)/time.Second))
	}
	r.conns.Expire(c, seconds)
}

// Opened is conn.Router's: the first frame is hello.
func (r *Router) Opened(c loop.Conn, deflate bool) {
	if deflate {
		r.hub.Packs(c.FD)
	}
	r.session = r.appendSession(r.session[:0], c)
	r.text = protocol.AppendHello(r.text[:0], string(r.session), r.cfg.Hello)
	r.conns.Answer(c, false, r.text)
}

// Closed is conn.Router's.
func (r *Router) Closed(c loop.Conn, _ loop.Reason) {
	r.hub.Remove(c.FD)
	delete(r.misdeeds, c.FD)
	*r.members.At(c.FD) = member{}
}

// renew is the auth command: a new credential of the same user. Subscriptions that it does not allow any more end.
func (r *Router) renew(c loop.Conn, cmd *protocol.Command) {
	if r.cfg.Verifier == nil {
		r.ok(c, cmd, nil)
		return
	}
	id, expires, err := r.cfg.Verifier.Verify(string(cmd.Token))
	if err != nil {
		r.err(c, cmd.Ref, protocol.CodeUnauthorized, err.Error())
		return
	}
	m := r.members.At(c.FD)
	if id.User() != m.id.User() {
		r.err(c, cmd.Ref, protocol.CodeForbidden, "the credential is another user's: open a new connection for it")
		return
	}
	m.id = id
	r.expire(c, expires)
	r.ok(c, cmd, nil)
	for _, name := range r.hub.Names(c.FD) {
		if ns, known := r.namespace([]byte(name)); !known || !ns.Anyone && !id.May(auth.Sub, []byte(name)) {
			r.revoke(c, name, "the new credential does not allow it")
		}
	}
}

func (r *Router) revoke(c loop.Conn, channel, text string) {
	if !r.hub.Unsubscribe(c.FD, []byte(channel)) {
		return
	}
	r.text = protocol.AppendRevoke(r.text[:0], channel, protocol.CodeForbidden, text)
	r.conns.Answer(c, false, r.text)
}
