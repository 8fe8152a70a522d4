package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

// pairs are keys to sign with, made once: RSA takes its time.
var pairs = sync.OnceValue(func() (p struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
},
) {
	var err error
	if p.rsa, err = rsa.GenerateKey(rand.Reader, minRSA); err != nil {
		panic(err)
	}
	if p.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		panic(err)
	}
	if _, p.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return p
})

func newKey(t testing.TB, id string, public any) *Key {
	t.Helper()
	k, err := Public(id, public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSecret(t testing.TB) *Key {
	t.Helper()
	k, err := Secret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newTestVerifier knows one key of each algorithm.
func newTestVerifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	p := pairs()
	cfg.Keys = []*Key{newSecret(t), newKey(t, "r", p.rsa.Public()), newKey(t, "e", p.ec.Public()), newKey(t, "d", p.ed.Public())}
	return NewVerifier(cfg)
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// raw signs header and payload as they are written here.
func raw(header, payload string) string {
	text := b64(header) + "." + b64(payload)
	sig, _ := jwt.SigningMethodHS256.Sign(text, secret)
	return text + "." + b64(string(sig))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func annFor(life time.Duration) jwt.MapClaims {
	return jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(life).Unix(), "iss": "us", "aud": []string{"a", "them"}}
}

func TestShortSecretIsRefused(t *testing.T) {
	if _, err := Secret(secret[:31]); err == nil || strings.Contains(err.Error(), string(secret[:31])) {
		t.Fatalf("%v", err)
	}
}

func TestGoodTokens(t *testing.T) {
	p := pairs()
	v := newTestVerifier(t, Config{Issuer: "us", Audience: "them"})
	for name, text := range map[string]string{
		"HS256":               sign(t, jwt.SigningMethodHS256, secret, nil, annFor(time.Hour)),
		"HS256, any kid":      sign(t, jwt.SigningMethodHS256, secret, map[string]any{"kid": "x"}, annFor(time.Hour)),
		"RS256":               sign(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "r"}, annFor(time.Hour)),
		"RS256, no kid":       sign(t, jwt.SigningMethodRS256, p.rsa, nil, annFor(time.Hour)),
		"ES256":               sign(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, annFor(time.Hour)),
		"EdDSA":               sign(t, jwt.SigningMethodEdDSA, p.ed, map[string]any{"kid": "d"}, annFor(time.Hour)),
		"written with spaces": raw(` { "typ" : "JWT" , "alg" : "HS256" } `, "\t{\"exp\": 2e9 , \"sub\":\"\\u0061nn\",\"iss\":\"us\",\"aud\":\"them\"}\n"),
		"exp with a fraction": raw(`{"alg":"HS256"}`, `{"exp":2000000000.5,"sub":"ann","iss":"us","aud":"them","deep":[[{"a":null}]]}`),
	} {
		id, expires, err := v.Verify(text)
		if err != nil || id.User() != "ann" || time.Until(expires) <= 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// forgeries are tokens that nobody may get in with, and why.
func forgeries(t testing.TB) map[string]struct {
	token string
	why   Reason
} {
	t.Helper()
	p := pairs()
	type forgery = struct {
		token string
		why   Reason
	}
	good := sign(t, jwt.SigningMethodHS256, secret, nil, annFor(time.Hour))
	parts := strings.Split(good, ".")
	root := strings.Split(sign(t, jwt.SigningMethodHS256, []byte("a secret that is not the gateway's"), nil, jwt.MapClaims{"sub": "root", "exp": time.Now().Add(time.Hour).Unix()}), ".")
	pkix, _ := x509.MarshalPKIXPublicKey(p.rsa.Public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	with := func(name string, value any) jwt.MapClaims {
		c := annFor(time.Hour)
		c[name] = value
		if value == nil {
			delete(c, name)
		}
		return c
	}
	hs := func(c jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, secret, nil, c) }
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	otherRSA, _ := rsa.GenerateKey(rand.Reader, minRSA)
	_, otherEd, _ := ed25519.GenerateKey(rand.Reader)
	ec384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	claims := `{"sub":"ann","exp":2000000000,"iss":"us","aud":"them"`
	return map[string]forgery{
		"alg none":                             {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, annFor(time.Hour)) + "AA", Algorithm},
		"alg none, no signature":               {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, annFor(time.Hour)), Malformed},
		"alg NoNe":                             {raw(`{"alg":"NoNe"}`, claims+`}`), Algorithm},
		"alg missing":                          {raw(`{"typ":"JWT"}`, claims+`}`), Malformed},
		"alg a number":                         {raw(`{"alg":256}`, claims+`}`), Malformed},
		"HS512":                                {sign(t, jwt.SigningMethodHS512, secret, nil, annFor(time.Hour)), Algorithm},
		"PS256":                                {sign(t, jwt.SigningMethodPS256, p.rsa, map[string]any{"kid": "r"}, annFor(time.Hour)), Algorithm},
		"ES384":                                {sign(t, jwt.SigningMethodES384, ec384, nil, annFor(time.Hour)), Algorithm},
		"HS256 with the public key as secret":  {sign(t, jwt.SigningMethodHS256, public, map[string]any{"kid": "r"}, annFor(time.Hour)), Signature},
		"HS256 with the DER of the public key": {sign(t, jwt.SigningMethodHS256, pkix, map[string]any{"kid": "r"}, annFor(time.Hour)), Signature},
		"RS256 over an HS256 signature":        {b64(`{"alg":"RS256","kid":"r"}`) + "." + parts[1] + "." + parts[2], Signature},
		"another secret":                       {strings.Join(root, "."), Signature},
		"another RSA key":                      {sign(t, jwt.SigningMethodRS256, otherRSA, map[string]any{"kid": "r"}, annFor(time.Hour)), Signature},
		"another P-256 key":                    {sign(t, jwt.SigningMethodES256, other, map[string]any{"kid": "e"}, annFor(time.Hour)), Signature},
		"another Ed25519 key":                  {sign(t, jwt.SigningMethodEdDSA, otherEd, map[string]any{"kid": "d"}, annFor(time.Hour)), Signature},
		"ES256 with zeros":                     {b64(`{"alg":"ES256","kid":"e"}`) + "." + parts[1] + "." + b64(strings.Repeat("\x00", 64)), Signature},
		"ES256 in DER":                         {b64(`{"alg":"ES256","kid":"e"}`) + "." + parts[1] + "." + b64(der(t, p.ec)), Signature},
		"wrong kid":                            {sign(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "e"}, annFor(time.Hour)), UnknownKey},
		"kid a path":                           {sign(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "../../dev/null"}, annFor(time.Hour)), UnknownKey},
		"kid a number":                         {raw(`{"alg":"HS256","kid":7}`, claims+`}`), Malformed},
		"jwk of its own":                       {sign(t, jwt.SigningMethodES256, other, map[string]any{"kid": "e", "jwk": map[string]string{"kty": "EC"}}, annFor(time.Hour)), Signature},
		"crit":                                 {raw(`{"alg":"HS256","crit":["b64"],"b64":false}`, claims+`}`), Malformed},
		"crit, empty":                          {raw(`{"alg":"HS256","crit":[]}`, claims+`}`), Malformed},
		"alg twice":                            {raw(`{"alg":"HS256","alg":"none"}`, claims+`}`), Claims},
		"alg twice, escaped":                   {raw(`{"alg":"HS256","\u0061lg":"none"}`, claims+`}`), Claims},
		"kid twice":                            {raw(`{"alg":"HS256","kid":"a","kid":"b"}`, claims+`}`), Claims},
		"sub twice":                            {raw(`{"alg":"HS256"}`, claims+`,"sub":"root"}`), Claims},
		"exp twice":                            {raw(`{"alg":"HS256"}`, claims+`,"exp":3000000000}`), Claims},
		"channels twice":                       {raw(`{"alg":"HS256"}`, claims+`,"channels":[],"channels":[]}`), Claims},
		"match twice":                          {raw(`{"alg":"HS256"}`, claims+`,"channels":[{"match":"a","match":"*","allow":["sub"]}]}`), Claims},
		"Sub for sub":                          {raw(`{"alg":"HS256"}`, `{"Sub":"ann","exp":2000000000,"iss":"us","aud":"them"}`), Claims},
		"swapped payload":                      {parts[0] + "." + root[1] + "." + parts[2], Signature},
		"swapped header":                       {b64(`{"alg":"HS256"}`) + "." + parts[1] + "." + parts[2], Signature},
		"truncated signature":                  {good[:len(good)-3], Signature},
		"no signature":                         {parts[0] + "." + parts[1] + ".", Malformed},
		"no dots":                              {strings.Join(parts, ""), Malformed},
		"two parts":                            {parts[0] + "." + parts[1], Malformed},
		"four parts":                           {good + "." + parts[2], Malformed},
		"five parts, as JWE":                   {good + "." + parts[2] + "." + parts[2], Malformed},
		"empty header":                         {"." + parts[1] + "." + parts[2], Malformed},
		"padded":                               {parts[0] + "." + parts[1] + "." + parts[2] + "=", Malformed},
		"standard base64":                      {parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 21) + "A", Malformed},
		"a line feed in the signature":         {good[:len(good)-3] + "\n" + good[len(good)-3:], Malformed},
		"a blank behind it":                    {good + " ", Malformed},
		"bits left over in base64":             {loosened(good), Malformed},
		"nothing":                              {"", Malformed},
		"dots":                                 {"..", Malformed},
		"huge":                                 {parts[0] + "." + strings.Repeat("A", 8192) + "." + parts[2], Malformed},
		"header no JSON":                       {raw(`alg=HS256`, claims+`}`), Malformed},
		"header a list":                        {raw(`["HS256"]`, claims+`}`), Malformed},
		"something behind the header":          {raw(`{"alg":"HS256"}{}`, claims+`}`), Malformed},
		"payload no JSON":                      {raw(`{"alg":"HS256"}`, `sub=ann`), Malformed},
		"something behind the payload":         {raw(`{"alg":"HS256"}`, claims+`} x`), Malformed},
		"payload not UTF-8":                    {raw(`{"alg":"HS256"}`, claims+",\"x\":\"\xff\"}"), Malformed},
		"payload nests too deep":               {raw(`{"alg":"HS256"}`, claims+`,"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`), Malformed},
		"expired":                              {hs(annFor(-time.Second)), Expired},
		"expired in 1970":                      {hs(with("exp", 0)), Expired},
		"no exp":                               {hs(with("exp", nil)), Claims},
		"exp null":                             {raw(`{"alg":"HS256"}`, `{"sub":"ann","exp":null,"iss":"us","aud":"them"}`), Claims},
		"exp a string":                         {hs(with("exp", "2000000000")), Claims},
		"exp negative":                         {hs(with("exp", -1)), Claims},
		"exp beyond all bounds":                {raw(`{"alg":"HS256"}`, `{"sub":"ann","exp":1e300,"iss":"us","aud":"them"}`), Claims},
		"not valid yet":                        {hs(with("nbf", time.Now().Add(24*time.Hour).Unix())), NotYetValid},
		"nbf a string":                         {hs(with("nbf", "0")), Claims},
		"no sub":                               {hs(with("sub", nil)), Claims},
		"sub empty":                            {hs(with("sub", "")), Claims},
		"sub with a blank":                     {hs(with("sub", "ann lee")), Claims},
		"sub with a line feed":                 {hs(with("sub", "ann\nerr")), Claims},
		"sub not ASCII":                        {hs(with("sub", "änn")), Claims},
		"sub too long":                         {hs(with("sub", strings.Repeat("a", 257))), Claims},
		"sub a number":                         {hs(with("sub", 7)), Claims},
		"wrong audience":                       {hs(with("aud", "others")), Audience},
		"wrong audiences":                      {hs(with("aud", []string{"others", "them "})), Audience},
		"no audience":                          {hs(with("aud", nil)), Audience},
		"aud an object":                        {hs(with("aud", map[string]any{"them": 1})), Claims},
		"wrong issuer":                         {hs(with("iss", "them")), Issuer},
		"no issuer":                            {hs(with("iss", nil)), Issuer},
		"unknown action":                       {hs(with("channels", []any{map[string]any{"match": "*", "allow": []string{"everything"}}})), Claims},
		"channels an object":                   {hs(with("channels", map[string]any{"match": "*"})), Claims},
		"match a number":                       {hs(with("channels", []any{map[string]any{"match": 1, "allow": []string{"sub"}}})), Claims},
		"match too long":                       {hs(with("channels", []any{map[string]any{"match": strings.Repeat("a", 1025), "allow": []string{"sub"}}})), Claims},
		"allow a word":                         {hs(with("channels", []any{map[string]any{"match": "*", "allow": "sub"}})), Claims},
		"half a surrogate":                     {raw(`{"alg":"HS256"}`, claims+`,"x":"\ud800"}`), Malformed},
		"two values for the signature to be over": {parts[0] + "." + parts[1] + "." + parts[1] + "." + parts[2], Malformed},
	}
}

