package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/redistest"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newLoggedGateway is one whose log is read.
func newLoggedGateway(t *testing.T, cfg Config) (*testGateway, *syncBuffer) {
	t.Helper()
	log := new(syncBuffer)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	g := newTestGatewayOn(t, redistest.Start(t), cfg)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return g, log
}

func (g *testGateway) wantRefused(status int, opts client.Options) {
	g.t.Helper()
	raw, err := client.DialRaw(g.t.Context(), g.url(), opts)
	if err == nil {
		raw.Abort()
	}
	var refused *client.Refused
	if !errors.As(err, &refused) || refused.Status != status {
		g.t.Fatalf("%v, want HTTP %d", err, status)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	g := newTestGateway(t, Config{Auth: "jwt", JWTSecret: testSecret, MaxConnections: 4, MaxPerUser: 2, Loops: 2})
	as := func(user string) client.Options { return client.Options{Token: token(t, user, time.Hour, everything)} }
	a := g.connect(as("ann"))
	g.connect(as("ann"))
	g.wantRefused(http.StatusTooManyRequests, as("ann"))
	g.connect(as("bob"))
	g.connect(as("eve"))
	g.wantRefused(http.StatusServiceUnavailable, as("bob"))
	g.wantRefused(http.StatusServiceUnavailable, client.Options{Token: "none is looked at"})
	a.Abort()
	eventually(t, "there is room", func() bool { return g.gate.Open() == 3 })
	g.wantRefused(http.StatusUnauthorized, client.Options{Token: "x"}) // leaves nothing behind
	g.connect(as("ann"))
	if n := g.gate.Open(); n != 4 {
		t.Fatalf("%d open", n)
	}
}

func TestAddressesAreLimited(t *testing.T) {
	g := newTestGateway(t, Config{MaxPerAddress: 1, TrustedProxies: []string{"127.0.0.0/8"}})
	from := func(text string) client.Options {
		return client.Options{Header: http.Header{"X-Forwarded-For": {text}}}
	}
	g.connect(from("198.51.100.1"))
	g.wantRefused(http.StatusTooManyRequests, from("198.51.100.1"))
	g.wantRefused(http.StatusTooManyRequests, from("203.0.113.1, 198.51.100.1")) // the client's own claim does not count
	g.connect(from("198.51.100.2"))
	g.connect(from("2001:db8::1"))
	g.wantRefused(http.StatusTooManyRequests, from("2001:db8::ffff"))
	g.connect(from("2001:db8:0:1::1"))
	g.connect(client.Options{})
	g.wantRefused(http.StatusTooManyRequests, client.Options{})
	g.wantRefused(http.StatusTooManyRequests, client.Options{Header: http.Header{"Forwarded": {"for=192.0.2.1"}}}) // not the header that counts
}

func TestStrangersDoNotSayWhoTheyAre(t *testing.T) {
	g := newTestGateway(t, Config{MaxPerAddress: 1})
	g.connect(client.Options{Header: http.Header{"X-Forwarded-For": {"198.51.100.1"}}})
	g.wantRefused(http.StatusTooManyRequests, client.Options{Header: http.Header{"X-Forwarded-For": {"198.51.100.2"}}})
}

func TestAcceptsAreLimited(t *testing.T) {
	g := newTestGateway(t, Config{MaxAcceptRate: 3})
	for range 3 {
		g.connect(client.Options{})
	}
	g.wantRefused(http.StatusServiceUnavailable, client.Options{})
}

func TestFramesAreLimited(t *testing.T) {
	g := newTestGateway(t, Config{MaxFrameRate: 10, Namespaces: map[string]Namespace{"direct": {Publish: "direct"}}})
	if c := g.connect(client.Options{}); !strings.Contains(string(c.hello.Body), `"max_frame_rate":10`) {
		t.Errorf("%s", c.hello.Body)
	}
	c := g.connect(client.Options{})
	for i := range 10 {
		c.ask(fmt.Sprint("ping ", i+1), fmt.Sprint("pong ", i+1))
	}
	f := c.ask("pub 11 direct:x\nbody", "err 11 429")
	wait, err := strconv.Atoi(strings.TrimPrefix(f.Head, "err 11 429 retry_ms="))
	if err != nil || wait < 100 || wait > 300 {
		t.Fatalf("%q", f.Head)
	}
	time.Sleep(time.Duration(wait+20) * time.Millisecond) //nolint:forbidigo // what the answer says is what is tested
	c.ask("ping 12", "pong 12")
	if n := len(g.entries(out("direct:x"))); n != 0 {
		t.Fatal("what was refused was published")
	}
	for i := range 40 {
		_ = c.Write(t.Context(), false, fmt.Append(nil, "ping ", i+20))
	}
	if bye := c.wantClosed(4104); bye == nil {
		t.Fatal("no bye")
	}
	s := g.routers[0].Stats
	eventually(t, "it is counted", func() bool { return s().Limited[5] >= 11 && s().Errors[429] >= 11 })
}

func TestBytesAreLimited(t *testing.T) {
	g := newTestGateway(t, Config{MaxByteRate: 1000, MaxFrame: 1024, Namespaces: map[string]Namespace{"direct": {Publish: "direct"}}})
	c := g.connect(client.Options{})
	c.ask("pub 1 direct:x\n"+strings.Repeat("x", 1000), "ok 1") // the burst is one frame at least
	f := c.ask("pub 2 direct:x\n"+strings.Repeat("x", 500), "err 2 429")
	if !regexp.MustCompile(`retry_ms=\d{3,4}$`).MatchString(f.Head) {
		t.Fatalf("%q", f.Head)
	}
	for range 5 {
		_ = c.Write(t.Context(), false, []byte("pub 3 direct:x\n"+strings.Repeat("x", 500)))
	}
	c.wantClosed(4104)
}

func TestPublicationsOfAChannelAreLimited(t *testing.T) {
	g := newTestGateway(t, Config{Namespaces: map[string]Namespace{"direct": {Publish: "direct", MaxPublishRate: 2, MaxBody: 10}}})
	a, b := g.connect(client.Options{}), g.connect(client.Options{})
	if !strings.Contains(string(a.hello.Body), `"namespaces":{"direct":{"max_body":10,"max_publish_rate":2}}`) {
		t.Errorf("%s", a.hello.Body)
	}
	a.ask("pub 1 direct:x\n1", "ok 1")
	b.ask("pub 1 direct:x\n2", "ok 1")
	b.ask("pub 2 direct:x\n3", "err 2 429")
	b.ask("pub 3 direct:y\n1", "ok 3") // another channel
	b.ask("pub 4 direct:y\n12345678901", "err 4 413")
	if n := len(g.entries(out("direct:x"))); n != 2 {
		t.Fatalf("%d publications", n)
	}
}

// Refused credentials make one line a second at most, which tells why and shows no token.
func TestRefusedCredentialsAreLogged(t *testing.T) {
	g, log := newLoggedGateway(t, Config{Auth: "jwt", JWTSecret: testSecret, JWTIssuer: "us", JWTAudience: "them"})
	good := claims("ann", time.Hour, everything)
	good["iss"], good["aud"] = "us", "them"
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	var tokens []string
	start := time.Now()
	for _, bad := range []string{
		sign(t, jwt.SigningMethodHS256, []byte("another secret, as long as it must be"), good),
		sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good) + "AAAA",
		sign(t, jwt.SigningMethodES256, key, good),
		sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("ann", time.Hour)),
		sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims("ann", -time.Hour)),
		strings.Repeat("A", 5000),
	} {
		for range 20 {
			g.wantRefused(http.StatusUnauthorized, client.Options{Token: bad})
		}
		tokens = append(tokens, bad)
	}
	g.connect(client.Options{Token: sign(t, jwt.SigningMethodHS256, []byte(testSecret), good)})
	lines := strings.Count(log.String(), "credential refused\"")
	if most := int(time.Since(start).Seconds()) + 2; lines < 1 || lines > most {
		t.Errorf("%d lines, want 1 to %d:\n%s", lines, most, log.String())
	}
	if !strings.Contains(log.String(), "reason=signature") || !strings.Contains(log.String(), "remote=127.0.0.1") {
		t.Errorf("the first line does not say why and who:\n%s", log.String())
	}
	for _, bad := range tokens {
		for part := range strings.SplitSeq(bad, ".") {
			if len(part) > 4 && strings.Contains(log.String(), part[:5]) {
				t.Fatalf("the log shows a part of a token:\n%s", log.String())
			}
		}
	}
	eventually(t, "they are counted by reason", func() bool {
		refused := g.routers[0].Stats().Refused
		return refused[5] == 20 && refused[2] == 40 && refused[10]+refused[9]+refused[7] == 40
	})
}

