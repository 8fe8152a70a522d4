package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/golang-jwt/jwt/v5"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store/memory"
	"github.com/millracehq/millrace/internal/auth"
)

// TestDemo: whoever is named is signed in, with a token that a gateway's verifier takes, and its grants.
func TestDemo(t *testing.T) {
	b := newBed(t, memory.New(board.Rules{}, nil))
	var got token
	if err := json.Unmarshal([]byte(b.ask("", "POST", "/demo/token", `{"user":"ann"}`).want(200).body), &got); err != nil {
		t.Fatal(err)
	}
	id, expires, err := b.api.cfg.Verifier.Verify(got.AccessToken)
	if err != nil || id.User() != "ann" || time.Until(expires) < demoTTL-time.Minute {
		t.Fatalf("%v until %v, %v", id, expires, err)
	}
	for channel, want := range map[string][4]bool{ // sub, pub, req, who
		"board:b": {false, true, true, false}, "workspace:w": {false, false, true, false}, "direct:x": {true, true, true, true}, "other:x": {},
	} {
		for i, action := range []auth.Action{auth.Sub, auth.Pub, auth.Req, auth.Who} {
			if id.May(action, []byte(channel)) != want[i] {
				t.Errorf("%s: action %d is %v", channel, i, !want[i])
			}
		}
	}
	b.ask("", "GET", "/v1/me", "", "Authorization: Bearer "+got.AccessToken).want(200, `"user":"ann"`)
	b.ask("", "GET", "/v1/me", "", "Authorization: bearer "+got.AccessToken+"x").want(401, "signature")
	b.ask("", "GET", "/v1/me", "", "Authorization: Basic YTpi").want(401, "no token")
	if how := b.ask("", "GET", "/v1/me", "").want(401).header.Get("WWW-Authenticate"); how != `Bearer realm="millrace"` {
		t.Errorf("WWW-Authenticate: %s", how)
	}
	old, err := b.demo.Token("ann", time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	b.ask("", "GET", "/v1/me", "", "Authorization: Bearer "+old).want(401, "expired", "sign in again")
	for _, user := range []string{"", "a b", "ä"} {
		b.ask("", "POST", "/demo/token", fmt.Sprintf(`{"user":%q}`, user)).want(400, "printable")
	}

	cfg := b.api.cfg
	cfg.Demo, cfg.Metrics = nil, metrics.NewSet()
	b.api.mux = New(cfg).mux
	b.ask("", "POST", "/demo/token", `{"user":"ann"}`).want(404, "nothing at this path")
}

// TestOutsideProvider: tokens of an identity provider that is known by its JWKS, issuer and audience; and no others.
func TestOutsideProvider(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jwks.json")
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","alg":"EdDSA","use":"sig","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := auth.NewSource(auth.SourceConfig{Location: file})
	if err != nil || !source.Fetch(t.Context()) {
		t.Fatal(err, source.Ready())
	}
	b := newBed(t, memory.New(board.Rules{}, nil))
	b.api.cfg.Verifier = auth.NewVerifier(auth.Config{Source: source, Issuer: "https://id.example", Audience: "boards"})
	sign := func(key ed25519.PrivateKey, claims jwt.MapClaims) string {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		token.Header["kid"] = "k1"
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + text
	}
	soon := time.Now().Add(time.Minute).Unix()
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"sub": "ann", "exp": soon, "iss": "https://id.example", "aud": []string{"boards", "else"}}
	}
	b.ask("", "GET", "/v1/me", "", sign(private, good())).want(200, `"user":"ann"`)
	b.ask("", "GET", "/v1/me", "", sign(stranger, good())).want(401, "signature")
	for name, value := range map[string]any{"iss": "https://else.example", "aud": "else", "exp": soon - 3600} {
		claims := good()
		claims[name] = value
		b.ask("", "GET", "/v1/me", "", sign(private, claims)).want(401)
	}
	b.ask("ann", "GET", "/v1/me", "").want(401, "no key") // by the secret, which counts for nothing here
}
