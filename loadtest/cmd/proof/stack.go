package main

import (
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
	"syscall"

	"github.com/millracehq/millrace/internal/freeport"
)

// stack is the system under measurement: one process of each kind.
type stack struct {
	redis, gateway, backend *process
	url                     string // of the WebSocket
	admin                   string // of the gateway, http://HOST:PORT
	redisAddr               string // HOST:PORT
	pollURL                 string // of the poll server, once it is started

	dir, bin    string
	gatewayArgs []string
	pollserver  *process // nil: none
}

// startStack starts everything and waits until it is ready; config is the text of the gateway's configuration file, if it is to
// have one. Redis writes its log to disk once a second, as it does in production.
func startStack(ctx context.Context, dir, bin, config string) (s *stack, err error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed: apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora), brew install redis (macOS)")
	}
	dir, err = os.MkdirTemp(dir, "stack")
	if err != nil {
		return nil, err
	}
	ports, err := freeport.Find(4)
	if err != nil {
		return nil, err
	}
	addr := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	redis := "redis://" + addr(0) + "/0"
	s = &stack{url: "ws://" + addr(1) + "/ws", admin: "http://" + addr(2), redisAddr: addr(0), dir: dir, bin: bin}
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
	args := []string{"--listen", addr(1), "--admin", addr(2), "--redis", redis, "--auth", "none", "--node", "proof"}
	if config != "" {
		file := filepath.Join(dir, "gateway.yaml")
		if err = os.WriteFile(file, []byte(config), 0o644); err != nil {
			return s, err
		}
		args = append(args, "--config", file)
	}
	s.gatewayArgs = args
	if err = s.startGateway(); err != nil {
		return s, err
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

func (s *stack) startGateway() (err error) {
	if s.gateway, err = startProcess(s.dir, "gateway", filepath.Join(s.bin, "gateway"), s.gatewayArgs...); err != nil {
		err = fmt.Errorf("%w (make build makes it)", err)
	}
	return err
}

// restartGateway ends the gateway by a signal and starts it again once it is gone.
func (s *stack) restartGateway(ctx context.Context, by syscall.Signal) error {
	if err := s.gateway.cmd.Process.Signal(by); err != nil {
		return err
	}
	select {
	case <-s.gateway.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.gateway.log.Close()
	if err := s.startGateway(); err != nil {
		return err
	}
	return s.gateway.ready(ctx, func() error { _, err := get(ctx, s.admin+"/readyz"); return err })
}

// startPollServer starts the polling baseline on the same streams.
func (s *stack) startPollServer(ctx context.Context) error {
	ports, err := freeport.Find(1)
	if err != nil {
		return err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	s.pollURL = "http://" + addr + "/poll"
	s.pollserver, err = startProcess(s.dir, "pollserver", filepath.Join(s.bin, "pollserver"), "--listen", addr, "--redis", "redis://"+s.redisAddr+"/0")
	if err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	return s.pollserver.ready(ctx, func() error { _, err := get(ctx, "http://"+addr+"/readyz"); return err })
}

// stop ends the processes, last started first.
func (s *stack) stop() {
	for _, p := range []*process{s.pollserver, s.backend, s.gateway, s.redis} {
		if p != nil {
			p.stop()
		}
	}
}

func pingRedis(ctx context.Context, addr string) error {
	answer, err := askRedis(ctx, addr, "PING")
	if err == nil && answer != "PONG" {
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

// metric asks the gateway for one of its metrics, NAME or NAME{LABEL="VALUE"}.
func (s *stack) metric(ctx context.Context, name string) (float64, error) {
	text, err := get(ctx, s.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("the gateway's metrics have no %s", name)
}

// pollMemory is the same of the poll server.
func (s *stack) pollMemory(ctx context.Context) (int64, error) {
	if _, err := get(ctx, strings.TrimSuffix(s.pollURL, "/poll")+"/debug/gc"); err != nil {
		return 0, err
	}
	return s.pollserver.anonymous()
}

// memory is the gateway's anonymous memory after a collection, bytes.
func (s *stack) memory(ctx context.Context) (int64, error) {
	if _, err := get(ctx, s.admin+"/debug/gc"); err != nil {
		return 0, err
	}
	return s.gateway.anonymous()
}
