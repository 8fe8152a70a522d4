// Package auth says who a client is and what it may do: JSON Web Tokens (RFC 7519) signed with HS256, or nothing at all.
//
//	token ─▶ Verifier.Verify ─▶ Identity{user, grants} ─▶ Identity.May(sub|pub|req|who, channel)
//
// Verification costs microseconds and allocates; it happens once per connection and for each auth command. May does
// neither. An Identity is 24 bytes and its text. The package knows neither connections nor HTTP, and no error text holds a
// token.
package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

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

// ErrToken is wrapped by what Verify says of a credential that is no good.
var ErrToken = errors.New("credential refused")

// Verifier checks tokens against one secret. It may be used by several goroutines.
type Verifier struct {
	secret []byte
	parser *jwt.Parser
}

// MinSecret is the shortest secret in bytes: as long as HS256's output (RFC 7518 section 3.2).
const MinSecret = 32

// NewVerifier makes a verifier for HS256.
func NewVerifier(secret []byte) (*Verifier, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("the JWT secret has %d bytes; HS256 needs at least %d (RFC 7518 section 3.2)", len(secret), MinSecret)
	}
	return &Verifier{
		secret: secret,
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithLeeway(0)),
	}, nil
}

// claims of a token: sub is the user, and channels what it may do.
type claims struct {
	jwt.RegisteredClaims
	Channels Grants `json:"channels"`
}

// maxUser bounds sub: it travels in every stream entry.
const maxUser = 256

// maxPattern bounds a match: no channel is longer.
const maxPattern = 1024

// Verify checks signature, exp and nbf, and reads sub and channels. Its errors wrap [ErrToken] and never show the token.
func (v *Verifier) Verify(token string) (id *Identity, expires time.Time, err error) {
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return v.secret, nil }); err != nil {
		return nil, expires, fmt.Errorf("%w: %s", ErrToken, reason(err))
	}
	if c.Subject == "" || len(c.Subject) > maxUser {
		return nil, expires, fmt.Errorf("%w: sub must have 1 to %d bytes", ErrToken, maxUser)
	}
	for _, b := range []byte(c.Subject) {
		if b <= 0x20 || b > 0x7e {
			return nil, expires, fmt.Errorf("%w: sub must be printable ASCII without spaces", ErrToken)
		}
	}
	for _, g := range c.Channels {
		if len(g.Match) > maxPattern {
			return nil, expires, fmt.Errorf("%w: a match in channels has more than %d bytes", ErrToken, maxPattern)
		}
	}
	return NewIdentity(c.Subject, c.Channels), c.ExpiresAt.Time, nil
}

// reason keeps to what is known to hold no part of the token.
func reason(err error) string {
	for _, known := range []error{
		jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenSignatureInvalid,
		jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenInvalidClaims, jwt.ErrTokenUnverifiable, jwt.ErrTokenMalformed,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "not a token"
}
