package route

import (
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// tell writes an entry that wants no answer, if a namespace wants it: that of the channel, or without one any. It is lost when the streams are
// down or have no room: nobody waits for it.
func (r *Router) tell(c loop.Conn, kind stream.Kind, channel string) {
	if r.tells&Notices[kind] == 0 {
		return
	}
	if channel != "" {
		if ns, _ := r.rules.namespace([]byte(channel)); ns.Notify&Notices[kind] == 0 {
			return
		}
	}
	e := r.entry(c, kind, []byte(channel), 0)
	if kind == stream.KindOpen {
		e.Body = r.about()
	}
	if !r.relay.Up(e.Partition) || !r.relay.Room() || r.relay.Full() {
		r.counts.Untold++
		return
	}
	r.relay.Append(e)
}