// loosened is token with a bit set that its last base64 digit does not use.
func loosened(token string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, token[len(token)-1])
	return token[:len(token)-1] + string(digits[last|1])
}

func der(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	sig, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return string(sig)
}

func TestForgeries(t *testing.T) {
	v := newTestVerifier(t, Config{Issuer: "us", Audience: "them", Leeway: 2 * time.Second})
	for name, f := range forgeries(t) {
		id, _, err := v.Verify(f.token)
		var refusal *Refusal
		if !errors.As(err, &refusal) || !errors.Is(err, ErrToken) || id != nil {
			t.Errorf("%s: accepted as %v", name, id)
			continue
		}
		if refusal.Reason != f.why {
			t.Errorf("%s: %v (%v), want %v", name, refusal.Reason, err, f.why)
		}
		for part := range strings.SplitSeq(f.token, ".") {
			if len(part) > 3 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the text shows the token: %v", name, err)
			}
		}
	}
}

// Without that key, its algorithm is no algorithm: a gateway with an RSA key alone never looks at an HMAC.
func TestKeysAreBoundToTheirAlgorithm(t *testing.T) {
	p := pairs()
	pkix, _ := x509.MarshalPKIXPublicKey(p.rsa.Public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	keys, err := ParsePEM(public)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(Config{Keys: keys})
	for name, text := range map[string]string{
		"the PEM as secret": sign(t, jwt.SigningMethodHS256, public, nil, annFor(time.Hour)),
		"the DER as secret": sign(t, jwt.SigningMethodHS256, pkix, nil, annFor(time.Hour)),
		"the n as secret":   sign(t, jwt.SigningMethodHS256, p.rsa.N.Bytes(), nil, annFor(time.Hour)),
		"ES256":             sign(t, jwt.SigningMethodES256, p.ec, nil, annFor(time.Hour)),
	} {
		var refusal *Refusal
		if _, _, err := v.Verify(text); !errors.As(err, &refusal) || refusal.Reason != Algorithm {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := v.Verify(sign(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "any"}, annFor(time.Hour))); err != nil {
		t.Error(err)
	}
}

func TestLeeway(t *testing.T) {
	v := newTestVerifier(t, Config{Leeway: time.Minute})
	c := annFor(time.Hour)
	c["nbf"] = time.Now().Add(30 * time.Second).Unix()
	if _, _, err := v.Verify(sign(t, jwt.SigningMethodHS256, secret, nil, c)); err != nil {
		t.Error(err)
	}
	c["nbf"] = time.Now().Add(90 * time.Second).Unix()
	if _, _, err := v.Verify(sign(t, jwt.SigningMethodHS256, secret, nil, c)); err == nil {
		t.Error("accepted")
	}
}

func TestManyKeysWantAKid(t *testing.T) {
	var keys []*Key
	for i := range maxTries + 1 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, newKey(t, fmt.Sprint(i), key.Public()))
	}
	p := pairs()
	v := NewVerifier(Config{Keys: append(keys, newKey(t, "mine", p.ec.Public()))})
	if _, _, err := v.Verify(sign(t, jwt.SigningMethodES256, p.ec, nil, annFor(time.Hour))); !errors.Is(err, errKid) {
		t.Error(err)
	}
	if _, _, err := v.Verify(sign(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "mine"}, annFor(time.Hour))); err != nil {
		t.Error(err)
	}
}

