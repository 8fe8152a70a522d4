package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// stack is the system under measurement: one process of each kind.
type stack struct {
	redis, gateway, backend *process
	url                     string // of the WebSocket
	admin                   string // of the gateway, http://HOST:PORT
}

// startStack starts everything and waits until it is ready. Redis writes its log to disk once a second, as it does in production.
func startStack(ctx context.Context, dir, bin string) (s *stack, err error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed: apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora), brew install redis (macOS)")
	}
	dir, err = os.MkdirTemp(dir, "stack")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	addr := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	redis := "redis://" + addr(0) + "/0"
	s = &stack{url: "ws://" + addr(1) + "/ws", admin: "http://" + addr(2)}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	s.redis, err = startProcess(dir, "redis-server", server,
		"--bind", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
	if err != nil {
		return s, err
	}
	if err = s.redis.ready(ctx, func() error { return pingRedis(ctx, addr(0)) }); err != nil {
		return s, err
	}
	s.gateway, err = startProcess(dir, "gateway", filepath.Join(bin, "gateway"),
		"--listen", addr(1), "--admin", addr(2), "--redis", redis, "--auth", "none", "--node", "proof")
	if err != nil {
		return s, fmt.Errorf("%w (make build makes it)", err)
	}
	s.backend, err = startProcess(dir, "backend", filepath.Join(bin, "backend"), "--redis", redis, "--listen", addr(3))
	if err != nil {
		return s, fmt.Errorf("%w (make build makes it)", err)
	}
	for p, url := range map[*process]string{s.gateway: s.admin + "/readyz", s.backend: "http://" + addr(3) + "/readyz"} {
		if err = p.ready(ctx, func() error { _, err := get(ctx, url); return err }); err != nil {
			return s, err
		}
	}
	return s, nil
}

// stop ends the processes, last started first.
func (s *stack) stop() {
	for _, p := range []*process{s.backend, s.gateway, s.redis} {
		if p != nil {
			p.stop()
		}
	}
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // takes no time
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:revive // all are held until each has its own
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func pingRedis(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && answer != "+PONG\r\n" {
		err = fmt.Errorf("it answers %q", answer)
	}
	return err
}

func get(ctx context.Context, url string) (body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, strings.TrimSpace(string(b)))
	}
	return string(b), err
}

// goroutines asks the gateway's metrics.
func (s *stack) goroutines(ctx context.Context) (int, error) {
	text, err := get(ctx, s.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("the gateway's metrics have no go_goroutines")
}

// memory is the gateway's anonymous memory after a collection, bytes.
func (s *stack) memory(ctx context.Context) (int64, error) {
	if _, err := get(ctx, s.admin+"/debug/gc"); err != nil {
		return 0, err
	}
	return s.gateway.anonymous()
}
