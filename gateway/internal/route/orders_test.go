package route

import (
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/stream"
)

// TestOrdersAreForThoseWhoWereThere: a loop hears of a kick some time after it was read; who has come meanwhile, perhaps because another loop has
// sent it away already, stays. Until then no yes of before counts.
func TestOrdersAreForThoseWhoWereThere(t *testing.T) {
	r, f := newTestRouter(t)
	before := dialTest(t, r)
	onLoop(r, func() {
		r.grants.add("anonymous", "room:a", 1<<30, 1)
		if !r.granted("anonymous", "room:a") {
			t.Error("no grant without an order")
		}
		f.orders = 2 // two orders have been read
	})
	after := dialTest(t, r)
	onLoop(r, func() {
		if r.granted("anonymous", "room:a") {
			t.Error("a grant counts while orders are on their way")
		}
		r.Control([]relay.Order{{Publication: stream.Publication{Kind: stream.KindRevoke, User: "somebody", Channel: "room:b"}, Number: 2}})
		if r.granted("anonymous", "room:a") {
			t.Error("a grant counts while the first order is on its way")
		}
		r.Control([]relay.Order{{Publication: stream.Publication{Kind: stream.KindKick, User: "anonymous"}, Number: 1}})
		if r.granted("anonymous", "room:a") {
			t.Error("a grant has outlived a kick")
		}
		r.grants.add("anonymous", "room:a", 1<<30, 1)
		if !r.granted("anonymous", "room:a") {
			t.Error("a grant does not count though all orders have been heard")
		}
		if r.counts.Kicked != 1 {
			t.Errorf("%d kicked, want 1", r.counts.Kicked)
		}
	})
	b := make([]byte, 256)
	if n, err := before.Read(b); err != nil || !strings.Contains(string(b[:n]), "bye 4102") {
		t.Errorf("who was there reads %q, %v, want a bye", b[:n], err)
	}
	ask(t, after, "ping", "pong")
}