// What golang-jwt says of tokens, made well and broken in one place, is what is said here, but where we are stricter: then it is
// known why.
func TestVerifyAgainstModel(t *testing.T) {
	rng := mathrand.New(mathrand.NewPCG(5, 6))
	p := pairs()
	v := newTestVerifier(t, Config{Issuer: "us", Audience: "them"})
	model := jwt.NewParser(jwt.WithValidMethods([]string{"HS256", "RS256", "ES256", "EdDSA"}), jwt.WithExpirationRequired(),
		jwt.WithIssuer("us"), jwt.WithAudience("them"), jwt.WithStrictDecoding())
	keyOf := func(token *jwt.Token) (any, error) {
		kid, named := token.Header["kid"]
		for _, k := range []struct {
			alg, id string
			key     any
		}{{"HS256", "", secret}, {"RS256", "r", p.rsa.Public()}, {"ES256", "e", p.ec.Public()}, {"EdDSA", "d", p.ed.Public()}} {
			if k.alg == token.Method.Alg() && (!named || k.id == "" || k.id == kid) {
				return k.key, nil
			}
		}
		return nil, errors.New("no key")
	}
	pick := func(list ...any) any { return list[rng.IntN(len(list))] }
	accepted := 0
	for range 3000 {
		c := jwt.MapClaims{}
		set := func(name string, list ...any) {
			if value := pick(list...); value != nil {
				c[name] = value
			}
		}
		now := time.Now().Unix()
		set("sub", "ann", "ann", "b/o=b", "u17")
		set("exp", now+3600, now+3600, now+3600, float64(now)+3600.25, now-5, nil)
		set("nbf", nil, nil, now-3, now+3600)
		set("iss", "us", "us", "us", "them", nil)
		set("aud", "them", []string{"x", "them"}, "them", "others", []string{}, nil)
		set("channels", nil, []any{map[string]any{"match": "a*", "allow": []string{"sub", "pub"}}})
		set("x", nil, map[string]any{"a": []any{1, "\u00e9\"\\/", nil, true, -1.5e-7}})
		i := rng.IntN(4)
		header := map[string]any{}
		if kid := pick(nil, nil, "r", "e", "d"); kid != nil {
			header["kid"] = kid
		}
		text := sign(t, []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodRS256, jwt.SigningMethodES256, jwt.SigningMethodEdDSA}[i],
			[]any{secret, p.rsa, p.ec, p.ed}[i], header, c)
		if rng.IntN(4) == 0 { // one byte is another one
			b := []byte(text)
			b[rng.IntN(len(b))] = "AQgw3-_.x"[rng.IntN(9)]
			text = string(b)
		}
		_, want := model.Parse(text, keyOf)
		id, expires, got := v.Verify(text)
		if (want == nil) != (got == nil) {
			t.Fatalf("%s: golang-jwt says %v, we %v", text, want, got)
		}
		if got == nil {
			accepted++
			if id.User() != c["sub"] || time.Until(expires) > time.Hour+time.Second || time.Until(expires) < time.Hour-time.Minute {
				t.Fatalf("%v: %s until %v", c, id.User(), expires)
			}
			if id.May(Sub, []byte("abc")) != (c["channels"] != nil) || id.May(Req, []byte("abc")) {
				t.Fatalf("%v: grants", c)
			}
		}
	}
	if accepted < 200 {
		t.Fatalf("only %d of 3000 were good: the test shows little", accepted)
	}
}

