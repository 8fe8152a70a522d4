// Package auth says who a client is and what it may do: JSON Web Tokens (RFC 7519) signed with HS256, or nothing at all.
//
//	token ─▶ Verifier.Verify ─▶ Identity{User, Grants, Expires} ─▶ Identity.May(sub|pub|req|who, channel)
//
// Verification costs microseconds and allocates; it happens once per connection and for each auth command. May does
// neither. The package knows neither connections nor HTTP, and no error text holds a token.
package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Anonymous is the user of every connection where no credential is asked for.
const Anonymous = "anonymous"

// Identity is a client as its credential describes it.
type Identity struct {
	User    string
	Grants  Grants
	Expires time.Time // zero: never
}

// Everything allows all: the identity of mode none.
var Everything = &Identity{User: Anonymous, Grants: Grants{{Match: "*", allow: All}}}

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

// Verify checks signature, exp and nbf, and reads sub and channels. Its errors wrap [ErrToken] and never show the token.
func (v *Verifier) Verify(token string) (*Identity, error) {
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return v.secret, nil })
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrToken, reason(err))
	}
	if c.Subject == "" || len(c.Subject) > maxUser {
		return nil, fmt.Errorf("%w: sub must have 1 to %d bytes", ErrToken, maxUser)
	}
	for _, b := range []byte(c.Subject) {
		if b <= 0x20 || b > 0x7e {
			return nil, fmt.Errorf("%w: sub must be printable ASCII without spaces", ErrToken)
		}
	}
	return &Identity{User: c.Subject, Grants: c.Channels, Expires: c.ExpiresAt.Time}, nil
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
