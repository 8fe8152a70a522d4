package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

const (
	maxUser = 128 // bytes of a user's name
	demoTTL = time.Hour
)

// Demo is an identity provider for trying things: whoever names a user gets that user's token. It must not be reachable by
// strangers.
type Demo struct {
	Secret   []byte // of HS256, which gateways and backends have too; see auth.Secret
	Issuer   string // iss, "": none
	Audience string // aud, "": none
}

// claims are those of docs/STREAMS.md, section 5.
type claims struct {
	Subject  string  `json:"sub"`
	Expires  int64   `json:"exp"`
	Issuer   string  `json:"iss,omitempty"`
	Audience string  `json:"aud,omitempty"`
	Channels []grant `json:"channels"`
}

type grant struct {
	Match string   `json:"match"`
	Allow []string `json:"allow"`
}

// grants are what the user of any token may ask a backend, which looks at their rights itself; and the namespaces for trying things. To subscribe to
// a board is not among them: that is the backend's to say (authorize: backend).
func grants() []grant {
	all := []string{"sub", "pub", "req", "who"}
	return []grant{
		{"board:*", []string{"pub", "req"}}, {"workspace:*", []string{"req"}}, {"cursor:*", []string{"pub"}}, {"echo:*", all}, {"direct:*", all},
	}
}

// Token is a JWT for a user, which is good until expires.
func (d *Demo) Token(user string, expires time.Time) (string, error) {
	payload, err := json.Marshal(claims{user, expires.Unix(), d.Issuer, d.Audience, grants()})
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64.EncodeToString(payload)
	mac := hmac.New(sha256.New, d.Secret)
	mac.Write([]byte(signed))
	return signed + "." + b64.EncodeToString(mac.Sum(nil)), nil
}

// checkUser is for names that a token can have.
func checkUser(user string) error {
	ok := user != "" && len(user) <= maxUser
	for _, b := range []byte(user) {
		ok = ok && b > 0x20 && b < 0x7f
	}
	if !ok {
		return malformed(fmt.Sprintf("user: %.150q", user), fmt.Sprintf("1 to %d bytes of printable ASCII without blanks", maxUser))
	}
	return nil
}

// token is an answer as OAuth 2.0 has it (RFC 6749, section 5.1).
type token struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

func (a *API) demoToken(c *call) error {
	var body struct {
		User string `json:"user"`
	}
	if err := c.read(&body); err != nil {
		return err
	}
	if err := checkUser(body.User); err != nil {
		return err
	}
	text, err := a.cfg.Demo.Token(body.User, time.Now().Add(demoTTL))
	if err != nil {
		return err
	}
	return c.json(200, token{text, "Bearer", int64(demoTTL.Seconds())})
}

func (a *API) me(c *call) error {
	return c.json(200, struct {
		User    string    `json:"user"`
		Expires time.Time `json:"expires"`
	}{c.user, c.expires.UTC()})
}