func TestParsePEM(t *testing.T) {
	p := pairs()
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkix := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return block("PUBLIC KEY", der)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(p.ec)
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	ec384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{}, &x509.Certificate{}, p.ec.Public(), p.ec)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat([]byte("about these keys\n"), pkix(p.rsa.Public()), pkix(p.ec.Public()), pkix(p.ed.Public()),
		block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&p.rsa.PublicKey)), block("CERTIFICATE", cert))
	keys, err := ParsePEM(all)
	if err != nil || len(keys) != 5 || names(keys) != "RS256 , ES256 , EdDSA , RS256 , ES256 " {
		t.Fatalf("%v %v", names(keys), err)
	}
	for want, text := range map[string][]byte{
		"no PEM block":              []byte("nothing"),
		"private key":               block("PRIVATE KEY", private),
		"RS256 needs 2048":          pkix(short.Public()),
		"P-256":                     pkix(ec384.Public()),
		"more than 4 keys":          bytes.Repeat(pkix(p.ec.Public()), 5),
		`PEM block "CERTIFICATE RE`: block("CERTIFICATE REQUEST", cert),
		"asn1":                      block("PUBLIC KEY", []byte("x")),
	} {
		if _, err := ParsePEM(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestVerifyAllocatesTheIdentityAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector empties pools at random")
	}
	v := newTestVerifier(t, Config{Issuer: "us", Audience: "them"})
	text := sign(t, jwt.SigningMethodHS256, secret, map[string]any{"kid": "x"}, annFor(time.Hour))
	bad := text[:len(text)-4] + "AAAA"
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := v.Verify(text); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("a good token: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := v.Verify(bad); err == nil {
			t.Fatal("accepted")
		}
	}); n > 0 {
		t.Errorf("a bad token: %v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	p := pairs()
	v := newTestVerifier(b, Config{})
	c := annFor(time.Hour)
	c["channels"] = []any{map[string]any{"match": "board:*", "allow": []string{"sub", "pub", "req", "who"}}}
	for _, alg := range []struct {
		method jwt.SigningMethod
		key    any
	}{{jwt.SigningMethodHS256, secret}, {jwt.SigningMethodRS256, p.rsa}, {jwt.SigningMethodES256, p.ec}, {jwt.SigningMethodEdDSA, p.ed}} {
		text := sign(b, alg.method, alg.key, nil, c)
		b.Run(alg.method.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := v.Verify(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	text := sign(b, jwt.SigningMethodHS256, secret, nil, c)
	b.Run("HS256 by golang-jwt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jwt.ParseWithClaims(text, jwt.MapClaims{}, func(*jwt.Token) (any, error) { return secret, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	claims := annFor(time.Hour)
	claims["exp"] = 4_000_000_000 // the same in each process of the fuzzer
	good := sign(f, jwt.SigningMethodHS256, secret, nil, claims)
	f.Add(good)
	f.Add("a.b.c")
	for _, forged := range forgeries(f) {
		f.Add(forged.token)
	}
	v := newTestVerifier(f, Config{Issuer: "us", Audience: "them"})
	f.Fuzz(func(t *testing.T, token string) {
		id, _, err := v.Verify(token)
		if err == nil && (token != good || id.User() != "ann") {
			t.Fatalf("%q was accepted as %+v", token, id)
		}
		if err != nil && !errors.Is(err, ErrToken) {
			t.Fatalf("%v does not wrap ErrToken", err)
		}
	})
}

// FuzzClaims has the payload alone be anything, signed well: what encoding/json does not take is not taken here either.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"sub":"ann","exp":2000000000,"aud":["a"],"channels":[{"match":"a*","allow":["sub"]}]}`))
	f.Add([]byte(`{"sub":"\u0061\ud83d\ude00","x":[1e5,-0.1,{},[],true,false,null]}`))
	f.Add([]byte("{\"sub\" : \"\\n\"\t}\r\n"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var tok token
		err := tok.readClaims(payload, "us", "them")
		if err == nil && !json.Valid(payload) {
			t.Fatalf("%q is no JSON", payload)
		}
		var s scanner
		s.reset(payload)
		if s.skip(maxDepth) && s.end() != json.Valid(payload) {
			t.Fatalf("%q: json.Valid is %v", payload, json.Valid(payload))
		}
		if err == nil {
			id := Identity{text: string(tok.text), user: tok.user}
			id.May(Sub, []byte("board:7"))
			var m struct {
				Sub *string `json:"sub"`
			}
			if json.Unmarshal(payload, &m) == nil && !bytes.Contains(bytes.ToLower(payload), []byte(`\u`)) && bytes.Count(bytes.ToLower(payload), []byte("sub")) == 1 && *m.Sub != id.User() {
				t.Fatalf("%q: user %q, encoding/json says %q", payload, id.User(), *m.Sub)
			}
		}
	})
}
