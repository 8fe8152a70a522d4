package route

import "github.com/millracehq/millrace/internal/loop"

// Drained is conn.Router's: c has taken all that waited for it, so subscriptions that are behind may catch up.
func (r *Router) Drained(c loop.Conn) { r.hub.Drained(c.Seat) }
