package auth

import "errors"

// ErrToken is wrapped by all that Verify says of a credential that is no good.
var ErrToken = errors.New("credential refused")

// Reason is why a credential is refused, for metrics.
type Reason uint8

// Reasons, in the order in which a token is looked at.
const (
	Absent     Reason = iota // no credential at all; Verify never says so
	Malformed                // not a token, or not one that is read here
	Algorithm                // one that no key is for
	UnknownKey               // the key that it names is not known
	NoKeys                   // no keys could be fetched yet, or not for too long
	Signature                // it does not fit
	Claims                   // a claim is missing, twice there, or not as docs/STREAMS.md has it
	Expired
	NotYetValid
	Audience
	Issuer
	Reasons // how many there are
)

// String is the metric label.
func (r Reason) String() string {
	return [Reasons]string{"absent", "malformed", "algorithm", "unknown_key", "no_keys", "signature", "claims", "expired", "not_yet_valid", "audience", "issuer"}[r]
}

// Refusal says why a credential is refused. Its text holds nothing of the token.
type Refusal struct {
	Reason Reason
	text   string
}

func (r *Refusal) Error() string { return "credential refused: " + r.text }

// Unwrap makes it an [ErrToken].
func (r *Refusal) Unwrap() error { return ErrToken }

// The refusals are made once: a flood of bad tokens allocates nothing for them.
var (
	errTooLong   = &Refusal{Malformed, "the token has more than 8192 bytes"}
	errParts     = &Refusal{Malformed, "not a signed JWT: want three base64url parts with dots between them"}
	errHeader    = &Refusal{Malformed, "the header of the token is not a JSON object with alg"}
	errCritical  = &Refusal{Malformed, "the header of the token has crit: no extension is known here"}
	errPayload   = &Refusal{Malformed, "the payload of the token is not a JSON object"}
	errAlg       = &Refusal{Algorithm, "no key is for the algorithm of the token"}
	errKey       = &Refusal{UnknownKey, "the key that the token names is not known"}
	errKid       = &Refusal{UnknownKey, "the token names no key (kid), and there are several"}
	errNoKeys    = &Refusal{NoKeys, "the keys for credentials cannot be fetched"}
	errSignature = &Refusal{Signature, "the signature does not fit"}
	errTwice     = &Refusal{Claims, "a claim, or a member of the header, is there twice"}
	errSub       = &Refusal{Claims, "sub must be a string of 1 to 256 bytes of printable ASCII without spaces"}
	errExp       = &Refusal{Claims, "exp must be a number: seconds since 1970"}
	errNbf       = &Refusal{Claims, "nbf must be a number: seconds since 1970"}
	errIss       = &Refusal{Claims, "iss must be a string"}
	errAud       = &Refusal{Claims, "aud must be a string or a list of strings"}
	errChannels  = &Refusal{Claims, `channels must be a list like [{"match": "board:*", "allow": ["sub"]}]`}
	errAction    = &Refusal{Claims, "an action in channels is none of sub, pub, req and who"}
	errPattern   = &Refusal{Claims, "a match in channels has more than 1024 bytes"}
	errExpired   = &Refusal{Expired, "the token has expired"}
	errNotYet    = &Refusal{NotYetValid, "the token is not valid yet"}
	errAudience  = &Refusal{Audience, "the token is for another audience"}
	errIssuer    = &Refusal{Issuer, "the token is of another issuer"}
)
