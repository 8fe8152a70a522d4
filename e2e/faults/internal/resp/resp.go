// Package resp speaks to one Redis server over one connection, one command at a time, and never connects again by itself.
//
//	Dial ──▶ Do("XRANGE", …) ──▶ nil, string, int64, []any
//
// The fault runner looks at Redis with this rather than with the client of the system under test: what repeats and redirects would
// hide what there is to see. Every command has a deadline.
package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Timeout of one command.
const Timeout = 3 * time.Second

// Error is an answer that begins with a minus.
type Error string

func (e Error) Error() string { return "redis: " + string(e) }

// ErrAnswer says that the answer is not RESP2.
var ErrAnswer = errors.New("not an answer of redis")

// Conn is for one goroutine at a time.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: c, r: bufio.NewReader(c)}, nil
}

// Close ends the connection.
func (c *Conn) Close() { _ = c.conn.Close() }

// Do sends one command and reads its answer. After an error that is not an [Error] the connection is of no more use.
func (c *Conn) Do(args ...string) (any, error) {
	if err := c.conn.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return nil, err
	}
	return c.answer()
}

// Once is one command on a connection of its own.
func Once(ctx context.Context, addr string, args ...string) (any, error) {
	c, err := Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}

func (c *Conn) answer() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, ErrAnswer
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, Error(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrAnswer, line)
	}
	switch {
	case kind == ':':
		return n, nil
	case kind == '$' && n < 0, kind == '*' && n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case kind == '*':
		return c.list(n)
	}
	return nil, fmt.Errorf("%w: %q", ErrAnswer, line)
}

// list reads n answers. An error among them ends it: nothing that the runner asks for has one.
func (c *Conn) list(n int64) (any, error) {
	list := make([]any, 0, n)
	for range n {
		v, err := c.answer()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
