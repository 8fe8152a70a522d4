package auth

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
)

const (
	maxToken   = 8 << 10 // bytes of a token
	maxUser    = 256     // bytes of sub: it travels in every stream entry
	maxPattern = 1024    // bytes of a match
	maxSeconds = 1 << 40 // of exp and nbf: some 30,000 years
)

// token is one that is being looked at. Its slices are parts of buf or of what the scanner holds.
type token struct {
	buf    []byte // the token, and behind it what its parts decode to
	scan   scanner
	signed []byte // header and payload as they are signed
	sig    []byte
	text   []byte // the Identity's

	alg, kid []byte
	claims
}

// claims of a token, as far as they are read before its signature is known to be good.
type claims struct {
	user     int   // bytes of sub, at the start of token.text
	exp, nbf int64 // unix seconds; nbf may be 0
	issuer   bool  // iss is the one that is wanted
	audience bool  // aud is, or has, the one that is wanted
}

// split decodes the three parts of a compact JWS (RFC 7515 section 7.1) and returns header and payload.
func (t *token) split(text string) (header, payload []byte, err error) {
	if len(text) > maxToken {
		return nil, nil, errTooLong
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '_' && c != '.' {
			return nil, nil, errParts // a line feed too, which base64 would pass over
		}
	}
	first := strings.IndexByte(text, '.')
	last := strings.LastIndexByte(text, '.')
	if first < 1 || last == first || last == len(text)-1 || strings.IndexByte(text[first+1:last], '.') >= 0 {
		return nil, nil, errParts
	}
	t.buf = append(t.buf[:0], text...)
	ends := [3]int{}
	for i, part := range [3][]byte{t.buf[:first], t.buf[first+1 : last], t.buf[last+1:]} {
		if t.buf, err = base64.RawURLEncoding.Strict().AppendDecode(t.buf, part); err != nil {
			return nil, nil, errParts
		}
		ends[i] = len(t.buf)
	}
	t.signed, t.sig = t.buf[:last], t.buf[ends[1]:ends[2]]
	return t.buf[len(text):ends[0]], t.buf[ends[0]:ends[1]], nil
}

// once reports whether a member is met for the first time; seen has a bit for each that was.
func once(seen *uint, bit uint) bool {
	if *seen&bit != 0 {
		return false
	}
	*seen |= bit
	return true
}

// readHeader reads alg and kid. What says where keys are (jwk, jku, x5c, x5u) is passed over: keys come from the configuration
// alone.
func (t *token) readHeader(header []byte) error {
	s := &t.scan
	s.reset(header)
	t.alg, t.kid = nil, nil
	var seen uint
	var fault error
	ok := s.object(func(name []byte) (ok bool) {
		switch string(name) {
		case "alg":
			t.alg, ok = s.string()
			if ok && !once(&seen, 1) {
				fault = errTwice
			}
		case "kid":
			t.kid, ok = s.string()
			if ok && !once(&seen, 2) {
				fault = errTwice
			}
		case "crit":
			fault = errCritical
			ok = s.skip(maxDepth)
		default:
			ok = s.skip(maxDepth)
		}
		return ok && fault == nil
	})
	if fault != nil {
		return fault
	}
	if !ok || !s.end() || seen&1 == 0 {
		return errHeader
	}
	return nil
}

// readClaims reads sub, exp, nbf, iss, aud and channels; others are passed over.
func (t *token) readClaims(payload []byte, wantIssuer, wantAudience string) error {
	s := &t.scan
	s.reset(payload)
	t.text = t.text[:0]
	t.claims = claims{}
	var seen uint
	var fault error
	var channels int // where their value is: it is read when the user is known, which comes first in the text
	ok := s.object(func(name []byte) bool {
		var bit uint
		var ok bool
		switch string(name) {
		case "sub":
			bit, fault = 1, t.readUser()
		case "exp":
			bit = 2
			if t.exp, ok = s.date(); !ok {
				fault = errExp
			}
		case "nbf":
			bit = 4
			if t.nbf, ok = s.date(); !ok {
				fault = errNbf
			}
		case "iss":
			bit = 8
			var iss []byte
			if iss, ok = s.string(); !ok {
				fault = errIss
			}
			t.issuer = string(iss) == wantIssuer
		case "aud":
			bit, fault = 16, t.readAudience(wantAudience)
		case "channels":
			bit = 32
			s.space()
			channels = s.i
			if !s.skip(maxDepth) {
				return false
			}
		default:
			return s.skip(maxDepth)
		}
		if fault == nil && !once(&seen, bit) {
			fault = errTwice
		}
		return fault == nil
	})
	switch {
	case fault != nil:
		return fault
	case !ok || !s.end():
		return errPayload
	case seen&1 == 0:
		return errSub
	case seen&2 == 0:
		return errExp
	case seen&32 != 0:
		s.i = channels
		return t.readChannels()
	}
	return nil
}

func (t *token) readUser() error {
	user, ok := t.scan.string()
	if !ok || len(user) == 0 || len(user) > maxUser {
		return errSub
	}
	for _, b := range user {
		if b <= 0x20 || b > 0x7e {
			return errSub
		}
	}
	t.text = append(t.text, user...)
	t.user = len(user)
	return nil
}

func (t *token) readAudience(want string) error {
	s := &t.scan
	one := func() bool {
		aud, ok := s.string()
		t.audience = t.audience || ok && string(aud) == want
		return ok
	}
	if s.peek() == '[' && s.list(one) || s.peek() == '"' && one() {
		return nil
	}
	return errAud
}

// readChannels appends grants to the text as [Identity] has them.
func (t *token) readChannels() error {
	s := &t.scan
	if s.peek() == 'n' { // null: none, as some libraries write it
		return nil
	}
	var fault error
	ok := s.list(func() bool {
		var allow Action
		var match []byte
		var seen uint
		ok := s.object(func(name []byte) (ok bool) {
			switch string(name) {
			case "match":
				match, ok = s.string()
				if ok && len(match) > maxPattern {
					fault = errPattern
				}
				if !once(&seen, 1) {
					fault = errTwice
				}
			case "allow":
				ok = s.list(func() bool {
					action, ok := s.string()
					a, known := actions[string(action)]
					if ok && !known { // passed over, it would be a grant that was not understood
						fault = errAction
					}
					allow |= a
					return ok && known
				})
				if !once(&seen, 2) {
					fault = errTwice
				}
			default:
				ok = s.skip(maxDepth)
			}
			return ok && fault == nil
		})
		t.text = append(binary.BigEndian.AppendUint16(append(t.text, byte(allow)), uint16(len(match))), match...)
		return ok
	})
	if fault == nil && !ok {
		fault = errChannels
	}
	return fault
}

// date is a NumericDate (RFC 7519 section 2) in whole seconds, rounded down.
func (s *scanner) date() (seconds int64, ok bool) {
	text, ok := s.number()
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, n >= 0 && n <= maxSeconds
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return int64(f), err == nil && f >= 0 && f <= maxSeconds
}
