package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strings"
	"sync"
)

// alg is what a key verifies with (RFC 7518 section 3.1, RFC 8037).
type alg uint8

const (
	noAlgorithm alg = iota
	hs256
	rs256
	es256
	edDSA
)

func algorithm(name []byte) alg {
	switch string(name) {
	case "HS256":
		return hs256
	case "RS256":
		return rs256
	case "ES256":
		return es256
	case "EdDSA":
		return edDSA
	}
	return noAlgorithm
}

// Key verifies the signatures of one algorithm. A token does not choose what is done with a key: one that names another
// algorithm does not get that far.
type Key struct {
	// Immutable.
	alg alg
	id  string // kid; "" for one that has no name
	rsa *rsa.PublicKey
	ec  *ecdsa.PublicKey
	ed  ed25519.PublicKey

	macs sync.Pool // of *mac, for HS256
}

// mac is one HMAC and what it comes to.
type mac struct {
	hash.Hash
	sum [sha256.Size]byte
}

const (
	// MinSecret is the shortest secret in bytes: as long as HS256's output (RFC 7518 section 3.2).
	MinSecret = 32

	minRSA = 2048 // bits (RFC 7518 section 3.3)
	maxRSA = 8192 // one signature takes long enough then
)

// Secret is a key for HS256.
func Secret(secret []byte) (*Key, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("the JWT secret has %d bytes; HS256 needs at least %d (RFC 7518 section 3.2)", len(secret), MinSecret)
	}
	k := &Key{alg: hs256}
	k.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, secret)} }
	return k, nil
}

// Public is a key for the algorithm that fits it: RS256, ES256 or EdDSA. id may be empty.
func Public(id string, public any) (*Key, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if n := public.N.BitLen(); n < minRSA || n > maxRSA || public.E < 3 || public.E&1 == 0 {
			return nil, fmt.Errorf("an RSA key of %d bits: RS256 needs %d to %d (RFC 7518 section 3.3)", n, minRSA, maxRSA)
		}
		return &Key{alg: rs256, id: id, rsa: public}, nil
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return nil, errors.New("a key on another curve than P-256: ES256 needs that one")
		}
		return &Key{alg: es256, id: id, ec: public}, nil
	case ed25519.PublicKey:
		return &Key{alg: edDSA, id: id, ed: public}, nil
	}
	return nil, errors.New("neither an RSA, a P-256 nor an Ed25519 key")
}

// verify reports whether sig is the signature of text.
func (k *Key) verify(text, sig []byte) bool {
	switch k.alg {
	case hs256:
		m := k.macs.Get().(*mac)
		m.Reset()
		m.Write(text)
		ok := hmac.Equal(m.Sum(m.sum[:0]), sig)
		k.macs.Put(m)
		return ok
	case rs256:
		sum := sha256.Sum256(text)
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, sum[:], sig) == nil
	case es256: // both numbers in 32 bytes each (RFC 7518 section 3.4)
		if len(sig) != 64 {
			return false
		}
		sum := sha256.Sum256(text)
		return ecdsa.Verify(k.ec, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	case edDSA:
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(k.ed, text, sig)
	}
	return false
}

// ParsePEM reads public keys, or the keys of certificates: at least one, at most four of an algorithm, since each may have to be tried.
func ParsePEM(text []byte) (keys []*Key, err error) {
	var of [edDSA + 1]int
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		public, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		key, err := Public("", public)
		if err != nil {
			return nil, err
		}
		if of[key.alg]++; of[key.alg] > maxTries {
			return nil, fmt.Errorf("more than %d keys of one algorithm; use a JWKS, where keys have names", maxTries)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block with a public key")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (public any, err error) {
	switch {
	case block.Type == "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("a private key: the gateway needs the public one only, and whoever has this one can make tokens")
	}
	return nil, fmt.Errorf("a PEM block %q, want PUBLIC KEY", block.Type)
}