func TestReload(t *testing.T) {
	key := func() (private *ecdsa.PrivateKey, public []byte) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		return private, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	first, firstPEM := key()
	second, secondPEM := key()
	path := filepath.Join(t.TempDir(), "keys.pem")
	write := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(firstPEM)
	cfg := Config{Auth: "jwt", JWTKey: path, Namespaces: map[string]Namespace{"direct": {Publish: "direct"}}}
	g, log := newLoggedGateway(t, cfg)
	cfg.Listen, cfg.Admin, cfg.Redis = "127.0.0.1:0", "127.0.0.1:0", g.server.URL()
	by := func(key *ecdsa.PrivateKey) client.Options {
		return client.Options{Token: sign(t, jwt.SigningMethodES256, key, claims("ann", time.Hour, everything))}
	}
	old := g.connect(by(first))
	old.ask("sub 1 direct:x", "ok 1")
	g.wantRefused(http.StatusUnauthorized, by(second))

	write(secondPEM)
	cfg.MaxSubscriptions, cfg.Namespaces = 1, map[string]Namespace{"direct": {Publish: "deny"}, "chat": {Authorize: "anyone"}}
	cfg.MaxPerUser, cfg.Loops, cfg.Heartbeat = 1, 3, 7*time.Second
	if err := g.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"changed=\"[max_connections_per_user max_subscriptions namespaces]\"", "settings=\"[heartbeat loops]\""} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in\n%s", want, log.String())
		}
	}
	g.wantRefused(http.StatusUnauthorized, by(first)) // keys were read anew
	c := g.connect(by(second))
	if !strings.Contains(string(c.hello.Body), `"heartbeat_ms":25000`) || !strings.Contains(string(c.hello.Body), `"max_subscriptions":1,`) {
		t.Errorf("%s", c.hello.Body)
	}
	g.wantRefused(http.StatusTooManyRequests, by(second)) // the old connection does not count, the new one does
	c.ask("sub 1 chat:x", "ok 1")
	c.ask("sub 2 chat:y", "err 2 403")
	old.ask("pub 2 direct:x\n1", "err 2 403")
	g.add(out("direct:x"), "ch", "direct:x", "data", "1")
	old.want("msg direct:x") // what it had, it keeps

	for want, bad := range map[string]func(*Config){
		"publish":         func(c *Config) { c.Namespaces = map[string]Namespace{"x": {Publish: "sideways"}} },
		"trusted_proxies": func(c *Config) { c.TrustedProxies = []string{"everybody"} },
		"jwt_key":         func(c *Config) { c.JWTKey = "/nowhere/at/all" },
		"jwks":            func(c *Config) { c.JWKS = "/nowhere/at/all" },
		"max_frame_rate":  func(c *Config) { c.MaxFrameRate, c.MaxSubscriptions = -1, 7 },
	} {
		broken := cfg
		bad(&broken)
		if err := g.Reload(t.Context(), broken); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c.ask("sub 3 chat:y", "err 3 403") // nothing has changed
	if err := g.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "changed=[]") {
		t.Errorf("nothing was different:\n%s", log.String())
	}
}

