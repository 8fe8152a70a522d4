package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// system is two gateways and their Redis.
type system struct {
	at    gateways
	redis *miniredis.Miniredis
	dir   string
	all   []*process
}

type process struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer // Guarded by mu.
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

const namespaces = "namespaces:\n  direct: {publish: direct}\n  raw: {publish: direct, compress: false}\n"

// start starts everything; binary is the gateway.
func start(ctx context.Context, binary string) (s *system, err error) {
	s = &system{redis: miniredis.NewMiniRedis()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := s.redis.Start(); err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "conformance"); err != nil {
		return s, err
	}
	file := filepath.Join(s.dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(namespaces), 0o600); err != nil {
		return s, err
	}
	args := []string{"--config", file, "--redis", "redis://" + s.redis.Addr() + "/0"}
	if s.at.compressing, err = s.gateway(ctx, binary, append(args, "--compression")); err != nil {
		return s, err
	}
	s.at.plain, err = s.gateway(ctx, binary, append(args, "--origins", "https://app.example,https://*.apps.example"))
	return s, err
}

// gateway starts one and returns its address when it is ready.
func (s *system) gateway(ctx context.Context, binary string, args []string) (addr string, err error) {
	addr, err = freeAddr()
	if err != nil {
		return "", err
	}
	admin, err := freeAddr()
	if err != nil {
		return "", err
	}
	p := &process{}
	p.cmd = exec.Command(binary, append([]string{"--listen", addr, "--admin", admin}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return "", err
	}
	s.all = append(s.all, p)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if res, err := http.Get("http://" + admin + "/readyz"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return addr, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("the gateway is not ready within 15 s:\n%s", p.log())
		}
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// freeAddr is an address on loopback that nobody listened on a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// stop ends everything. It is an error if a gateway did not end as asked, or has panicked on the way.
func (s *system) stop() error {
	var errs []error
	for _, p := range s.all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		stuck := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
		if err := p.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("gateway: %w\n%s", err, p.log()))
		} else if bytes.Contains([]byte(p.log()), []byte("panic")) {
			errs = append(errs, fmt.Errorf("the gateway has panicked:\n%s", p.log()))
		}
		stuck.Stop()
	}
	s.redis.Close()
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
