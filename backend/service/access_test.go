package service_test

import (
	"strings"
	"testing"
)

// sub asks whether a user may subscribe.
func (b *bed) sub(user, channel string) string {
	b.t.Helper()
	b.open(user)
	b.sendAs("sub", user, channel, "")
	return b.answer(user)
}

func (b *bed) wantSub(user, channel, want string) {
	b.t.Helper()
	if got := b.sub(user, channel); !strings.Contains(got, want) {
		b.t.Errorf("%s subscribes to %s: no %s in %s", user, channel, want, got)
	}
}

func TestWhoMaySubscribe(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.want("ann", "workspace:w", do{"do": "create", "name": "W"}, "{}")
	b.want("ann", "workspace:w", do{"do": "create_board", "id": "b", "title": "B"}, `"role":"owner"`)
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "viewer"}, `"version":1`)
	for _, channel := range []string{"board:b", "cursor:b", "workspace:w"} {
		b.wantSub("ann", channel, "grant")
		b.wantSub("eve", channel, "ttl_ms")
		b.wantSub("mallory", channel, "403")
	}
	for _, channel := range []string{"board:none", "board:", "cursor:b:x", "workspace:b"} {
		b.wantSub("ann", channel, "403")
	}
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "", "version": 1}, `"version":2`)
	for _, channel := range []string{"board:b", "cursor:b", "workspace:w"} {
		b.wantSub("eve", channel, "403")
		if n := b.revokes(channel); n != 1 {
			t.Errorf("%d revokes on %s", n, channel)
		}
	}
	// As it comes again to a backend that takes over from one that has died between the commit and the revokes.
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "", "version": 1}, `"version":2`)
	if n := b.revokes("board:b"); n != 2 {
		t.Errorf("%d revokes after the second time", n)
	}
	// Two mean the same, or one is late: only the same role is a success.
	b.want("ann", "workspace:w", do{"do": "set_member", "user": "eve", "role": "editor", "version": 1}, `"code":409`, `"version":2`)
}

// revokes counts those of eve on a channel.
func (b *bed) revokes(channel string) int {
	return strings.Count(b.redis.CLI("XRANGE", b.keys.Out(partition(channel)), "-", "+"), "revoke\nch\n"+channel+"\nuser\neve")
}
