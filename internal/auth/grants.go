package auth

// Action is something a client may do with a channel.
type Action uint8

// Actions, as in the claim "channels".
const (
	Sub Action = 1 << iota
	Pub
	Req
	Who
	All = Sub | Pub | Req | Who
)

var actions = map[string]Action{"sub": Sub, "pub": Pub, "req": Req, "who": Who}

// Grants say what is allowed: any one that fits is enough.
type Grants []Grant

// Grant allows actions on the channels that fit a pattern, in which * stands for any bytes, none included:
// {"match":"board:*","allow":["sub","pub"]}.
type Grant struct {
	Match string
	allow Action
}

// May reports whether an action on channel is allowed. It does not allocate.
func (id *Identity) May(a Action, channel []byte) bool {
	for g := id.text[id.user:]; g != ""; {
		end := 3 + int(g[1])<<8 + int(g[2])
		if Action(g[0])&a != 0 && match(g[3:end], channel) {
			return true
		}
		g = g[end:]
	}
	return false
}

// match is the usual two-pointer walk: after a mismatch the last * takes one byte more. Time is at most
// len(pattern) * len(s), and both are short.
func match(pattern string, s []byte) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