// Keys from a URL: without them nobody comes in and the gateway is not ready; new ones are there after a reload at the latest.
func TestKeysFromAURL(t *testing.T) {
	one, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	two, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	var mu sync.Mutex
	status, body := http.StatusServiceUnavailable, ""
	serve := func(code int, kid string, key *ecdsa.PrivateKey) {
		b, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		enc := base64.RawURLEncoding.EncodeToString
		mu.Lock()
		defer mu.Unlock()
		status, body = code, fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}]}`, kid, enc(b[1:33]), enc(b[33:]))
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer issuer.Close()
	as := func(kid string, key *ecdsa.PrivateKey) client.Options {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims("ann", time.Hour, everything))
		token.Header["kid"] = kid
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return client.Options{Token: text}
	}
	server := redistest.Start(t)
	cfg := Config{Auth: "jwt", JWKS: issuer.URL, Redis: server.URL(), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	gw, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- gw.Run(ctx) }()
	defer func() { stop(); <-stopped }()
	g := &testGateway{Gateway: gw, t: t}
	eventually(t, "the gateway says why it is not ready", func() bool {
		err := g.Ready()
		return err != nil && strings.Contains(err.Error(), "no keys for credentials: HTTP status 503")
	})
	eventually(t, "it listens", func() bool { return gw.relay.Ready() == nil && gw.routers[0].Stats() != nil })
	g.wantRefused(http.StatusUnauthorized, as("1", one))
	serve(http.StatusOK, "1", one)
	eventually(t, "it has tried again", func() bool { return g.Ready() == nil })
	g.connect(as("1", one))
	g.wantRefused(http.StatusUnauthorized, as("2", two))
	g.wantRefused(http.StatusUnauthorized, as("1", two))
	serve(http.StatusOK, "2", two)
	if err := g.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	g.connect(as("2", two))
	g.wantRefused(http.StatusUnauthorized, as("1", one)) // withdrawn
	serve(http.StatusInternalServerError, "3", one)
	if err := g.Reload(t.Context(), cfg); err != nil { // it is the same place: what is there goes on being good
		t.Fatal(err)
	}
	g.connect(as("2", two))
	other := cfg
	other.JWKS = issuer.URL + "/elsewhere"
	if err := g.Reload(t.Context(), other); err == nil || !strings.Contains(err.Error(), "HTTP status 500") {
		t.Fatalf("%v", err)
	}
	g.connect(as("2", two))
}
