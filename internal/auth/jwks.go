package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// maxKeys bounds a key set.
const maxKeys = 100

// jwk is a key as RFC 7517 section 4 and RFC 7518 section 6 have it.
type jwk struct {
	Type       string   `json:"kty"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Alg        string   `json:"alg"`
	ID         string   `json:"kid"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

// ParseJWKS reads a key set (RFC 7517 section 5). Keys that are for something else, or that are not understood, are passed over, as it demands,
// and so are secrets: a document that others can read is no place for one. skipped says why, for people.
func ParseJWKS(text []byte) (keys []*Key, skipped []error, err error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, fmt.Errorf("not a JWKS: %w", err)
	}
	if set.Keys == nil {
		return nil, nil, errors.New(`not a JWKS: it has no member "keys"`)
	}
	if len(*set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("the JWKS has %d keys; at most %d are taken", len(*set.Keys), maxKeys)
	}
	keys = []*Key{}
	for i, raw := range *set.Keys {
		var k jwk
		err := json.Unmarshal(raw, &k)
		var key *Key
		if err == nil {
			key, err = k.key()
		}
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d of the JWKS: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, skipped, nil
}

func (k *jwk) key() (*Key, error) {
	if k.Use != "" && k.Use != "sig" {
		return nil, fmt.Errorf("use is %q, not sig", k.Use)
	}
	if len(k.Operations) > 0 {
		verifies := false
		for _, op := range k.Operations {
			verifies = verifies || op == "verify"
		}
		if !verifies {
			return nil, errors.New("key_ops has no verify")
		}
	}
	public, err := k.public()
	if err != nil {
		return nil, err
	}
	key, err := Public(k.ID, public)
	if err != nil {
		return nil, err
	}
	if k.Alg != "" && algorithm([]byte(k.Alg)) != key.alg {
		return nil, fmt.Errorf("alg %q is not read here: RS256, ES256 and EdDSA are", k.Alg)
	}
	return key, nil
}

func (k *jwk) public() (any, error) {
	switch k.Type + " " + k.Curve {
	case "RSA ":
		n, errN := number(k.N)
		e, errE := number(k.E)
		if errN != nil || errE != nil || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, errors.New("n or e is not base64url of a number")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC P-256":
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			return nil, errors.New("x or y is not base64url of 32 bytes")
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, errors.New("x and y are no point of P-256")
		}
		return public, nil
	case "OKP Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, errors.New("x is not base64url of 32 bytes")
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, fmt.Errorf("kty %q with crv %q is not read here: RSA, EC with P-256 and OKP with Ed25519 are", k.Type, k.Curve)
}

func number(text string) (*big.Int, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 || len(b) > maxRSA/8 {
		return nil, errors.New("no number")
	}
	return new(big.Int).SetBytes(b), nil
}
