package gateway

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millracehq/millrace/gateway/client"
)

const testSecret = "0123456789abcdef0123456789abcdef"

type grant struct {
	Match string   `json:"match"`
	Allow []string `json:"allow"`
}

var everything = grant{"*", []string{"sub", "pub", "req", "who"}}

func claims(user string, life time.Duration, grants ...grant) jwt.MapClaims {
	return jwt.MapClaims{"sub": user, "exp": time.Now().Add(life).Unix(), "channels": grants}
}

func token(t *testing.T, user string, life time.Duration, grants ...grant) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims(user, life, grants...))
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// swapped is token with the payload of another one.
func swapped(token, other string) string {
	a, b := strings.Split(token, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}

// critical is a good token but for an extension in its header.
func critical(t *testing.T) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims("ann", time.Hour, everything))
	token.Header["crit"] = []string{"exp"}
	text, err := token.SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCredentials(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret})
	good := token(t, "ann", time.Hour, everything)
	for name, opts := range map[string]client.Options{
		"header":      {Token: good},
		"subprotocol": {Protocols: []string{"millrace.v1", "bearer." + good}},
	} {
		t.Run(name, func(t *testing.T) { g.connect(opts).ask("sub 1 echo:x", "ok 1") })
	}
	raw, err := client.DialRaw(t.Context(), g.url()+"?token="+good, client.Options{})
	if err != nil {
		t.Fatalf("query: %v", err)
	}
	raw.Abort()

	notYet := claims("ann", time.Hour, everything)
	notYet["nbf"] = time.Now().Add(time.Hour).Unix()
	noExp := claims("ann", time.Hour)
	delete(noExp, "exp")
	badGrant := claims("ann", time.Hour, grant{"*", []string{"everything"}})
	for name, bad := range map[string]string{
		"none":             "",
		"garbage":          "abc",
		"three parts":      "a.b.c",
		"other secret":     sign(t, jwt.SigningMethodHS256, []byte("another secret, as long as it must be"), claims("ann", time.Hour)),
		"alg none":         sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims("ann", time.Hour)),
		"HS512":            sign(t, jwt.SigningMethodHS512, []byte(testSecret), claims("ann", time.Hour)),
		"expired":          token(t, "ann", -time.Minute),
		"not valid yet":    sign(t, jwt.SigningMethodHS256, []byte(testSecret), notYet),
		"no exp":           sign(t, jwt.SigningMethodHS256, []byte(testSecret), noExp),
		"no sub":           token(t, "", time.Hour),
		"sub with a space": token(t, "ann lee", time.Hour),
		"huge":             good[:20] + strings.Repeat("A", 6000) + good[20:],
		"cut":              good[:len(good)-8],
		"swapped payload":  swapped(good, token(t, "root", time.Hour, everything)),
		"crit":             critical(t),
		"unknown action":   sign(t, jwt.SigningMethodHS256, []byte(testSecret), badGrant),
	} {
		_, err := client.DialRaw(t.Context(), g.url(), client.Options{Token: bad})
		var refused *client.Refused
		if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
			t.Errorf("%s: %v, want 401", name, err)
		}
	}
	_, err = client.DialRaw(t.Context(), g.url(), client.Options{Token: good, Protocols: []string{"other"}})
	var refused *client.Refused
	if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("other subprotocol: %v, want 400", err)
	}
}

func TestGrants(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret, Namespaces: map[string]Namespace{
		"echo": {}, "direct": {Publish: "direct"}, "open": {Publish: "direct", Authorize: "anyone"},
	}})
	c := g.connect(client.Options{Token: token(t, "ann", time.Hour, grant{"direct:a*z", []string{"sub"}}, grant{"direct:p", []string{"pub"}})})
	c.ask("sub 1 direct:az", "ok 1")
	c.ask("sub 2 direct:a-long-z", "ok 2")
	c.ask("sub 3 direct:a-long-zz-", "err 3 403")
	c.ask("sub 4 direct:p", "err 4 403")
	c.ask("pub 5 direct:p\nx", "ok 5")
	c.ask("pub 6 direct:az\nx", "err 6 403")
	c.ask("sub 7 open:x", "ok 7")
	c.ask("auth 8 "+token(t, "bob", time.Hour), "err 8 403")
	c.ask("auth 9 nonsense", "err 9 401")
	c.ask("auth 10 "+token(t, "ann", time.Hour, grant{"direct:az", []string{"sub"}}), "ok 10")
	c.want("revoke direct:a-long-z 403")
	c.ask("pub 11 direct:p\nx", "err 11 403")
	c.ask("unsub 12 open:x", "ok 12")
}

func TestExpiryAndRenewal(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret})
	renewed := g.connect(client.Options{Token: token(t, "ann", 2*time.Second)})
	renewed.ask("auth 1 "+token(t, "ann", time.Hour), "ok 1")
	expiring := g.connect(client.Options{Token: token(t, "bob", 2*time.Second)})
	if bye := expiring.wantClosed(4101); bye == nil || bye.Code != 4101 {
		t.Fatalf("%+v", bye)
	}
	renewed.ask("ping 2", "pong 2")
}
