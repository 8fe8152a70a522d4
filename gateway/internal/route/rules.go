package route

import (
	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/auth"
)

// Publish says where publications of a namespace go.
type Publish string

// The values of Publish.
const (
	ToBackend Publish = "backend" // to the `in` stream; the backend publishes
	Direct    Publish = "direct"  // straight to the channel's `out` stream
	Deny      Publish = "deny"    // clients may not
)

// Authorize says who decides what a connection may do.
type Authorize string

// The values of Authorize.
const (
	ByToken   Authorize = "token"   // the claims of the credential
	ByBackend Authorize = "backend" // the backend is asked
	ByNobody  Authorize = "anyone"  // all is allowed
)

// Notify is what the backend is told of, as bits.
type Notify uint8

// Notices.
const (
	NotifyOpen Notify = 1 << iota
	NotifyClose
	NotifySub
	NotifyUnsub
	NotifyAuth
)

// Notices are the kinds that a backend can be told of.
var Notices = map[stream.Kind]Notify{
	stream.KindOpen: NotifyOpen, stream.KindClose: NotifyClose, stream.KindSub: NotifySub, stream.KindUnsub: NotifyUnsub, stream.KindAuth: NotifyAuth,
}

// Namespace is what holds for all channels of one name.
type Namespace struct {
	Publish   Publish
	Authorize Authorize
	MaxBody   int        // bytes; 0: what a frame holds
	Rate      limit.Rate // publications of one channel
	Slow      hub.Policy
	Notify    Notify // open, close and auth are told of all connections
}

// Rules are what can change while a gateway runs. They are shared by all loops, and never change themselves.
type Rules struct {
	Hello            []byte               // JSON of the hello frame
	Namespaces       map[string]Namespace // "*" stands for all others
	Verifier         *auth.Verifier       // nil: mode none, everybody may do everything
	Authorize        Authorize            // of connections: ByToken, or ByBackend, which is asked after the credential was found good
	MaxSubscriptions int                  // of one connection
	MaxRequests      int                  // unanswered ones of one connection
	Rates            limit.Rates          // of one connection
	Bounds           limit.Bounds         // of connections
	Proxies          limit.Proxies        // who may say what a client's address is
	Forwarded        bool                 // they say it in Forwarded; else in X-Forwarded-For
}

// Apply has other rules hold from now on. What was decided by the old ones stays: subscriptions, grants, and connections that are more than may be now.
func (r *Router) Apply(rules *Rules) {
	r.rules = rules
	r.tells = 0
	for _, ns := range rules.Namespaces {
		r.tells |= ns.Notify
	}
}

func (r *Rules) namespace(channel []byte) (Namespace, bool) {
	ns, ok := r.Namespaces[string(protocol.Namespace(channel))]
	if !ok {
		ns, ok = r.Namespaces["*"]
	}
	return ns, ok
}
