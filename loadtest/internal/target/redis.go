package target

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// redisSource asks a Redis for INFO. It speaks RESP2 itself: one command and one kind of answer are all that it takes.
type redisSource struct {
	address        string
	host           string
	secure         bool
	user, password string
	conn           net.Conn // nil: none
	in             *bufio.Reader
}

func openRedis(text string) (source, string, error) {
	name, err := host(text, "redis", "rediss")
	if err != nil {
		return nil, "", err
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, "", errors.New("it is not a URL")
	}
	r := &redisSource{host: u.Hostname(), address: u.Host, secure: u.Scheme == "rediss", user: u.User.Username()}
	r.password, _ = u.User.Password()
	if u.Port() == "" {
		r.address = net.JoinHostPort(r.host, "6379")
	}
	return r, name, nil
}

func (r *redisSource) close() {
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}

func (r *redisSource) read(ctx context.Context) (readings, error) {
	if r.conn == nil {
		if err := r.connect(ctx); err != nil {
			return readings{}, err
		}
	}
	info, err := r.ask(ctx, "INFO")
	if err != nil {
		r.close()
		return readings{}, err
	}
	return parseInfo(info)
}

func (r *redisSource) connect(ctx context.Context) (err error) {
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if r.secure {
		dialer = &tls.Dialer{Config: &tls.Config{ServerName: r.host}}
	}
	if r.conn, err = dialer.DialContext(ctx, "tcp", r.address); err != nil {
		r.conn = nil
		return err
	}
	r.in = bufio.NewReader(r.conn)
	if r.password == "" {
		return nil
	}
	auth := []string{"AUTH", r.password}
	if r.user != "" {
		auth = []string{"AUTH", r.user, r.password}
	}
	if _, err = r.ask(ctx, auth...); err != nil {
		r.close()
	}
	return err
}

// maxInfo bounds what a server can make us read.
const maxInfo = 1 << 20

// ask sends a command and reads a simple string or a bulk string.
func (r *redisSource) ask(ctx context.Context, command ...string) (string, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(timeout)
	}
	if err := r.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	text := fmt.Appendf(nil, "*%d\r\n", len(command))
	for _, word := range command {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := r.conn.Write(text); err != nil {
		return "", err
	}
	return readAnswer(r.in)
}

func readAnswer(in *bufio.Reader) (string, error) {
	head, err := in.ReadSlice('\n') // at most 4 kB
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	text := strings.TrimRight(string(head), "\r\n")
	if text == "" {
		return "", errors.New("an empty answer")
	}
	switch text[0] {
	case '+':
		return text[1:], nil
	case '-':
		return "", errors.New("it answers: " + text[1:])
	case '$':
		n, err := strconv.Atoi(text[1:])
		if err != nil || n < 0 || n > maxInfo {
			return "", fmt.Errorf("an answer of %q bytes", text[1:])
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(in, body); err != nil {
			return "", fmt.Errorf("answer: %w", err)
		}
		return string(body[:n]), nil
	}
	return "", fmt.Errorf("%.20q is no answer of Redis", text)
}

// parseInfo reads the fields of INFO that there are metrics of. One that is missing or no number is left out.
func parseInfo(info string) (readings, error) {
	fields := make(map[string]float64)
	for line := range strings.Lines(info) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			fields[k] = n
		}
	}
	r := readings{values: make(map[string]float64)}
	for entry, from := range map[string][]string{
		"server_redis_cpu":      {"used_cpu_user", "used_cpu_sys"},
		"server_redis_memory":   {"used_memory"},
		"server_redis_commands": {"total_commands_processed"},
		"server_redis_clients":  {"connected_clients"},
		"server_redis_received": {"total_net_input_bytes"},
		"server_redis_sent":     {"total_net_output_bytes"},
	} {
		for _, name := range from {
			if v, ok := fields[name]; ok {
				r.values[entry] += v
			}
		}
	}
	if _, ok := fields["used_memory"]; !ok {
		return r, errors.New("the answer to INFO has no used_memory in it")
	}
	return r, nil
}
