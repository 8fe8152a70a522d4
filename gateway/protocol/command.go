package protocol

import (
	"bytes"
	"strconv"
)

// Verb is the first token of a command.
type Verb uint8

// Verbs of commands.
const (
	VerbNone Verb = iota
	VerbSub
	VerbUnsub
	VerbPub
	VerbReq
	VerbWho
	VerbAuth
	VerbPing
	verbCount
)

var verbNames = [verbCount]string{"", "sub", "unsub", "pub", "req", "who", "auth", "ping"}

func (v Verb) String() string { return verbNames[v] }

// Command is one frame from a client. The slices are parts of the frame.
type Command struct {
	Verb     Verb
	Ref      uint64 // 0: "-" or absent
	Answer   bool   // false where the REF was "-"
	Presence bool   // sub
	Channel  []byte // sub unsub pub req who
	Position []byte // sub; nil: none
	ID       []byte // pub req; nil: none
	Token    []byte // auth
	Body     []byte // pub req
}

// Error is a command that breaks the grammar: the text is for the person who wrote the client. Ref is that of the
// command when it could be read.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return strconv.Itoa(int(e.Code)) + " " + e.Text }

func malformed(text string) *Error { return &Error{CodeMalformed, text} }

// The errors are made once: a flood of bad commands allocates nothing.
var (
	errHeadLong  = malformed("the head is over 1024 bytes")
	errHeadBytes = malformed("the head is not printable ASCII with single spaces")
	errVerb      = malformed("unknown verb; known are sub unsub pub req who auth ping")
	errRef       = malformed("the second token must be a REF: a decimal from 1 to 9007199254740991, or -")
	errMissing   = malformed("a token is missing")
	errExtra     = malformed("too many tokens")
	errChannel   = malformed("bad channel: 1 to 128 of A-Z a-z 0-9 _ - . : / @ = , ~")
	errSystem    = &Error{CodeForbidden, "channels that begin with $ belong to the system"}
	errPosition  = malformed("bad position: hand back what the server gave, or -")
	errID        = malformed("bad id: 1 to 64 bytes")
	errPresence  = malformed("the fifth token of sub can only be presence")
)

// ParseCommand reads a frame into c. With an error, c still has Verb, Ref and Answer as far as they could be read.
func ParseCommand(frame []byte, c *Command) *Error {
	*c = Command{}
	head, body, _ := bytes.Cut(frame, []byte{'\n'})
	if len(head) > MaxHead {
		return errHeadLong
	}
	var tokens [6][]byte
	n, ok := split(head, &tokens)
	if !ok {
		return errHeadBytes
	}
	if c.Verb = parseVerb(tokens[0]); c.Verb == VerbNone {
		return errVerb
	}
	if n == 1 && c.Verb == VerbPing {
		c.Answer = true
		return nil
	}
	if n == 1 {
		return errRef
	}
	if c.Ref, c.Answer, ok = parseRef(tokens[1]); !ok {
		return errRef
	}
	c.Body = body
	return c.parseArguments(tokens[2:max(2, min(n, len(tokens)))], n > len(tokens))
}

func (c *Command) parseArguments(args [][]byte, more bool) *Error {
	least, most := 1, 1
	switch c.Verb {
	case VerbPing:
		least, most = 0, 0
	case VerbSub:
		most = 3
	case VerbPub, VerbReq:
		most = 2
	}
	switch {
	case len(args) < least:
		return errMissing
	case len(args) > most || more:
		return errExtra
	case c.Verb == VerbPing:
		return nil
	case c.Verb == VerbAuth:
		c.Token = args[0]
		return nil
	}
	if err := CheckChannel(args[0]); err != nil {
		return err
	}
	c.Channel = args[0]
	if len(args) == 1 {
		return nil
	}
	if c.Verb != VerbSub {
		if len(args[1]) > MaxID {
			return errID
		}
		c.ID = args[1]
		return nil
	}
	if string(args[1]) != NoRef {
		if len(args[1]) > MaxPosition {
			return errPosition
		}
		c.Position = args[1]
	}
	if len(args) == 3 {
		if string(args[2]) != "presence" {
			return errPresence
		}
		c.Presence = true
	}
	return nil
}

// split cuts head at its spaces into at most len(tokens) tokens and returns how many there are; one more than fit
// says "too many". Tokens are never empty and hold printable ASCII only.
func split(head []byte, tokens *[6][]byte) (n int, ok bool) {
	start := 0
	for i := 0; i <= len(head); i++ {
		if i < len(head) && head[i] != ' ' {
			if head[i] < 0x21 || head[i] > 0x7e {
				return 0, false
			}
			continue
		}
		if i == start {
			return 0, false
		}
		if n < len(tokens) {
			tokens[n] = head[start:i]
		}
		n = min(n+1, len(tokens)+1)
		start = i + 1
	}
	return n, true
}

func parseVerb(b []byte) Verb {
	for v := VerbSub; v < verbCount; v++ {
		if string(b) == verbNames[v] {
			return v
		}
	}
	return VerbNone
}

// parseRef reads a REF: "-", or a decimal without sign or leading zeros.
func parseRef(b []byte) (ref uint64, answer, ok bool) {
	if string(b) == NoRef {
		return 0, false, true
	}
	if len(b) == 0 || len(b) > 16 || b[0] == '0' {
		return 0, false, false
	}
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false, false
		}
		ref = ref*10 + uint64(d-'0')
	}
	if ref > MaxRef {
		return 0, false, false
	}
	return ref, true, true
}

// channelBytes are the bytes that a channel may hold.
var channelBytes = func() (ok [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/@=,~") {
		ok[b] = true
	}
	return ok
}()

// CheckChannel checks the name of a channel. A leading $ is forbidden rather than malformed.
func CheckChannel(name []byte) *Error {
	if len(name) == 0 || len(name) > MaxChannel {
		return errChannel
	}
	if name[0] == '$' {
		return errSystem
	}
	for _, b := range name {
		if !channelBytes[b] {
			return errChannel
		}
	}
	return nil
}

// Namespace is the part of a channel before its first ':', or all of it when there is none.
func Namespace(channel []byte) []byte {
	if i := bytes.IndexByte(channel, ':'); i >= 0 {
		return channel[:i]
	}
	return channel
}
