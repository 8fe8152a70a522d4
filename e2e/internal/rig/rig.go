// Package rig runs gateways of this tree for programs that measure and test them from outside: real processes, with a Redis in this
// process. Whoever starts a Rig stops it; nothing outlives that.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/millracehq/millrace/internal/freeport"
)

// Rig is a Redis, and the gateways that were started on it.
type Rig struct {
	redis *miniredis.Miniredis
	dir   string
	all   []*process
}

// Gateway is where one listens.
type Gateway struct{ Addr, Admin string } // HOST:PORT

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

// New starts the Redis. Stop must be called, also after an error of Start.
func New() (*Rig, error) {
	r := &Rig{redis: miniredis.NewMiniRedis()}
	if err := r.redis.Start(); err != nil {
		return nil, err
	}
	var err error
	if r.dir, err = os.MkdirTemp("", "millrace-rig"); err != nil {
		r.redis.Close()
		return nil, err
	}
	return r, nil
}

// readyTimeout is how long a gateway may take to be ready.
const readyTimeout = 15 * time.Second

// Start starts a gateway, of that program and with that configuration file and flags, and returns when it is ready.
func (r *Rig) Start(ctx context.Context, program, config string, flags ...string) (Gateway, error) {
	var g Gateway
	var err error
	if g.Addr, err = freeport.Addr(); err != nil {
		return g, err
	}
	if g.Admin, err = freeport.Addr(); err != nil {
		return g, err
	}
	file := filepath.Join(r.dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return g, err
	}
	p := &process{}
	p.cmd = exec.Command(program, append([]string{"--config", file, "--redis", "redis://" + r.redis.Addr() + "/0", "--listen", g.Addr, "--admin", g.Admin}, flags...)...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return g, err
	}
	r.all = append(r.all, p)
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if res, err := http.Get("http://" + g.Admin + "/readyz"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return g, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return g, fmt.Errorf("the gateway is not ready within %v:\n%s", readyTimeout, p.log())
		}
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Stop ends everything. It is an error if a gateway did not end as asked, or has panicked on the way.
func (r *Rig) Stop() error {
	var errs []error
	for _, p := range r.all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		stuck := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
		if err := p.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("gateway: %w\n%s", err, p.log()))
		} else if bytes.Contains([]byte(p.log()), []byte("panic")) {
			errs = append(errs, fmt.Errorf("the gateway has panicked:\n%s", p.log()))
		}
		stuck.Stop()
	}
	r.redis.Close()
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}
