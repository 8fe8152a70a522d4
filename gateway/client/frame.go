package client

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Frame is one frame as it came.
type Frame struct {
	Binary bool   // the WebSocket message was binary, not text
	Head   string // the head line, without its LF
	Body   []byte // what follows the LF; empty when there is none
}

func parseFrame(binary bool, p []byte) Frame {
	head, body, _ := bytes.Cut(p, []byte{'\n'})
	return Frame{Binary: binary, Head: string(head), Body: body}
}

// Verb is the first token of the head.
func (f Frame) Verb() string { return f.token(0) }

// token is the i-th token of the head, or "".
func (f Frame) token(i int) string {
	rest := f.Head
	for range i {
		_, rest, _ = strings.Cut(rest, " ")
	}
	token, _, _ := strings.Cut(rest, " ")
	return token
}

// text is what follows the first i tokens: the free text at the end of some heads.
func (f Frame) text(i int) string {
	rest := f.Head
	for range i {
		_, rest, _ = strings.Cut(rest, " ")
	}
	return rest
}

// codeText reads "CODE text…" from the i-th token on.
func (f Frame) codeText(i int) *Error {
	code, _ := strconv.Atoi(f.token(i))
	return &Error{Code: code, Text: f.text(i + 1)}
}

// bye reads "bye CODE DELAY_MS text…".
func (f Frame) bye() *Bye {
	code, _ := strconv.Atoi(f.token(1))
	delay, _ := strconv.Atoi(f.token(2))
	return &Bye{Code: code, Delay: time.Duration(delay) * time.Millisecond, Text: f.text(3)}
}

// checkToken refuses what would break a head apart; what a token may hold beyond that, the gateway says.
func checkToken(name, token string) error {
	if token == "" {
		return &Error{Code: 400, Text: name + " is empty"}
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return &Error{Code: 400, Text: fmt.Sprintf("%s %q: byte %d is not printable ASCII", name, token, i)}
		}
	}
	return nil
}
