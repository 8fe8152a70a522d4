package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// AppendOK appends "ok REF" or "ok REF POSITION".
func AppendOK(dst []byte, ref uint64, position []byte) []byte {
	dst = strconv.AppendUint(append(dst, "ok "...), ref, 10)
	return appendToken(dst, position)
}

// AppendErr appends "err REF CODE text"; ref 0 becomes "-". The text is made fit for a head: one line, printable.
func AppendErr(dst []byte, ref uint64, code Code, text string) []byte {
	dst = append(dst, "err "...)
	if ref == 0 {
		dst = append(dst, NoRef...)
	} else {
		dst = strconv.AppendUint(dst, ref, 10)
	}
	return appendText(appendCode(dst, code), text)
}

// AppendRes appends the head of "res REF" and its LF; the body comes behind it.
func AppendRes(dst []byte, ref uint64) []byte {
	return append(strconv.AppendUint(append(dst, "res "...), ref, 10), '\n')
}

// AppendMsg appends the head of "msg CHANNEL POSITION" and its LF; the body comes behind it.
func AppendMsg[T ~string | ~[]byte](dst []byte, channel T, position []byte) []byte {
	dst = append(append(dst, "msg "...), channel...)
	return append(appendToken(dst, position), '\n')
}

// AppendGap appends "gap CHANNEL POSITION".
func AppendGap[T ~string | ~[]byte](dst []byte, channel T, position []byte) []byte {
	return appendToken(append(append(dst, "gap "...), channel...), position)
}

// AppendPong appends "pong" or "pong REF".
func AppendPong(dst []byte, ref uint64) []byte {
	dst = append(dst, "pong"...)
	if ref == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, ' '), ref, 10)
}

// AppendBye appends "bye CODE DELAY_MS text".
func AppendBye(dst []byte, code Code, delayMS int, text string) []byte {
	dst = appendCode(append(dst, "bye"...), code)
	dst = strconv.AppendInt(append(dst, ' '), int64(delayMS), 10)
	return appendText(dst, text)
}

// AppendRevoke appends "revoke CHANNEL CODE text".
func AppendRevoke[T ~string | ~[]byte](dst []byte, channel T, code Code, text string) []byte {
	return appendText(appendCode(append(append(dst, "revoke "...), channel...), code), text)
}

// AppendHello appends "hello SESSION" LF and json.
func AppendHello(dst []byte, session string, json []byte) []byte {
	return append(append(append(append(dst, "hello "...), session...), '\n'), json...)
}

func appendToken(dst, token []byte) []byte {
	if len(token) == 0 {
		return dst
	}
	return append(append(dst, ' '), token...)
}

func appendCode(dst []byte, code Code) []byte {
	return strconv.AppendInt(append(dst, ' '), int64(code), 10)
}

// maxText leaves room for the tokens before it.
const maxText = MaxHead - 256

// appendText appends a space and text, cut to what a head holds, with anything that is not printable ASCII, and
// spaces in a row, made one space.
func appendText(dst []byte, text string) []byte {
	gap := true
	for i := 0; i < len(text) && i < maxText; i++ {
		if b := text[i]; b > 0x20 && b < 0x7f {
			if gap {
				dst = append(dst, ' ')
				gap = false
			}
			dst = append(dst, b)
		} else {
			gap = true
		}
	}
	return dst
}

// Push is one frame from the gateway, cut into its tokens: what a client reads.
type Push struct {
	Verb   string   // hello ok err res msg gap join leave revoke bye pong
	Tokens []string // behind the verb
	Body   []byte   // a part of the frame
}

// ParsePush reads a frame from the gateway. It checks what every client relies on: the grammar of the head.
func ParsePush(frame []byte) (Push, error) {
	head, body, _ := strings.Cut(string(frame), "\n")
	if len(head) > MaxHead {
		return Push{}, errHeadLong
	}
	tokens := strings.Split(head, " ")
	for _, token := range tokens {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			return Push{}, fmt.Errorf("%w: %.80q", errHeadBytes, head)
		}
	}
	return Push{Verb: tokens[0], Tokens: tokens[1:], Body: frame[len(frame)-len(body):]}, nil
}
