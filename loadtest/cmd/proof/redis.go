package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// calls are how often Redis has carried out each command.
type calls map[string]int64

// askRedis sends one inline command and returns the answer: a status without its "+", or a bulk string.
func askRedis(ctx context.Context, addr, command string) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	head, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	head = strings.TrimSpace(head)
	if size, ok := strings.CutPrefix(head, "$"); ok {
		n, err := strconv.ParseUint(size, 10, 24)
		if err != nil {
			return "", fmt.Errorf("it answers %q", head)
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return string(b), err
	}
	if status, ok := strings.CutPrefix(head, "+"); ok {
		return status, nil
	}
	return "", fmt.Errorf("it answers %q", head)
}

// redisCalls asks Redis for its command statistics.
func redisCalls(ctx context.Context, addr string) (calls, error) {
	text, err := askRedis(ctx, addr, "INFO commandstats")
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return parseCalls(text), nil
}

// parseCalls reads lines such as "cmdstat_xadd:calls=5,usec=9,…". INFO is left out: only the proof asks for it.
func parseCalls(text string) calls {
	c := make(calls)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok || name == "info" {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		c[name], _ = strconv.ParseInt(n, 10, 64)
	}
	return c
}

func (c calls) since(from calls) calls {
	d := make(calls)
	for name, n := range c {
		if n != from[name] {
			d[name] = n - from[name]
		}
	}
	return d
}

// beyond is how many more calls there were than in other, summed over the commands of which there were more.
func (c calls) beyond(other calls) (n int64) {
	for name := range c {
		n += max(c[name]-other[name], 0)
	}
	return n
}
