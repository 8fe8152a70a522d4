package auth

import (
	"sync"
	"time"
)

// Config of a Verifier; the zero value of a field means that it is not asked for.
type Config struct {
	Keys     []*Key        // those that do not change
	Source   *Source       // of those that do
	Audience string        // must be aud, or in it
	Issuer   string        // must be iss
	Leeway   time.Duration // how far nbf may be ahead of the clock here. exp has none: the issuer can make it later
}

// Verifier checks tokens. It may be used by several goroutines.
type Verifier struct {
	// Immutable after NewVerifier.
	cfg Config

	tokens sync.Pool // of *token
}

// NewVerifier makes a verifier.
func NewVerifier(cfg Config) *Verifier {
	v := &Verifier{cfg: cfg}
	v.tokens.New = func() any { return new(token) }
	return v
}

// Ready says why no token can be verified now, nil when some can.
func (v *Verifier) Ready() error {
	if v.cfg.Source == nil || len(v.cfg.Keys) > 0 {
		return nil
	}
	return v.cfg.Source.Ready()
}

// Stats are those of the source, zero without one.
func (v *Verifier) Stats() (s SourceStats) {
	if v.cfg.Source != nil {
		s = v.cfg.Source.Stats()
	}
	return s
}

// Verify checks signature and claims, and reads sub and channels. Its errors are [Refusal]s. It never waits; a key that is not known
// has the Source look for it.
func (v *Verifier) Verify(text string) (id *Identity, expires time.Time, err error) {
	t := v.tokens.Get().(*token)
	defer v.tokens.Put(t)
	header, payload, err := t.split(text)
	if err != nil {
		return nil, expires, err
	}
	if err := t.readHeader(header); err != nil {
		return nil, expires, err
	}
	if err := v.checkSignature(t); err != nil {
		return nil, expires, err
	}
	if err := t.readClaims(payload, v.cfg.Issuer, v.cfg.Audience); err != nil {
		return nil, expires, err
	}
	now := time.Now()
	expires = time.Unix(t.exp, 0)
	switch {
	case !now.Before(expires):
		return nil, expires, errExpired
	case time.Unix(t.nbf, 0).After(now.Add(v.cfg.Leeway)):
		return nil, expires, errNotYet
	case v.cfg.Issuer != "" && !t.issuer:
		return nil, expires, errIssuer
	case v.cfg.Audience != "" && !t.audience:
		return nil, expires, errAudience
	}
	return &Identity{text: string(t.text), user: t.user}, expires, nil
}

// maxTries bounds the signatures that are checked for one token.
const maxTries = 4

// checkSignature tries the keys that the token can be signed with: those of its algorithm that it names, and those that have no
// name. One that names none can be signed with any, unless that would be too many to try.
func (v *Verifier) checkSignature(t *token) error {
	alg := algorithm(t.alg)
	if alg == noAlgorithm {
		return errAlg
	}
	var tries [maxTries]*Key
	n, ofAlg := 0, 0
	consider := func(keys []*Key) {
		for _, k := range keys {
			if k.alg != alg {
				continue
			}
			ofAlg++
			if t.kid == nil || k.id == "" || k.id == string(t.kid) {
				if n < maxTries {
					tries[n] = k
				}
				n++
			}
		}
	}
	consider(v.cfg.Keys)
	ready := true
	if s := v.cfg.Source; s != nil {
		keys := s.Keys()
		ready = keys != nil
		consider(keys)
	}
	if n > maxTries {
		return errKid
	}
	for _, k := range tries[:n] {
		if k.verify(t.signed, t.sig) {
			return nil
		}
	}
	switch {
	case n > 0:
		return errSignature
	case !ready:
		return errNoKeys
	case v.cfg.Source != nil && t.kid != nil && alg != hs256:
		v.cfg.Source.Unknown()
		return errKey
	case ofAlg == 0:
		return errAlg
	}
	return errKey
}
