package route

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/auth"
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
	if err := r.enter(c, req, bearer); err != nil {
		return "", err
	}
	return named, nil
}

// enter counts the connection and finds out whose it is, the cheap before the costly.
func (r *Router) enter(c loop.Conn, req *wsio.Request, bearer string) error {
	m := r.members.At(c.Seat)
	if m.id != nil { // a handshake that was let in and then failed
		r.cfg.Gate.Leave(m.counted, m.id.User())
		*m = member{}
	}
	r.remote = netip.Addr{}
	if r.rules.Bounds.Address > 0 || r.rules.Authorize == ByBackend || r.tells&NotifyOpen != 0 { // it costs a system call
		r.remote = r.client(c, req)
	}
	counted, in, retry := r.cfg.Gate.Enter(r.millis(), r.remote, &r.rules.Bounds)
	if in != limit.None {
		return r.crowded(in, retry)
	}
	id, expires, err := r.identify(req, bearer)
	if err == nil && !r.cfg.Gate.Identify(&counted, id.User(), &r.rules.Bounds) {
		r.cfg.Gate.Leave(counted, "")
		return r.crowded(limit.User, 0)
	}
	if err != nil {
		r.cfg.Gate.Leave(counted, "")
		r.complain(err, r.client(c, req))
		return &wsio.Refusal{Status: http.StatusUnauthorized, Reason: err.Error(), Header: http.Header{"Www-Authenticate": {"Bearer"}}}
	}
	*m = member{id: id, counted: counted, orders: r.relay.Orders()}
	if r.rules.Rates.On() {
		*r.meters.At(c.Seat) = limit.Meter{}
	}
	r.expire(c, expires)
	return nil
}

// client is the address that counts as c's: that of the other end, or what a trusted proxy says.
func (r *Router) client(c loop.Conn, req *wsio.Request) netip.Addr {
	headers := req.ForwardedFor
	if r.rules.Forwarded {
		headers = req.Forwarded
	}
	return r.rules.Proxies.Client(r.loop.Remote(c).Addr(), headers, r.rules.Forwarded)
}

// crowded refuses a handshake that is over a limit.
func (r *Router) crowded(in limit.Limit, retry int64) *wsio.Refusal {
	r.counts.Limited[in]++
	status, text, seconds := http.StatusServiceUnavailable, "", int64(crowdedRetry)
	switch in {
	case limit.Connections:
		text = "this gateway has as many connections as it may have; connect again to reach another one"
	case limit.AcceptRate:
		text, seconds = "too many handshakes at a time; connect again later", (retry+999)/1000
	case limit.Address:
		status, text = http.StatusTooManyRequests, "too many connections of one address"
	case limit.User:
		status, text = http.StatusTooManyRequests, "too many connections of one user"
	}
	return &wsio.Refusal{Status: status, Reason: text, Header: http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}}
}

// crowdedRetry is Retry-After in seconds, where nobody knows when there will be room.
const crowdedRetry = 5

// complaint is what is logged about bad credentials: one line a second, however many there are.
type complaint struct {
	last   uint32 // tick of the last line, +1
	unsaid int
}

// complain counts a credential that was refused, and logs it without any part of it.
func (r *Router) complain(err error, of netip.Addr) {
	why := auth.Absent
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		why = refusal.Reason
	}
	r.counts.Refused[why]++
	at := &r.complained
	if now := r.loop.Tick() + 1; at.last != now {
		r.cfg.Logger.Warn("credential refused", "reason", why.String(), "err", err, "remote", of.String(), "more_since_last_line", at.unsaid)
		*at = complaint{last: now}
		return
	}
	at.unsaid++
}

var errNoToken = errors.New("no credential: send Authorization: Bearer TOKEN, ?token=TOKEN, or the subprotocol bearer.TOKEN")

func (r *Router) identify(req *wsio.Request, bearer string) (id *auth.Identity, expires time.Time, err error) {
	if r.rules.Verifier == nil {
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
	return r.rules.Verifier.Verify(token)
}

// expire has c closed when its credential runs out; the second in which it does is the last. The zero time is never.
func (r *Router) expire(c loop.Conn, at time.Time) {
	seconds := 0
	if !at.IsZero() {
		seconds = max(1, int((time.Until(at)+time.Second-1)/time.Second))
	}
	r.conns.Expire(c, seconds)
}

// Opened is conn.Router's.
func (r *Router) Opened(c loop.Conn, deflate bool) {
	if deflate {
		r.hub.Packs(c.Seat)
	}
	if r.rules.Authorize == ByBackend {
		r.askOpen(c)
		return
	}
	r.welcome(c)
	r.tell(c, stream.KindOpen, "")
}

// welcome sends the first frame: hello.
func (r *Router) welcome(c loop.Conn) {
	r.session = r.appendSession(r.session[:0], c)
	r.text = protocol.AppendHello(r.text[:0], string(r.session), r.rules.Hello)
	r.conns.Answer(c, false, r.text)
}

// Closed is conn.Router's.
func (r *Router) Closed(c loop.Conn, _ loop.Reason) {
	m := r.members.At(c.Seat)
	if r.tells&NotifyUnsub != 0 {
		for _, name := range r.hub.Names(c.Seat) {
			r.tell(c, stream.KindUnsub, name)
		}
	}
	r.tell(c, stream.KindClose, "")
	r.cfg.Gate.Leave(m.counted, m.id.User())
	r.hub.Remove(c.Seat)
	delete(r.misdeeds, c.Seat)
	*m = member{}
}

// renew is the auth command: a new credential of the same user. Subscriptions that it does not allow any more end.
func (r *Router) renew(c loop.Conn, cmd *protocol.Command) {
	if r.rules.Verifier == nil {
		r.ok(c, cmd, nil)
		return
	}
	id, expires, err := r.rules.Verifier.Verify(string(cmd.Token))
	if err != nil {
		r.complain(err, r.loop.Remote(c).Addr())
		r.err(c, cmd.Ref, protocol.CodeUnauthorized, err.Error())
		r.misbehaved(c) // each costs a signature
		return
	}
	m := r.members.At(c.Seat)
	if id.User() != m.id.User() {
		r.err(c, cmd.Ref, protocol.CodeForbidden, "the credential is another user's: open a new connection for it")
		return
	}
	m.id = id
	r.expire(c, expires)
	r.ok(c, cmd, nil)
	r.tell(c, stream.KindAuth, "")
	for _, name := range r.hub.Names(c.Seat) {
		if ns, known := r.rules.namespace([]byte(name)); !known || ns.Authorize == ByToken && !id.May(auth.Sub, []byte(name)) {
			r.revoke(c, name, "the new credential does not allow it")
		}
	}
}

func (r *Router) revoke(c loop.Conn, channel, text string) {
	if !r.hub.Unsubscribe(c.Seat, []byte(channel)) {
		return
	}
	r.counts.Revoked++
	r.tell(c, stream.KindUnsub, channel)
	r.text = protocol.AppendRevoke(r.text[:0], channel, protocol.CodeForbidden, text)
	r.conns.Answer(c, false, r.text)
}
