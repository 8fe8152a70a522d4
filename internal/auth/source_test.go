package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is a JWKS server without a network.
type issuer struct {
	fetches atomic.Int64
	serve   atomic.Pointer[func(*http.Request) (status int, body string, err error)]
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.fetches.Add(1)
	status, body, err := (*i.serve.Load())(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (i *issuer) answer(status int, body string, err error) {
	f := func(*http.Request) (int, string, error) { return status, body, err }
	i.serve.Store(&f)
}

func newTestSource(t *testing.T, from *issuer) *Source {
	t.Helper()
	s, err := NewSource(SourceConfig{Location: "https://issuer/keys", Client: &http.Client{Transport: from, Timeout: fetchTimeout}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPair(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func jwkOf(t *testing.T, id string, key *ecdsa.PrivateKey) map[string]string {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "use": "sig", "x": enc(b[1:33]), "y": enc(b[33:])}
}

func set(t *testing.T, keys ...any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func by(t *testing.T, key *ecdsa.PrivateKey, kid string) string {
	t.Helper()
	c := annFor(1000 * time.Hour)
	return sign(t, jwt.SigningMethodES256, key, map[string]any{"kid": kid}, c)
}

func wantReason(t *testing.T, v *Verifier, token string, want Reason) {
	t.Helper()
	_, _, err := v.Verify(token)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != want {
		t.Fatalf("%v, want %v", err, want)
	}
}

func wantGood(t *testing.T, v *Verifier, token string) {
	t.Helper()
	if _, _, err := v.Verify(token); err != nil {
		t.Fatal(err)
	}
}

// A key that is new is found when a token names it, an old one is not good any more once it has gone.
func TestSourceRotates(t *testing.T) {
	one, two := newPair(t), newPair(t)
	synctest.Test(t, func(t *testing.T) {
		from := new(issuer)
		from.answer(200, set(t, jwkOf(t, "1", one)), nil)
		s := newTestSource(t, from)
		v := NewVerifier(Config{Source: s})
		first, second := by(t, one, "1"), by(t, two, "2")
		wantReason(t, v, first, NoKeys)
		if v.Ready() == nil {
			t.Fatal("ready without keys")
		}
		s.Fetch(t.Context())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		wantGood(t, v, first)
		wantReason(t, v, second, UnknownKey)
		wantReason(t, v, by(t, two, "1"), Signature)
		from.answer(200, set(t, jwkOf(t, "2", two)), nil)
		<-time.After(fetchGap + time.Second)
		synctest.Wait()
		wantGood(t, v, second)
		wantReason(t, v, first, UnknownKey)
		stop()
		<-done
	})
}

// However many tokens name keys that are not there, the issuer is asked once in 10 s.
func TestUnknownKidsAreBounded(t *testing.T) {
	one, two := newPair(t), newPair(t)
	synctest.Test(t, func(t *testing.T) {
		from := new(issuer)
		from.answer(200, set(t, jwkOf(t, "1", one)), nil)
		s := newTestSource(t, from)
		v := NewVerifier(Config{Source: s})
		s.Fetch(t.Context())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		storm := by(t, two, "x")
		for range 600 { // a minute
			for range 20 {
				wantReason(t, v, storm, UnknownKey)
			}
			<-time.After(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := from.fetches.Load(); n < 6 || n > 7 {
			t.Errorf("%d fetches in a minute, want 6 or 7", n)
		}
		if n := s.Stats().Unknown; n != 12_000 {
			t.Errorf("%d unknown", n)
		}
		stop()
		<-done
	})
}

// While the issuer is down the keys are good for an hour, and no longer; then it is asked at most each minute, and found.
func TestSourceFailsClosed(t *testing.T) {
	one := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		from := new(issuer)
		good := set(t, jwkOf(t, "1", one))
		from.answer(200, good, nil)
		s := newTestSource(t, from)
		v := NewVerifier(Config{Source: s})
		token := by(t, one, "1")
		s.Fetch(t.Context())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		for _, bad := range []struct {
			status int
			body   string
			err    error
		}{{500, good, nil}, {0, "", errors.New("down")}, {200, "<html>", nil}, {200, `{"key":[]}`, nil}, {200, strings.Repeat(" ", maxDocument+1), nil}} {
			from.answer(bad.status, bad.body, bad.err)
			<-time.After(11 * time.Minute)
			synctest.Wait()
			wantGood(t, v, token)
		}
		before := from.fetches.Load()
		<-time.After(10 * time.Minute)
		wantReason(t, v, token, NoKeys)
		if n := from.fetches.Load() - before; n < 9 || n > 11 {
			t.Errorf("%d fetches in 10 minutes", n)
		}
		from.answer(200, good, nil)
		<-time.After(retryMost + time.Second)
		synctest.Wait()
		wantGood(t, v, token)
		from.answer(200, `{"keys":[]}`, nil) // all were withdrawn
		<-time.After(6 * time.Minute)
		synctest.Wait()
		wantReason(t, v, token, UnknownKey)
		stop()
		<-done
	})
}

// An issuer that does not answer is given up after 5 s, and Verify does not wait meanwhile.
func TestSourceIsSlow(t *testing.T) {
	one := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		from := new(issuer)
		f := func(r *http.Request) (int, string, error) {
			<-r.Context().Done()
			return 0, "", r.Context().Err()
		}
		from.serve.Store(&f)
		s := newTestSource(t, from)
		v := NewVerifier(Config{Source: s})
		start := time.Now()
		done := make(chan struct{})
		go func() { s.Fetch(t.Context()); close(done) }()
		synctest.Wait()
		wantReason(t, v, by(t, one, "1"), NoKeys)
		if d := time.Since(start); d != 0 {
			t.Errorf("Verify waited %v", d)
		}
		<-done
		if d := time.Since(start); d > fetchTimeout {
			t.Errorf("given up after %v", d)
		}
	})
}

func TestSourceOfAFile(t *testing.T) {
	one := newPair(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	s, err := NewSource(SourceConfig{Location: path})
	if err != nil {
		t.Fatal(err)
	}
	if s.Fetch(t.Context()) || s.Ready() == nil || !strings.Contains(s.Ready().Error(), "no such file") {
		t.Fatal(s.Ready())
	}
	if err := os.WriteFile(path, []byte(set(t, jwkOf(t, "1", one))), 0o600); err != nil {
		t.Fatal(err)
	}
	if !s.Fetch(t.Context()) || s.Ready() != nil {
		t.Fatal(s.Ready())
	}
	wantGood(t, NewVerifier(Config{Source: s}), by(t, one, "1"))
}

func TestLocations(t *testing.T) {
	for location, want := range map[string]string{
		"https://issuer/x":          "",
		"http://127.0.0.1:1/x":      "",
		"http://[::1]:1/x":          "",
		"http://localhost/x":        "",
		"file.json":                 "",
		"http://issuer/x":           "--insecure",
		"http://127.0.0.1.evil.com": "--insecure",
		"ftp://issuer/x":            "neither https",
		"https://":                  "not a URL",
	} {
		if _, err := NewSource(SourceConfig{Location: location}); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", location, err, want)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	p := pairs()
	enc := base64.RawURLEncoding.EncodeToString
	rsaKey := func(change map[string]string) map[string]string {
		k := map[string]string{"kty": "RSA", "kid": "r", "n": enc(p.rsa.N.Bytes()), "e": enc(big.NewInt(int64(p.rsa.E)).Bytes())}
		maps.Copy(k, change)
		return k
	}
	ec := jwkOf(t, "e", p.ec)
	off := jwkOf(t, "off", p.ec)
	off["x"] = off["y"]
	ed := map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": enc(p.ed[32:])}
	keys, skipped, err := ParseJWKS([]byte(set(t, rsaKey(nil), ec, ed,
		map[string]string{"kty": "oct", "k": enc(secret), "alg": "HS256"},
		rsaKey(map[string]string{"use": "enc"}), rsaKey(map[string]string{"alg": "RS512"}), rsaKey(map[string]string{"alg": "HS256"}),
		rsaKey(map[string]string{"n": enc(p.rsa.N.Bytes()[:128])}), rsaKey(map[string]string{"e": "AA"}), rsaKey(map[string]string{"n": "+"}),
		off, map[string]string{"kty": "EC", "crv": "P-384"}, map[string]any{"kty": "RSA", "key_ops": []string{"sign"}}, 7,
	)))
	if err != nil || names(keys) != "RS256 r, ES256 e, EdDSA d" || len(skipped) != 11 {
		t.Fatalf("%s %v %v", names(keys), skipped, err)
	}
	for _, bad := range []string{"", "[]", "{}", `{"keys":7}`, `{"keys":[` + strings.Repeat("{},", 100) + `{}]}`} {
		if _, _, err := ParseJWKS([]byte(bad)); err == nil {
			t.Errorf("%.20q was taken", bad)
		}
	}
}

func FuzzJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":""},{"kty":"RSA","n":"AQ","e":"AQAB"}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		keys, _, _ := ParseJWKS(text)
		for _, k := range keys {
			k.verify([]byte("text"), make([]byte, 64))
		}
	})
}

func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		keys, _ := ParsePEM(text)
		for _, k := range keys {
			k.verify([]byte("text"), make([]byte, 64))
		}
	})
}
