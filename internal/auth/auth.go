// Package auth says who a client is and what it may do: JSON Web Tokens (RFC 7519), or nothing at all.
//
//	secret, PEM files ───────────┐
//	JWKS file or URL ─▶ Source ──┴▶ keys, each bound to one algorithm
//	                                 │
//	token ─▶ Verifier.Verify ────────┴──▶ Identity{user, grants} ─▶ Identity.May(sub|pub|req|who, channel)
//
// Verification happens once per connection and for each auth command, on the event loop that asks: HS256 costs about a
// microsecond and two allocations, which are the Identity; the others cost what their signatures do (docs/OPERATIONS.md). It never
// waits: a Source fetches on a goroutine of its own. May does not allocate. An Identity is 24 bytes and its text. The
// package knows no connections, and no error text holds any part of a token.
package auth

import "encoding/binary"

// Anonymous is the user of every connection where no credential is asked for.
const Anonymous = "anonymous"

// Identity is a client as its credential describes it. There is one for each connection, so it is packed.
type Identity struct {
	text string // the user, and behind it the grants: of each its actions, the length of its pattern in two bytes, the pattern
	user int    // bytes of the user
}

// NewIdentity packs a user and grants, of which each pattern has at most 65,535 bytes.
func NewIdentity(user string, grants Grants) *Identity {
	text := []byte(user)
	for _, g := range grants {
		text = append(binary.BigEndian.AppendUint16(append(text, byte(g.allow)), uint16(len(g.Match))), g.Match...)
	}
	return &Identity{text: string(text), user: len(user)}
}

// User is who it is.
func (id *Identity) User() string { return id.text[:id.user] }

// Everything allows all: the identity of mode none.
var Everything = NewIdentity(Anonymous, Grants{{Match: "*", allow: All}})
