package contest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millracehq/millrace/internal/freeport"
)

// Names of the processes, as they stand in the results.
const (
	Server  = "server"
	Redis   = "redis"
	Backend = "backend"
)

// Stack is one contestant, running.
type Stack struct {
	Remote netip.AddrPort // of the WebSocket
	Token  string         // for the handshake, "" for none

	names     []string // of processes, in the order in which they were started
	processes map[string]*Process
	collect   func(context.Context) error
}

// secret signs the tokens of connections that carry one.
const secret = "a secret of the benchmark, which nobody needs to keep"

// Start starts c and returns when it takes connections; files go into dir.
func (c Contestant) Start(ctx context.Context, p Paths, dir string) (s *Stack, err error) {
	s = &Stack{processes: make(map[string]*Process)}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	addr, err := freeAddresses(4)
	if err != nil {
		return s, err
	}
	s.Remote = addr[0]
	redis := "redis://" + addr[1].String() + "/0"
	if c.redis {
		port := fmt.Sprint(addr[1].Port())
		err = s.add(ctx, dir, Redis, reachable(addr[1]), nil, "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir,
			"--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
		if err != nil {
			return s, err
		}
	}
	switch c.program {
	case gatewayProgram:
		err = s.gateway(ctx, c, p, dir, redis, addr[2].String())
	case nodeProgram:
		script := filepath.Join(p.socketio(), "server.mjs")
		err = s.add(ctx, dir, Server, reachable(s.Remote), []string{"NODE_ENV=production"}, "node", "--expose-gc", script, fmt.Sprint(s.Remote.Port()), redis)
	default:
		err = s.add(ctx, dir, Server, reachable(s.Remote), nil, filepath.Join(p.Bin, c.program), "--listen", s.Remote.String())
	}
	if err == nil && c.backend {
		address := addr[3].String()
		err = s.add(ctx, dir, Backend, answers("http://"+address+"/readyz"), nil, filepath.Join(p.Bin, "backend"), "--redis", redis, "--listen", address)
	}
	return s, err
}

func (s *Stack) gateway(ctx context.Context, c Contestant, p Paths, dir, redis, admin string) error {
	args := []string{"--listen", s.Remote.String(), "--admin", admin, "--redis", redis, "--node", "bench"}
	env := c.env
	if c.Token {
		args = append(args, "--auth", "jwt")
		env = append(env, "MILLRACE_JWT_SECRET="+secret)
		var err error
		if s.Token, err = token(); err != nil {
			return err
		}
	}
	s.collect = answers("http://" + admin + "/debug/gc")
	return s.add(ctx, dir, Server, answers("http://"+admin+"/readyz"), env, cmp.Or(c.binary, filepath.Join(p.Bin, "gateway")), append(args, c.args...)...)
}

func (s *Stack) add(ctx context.Context, dir, name string, check func(context.Context) error, env []string, path string, args ...string) error {
	p, err := start(dir, name, env, path, args...)
	if err != nil {
		return err
	}
	s.names = append(s.names, name)
	s.processes[name] = p
	return p.until(ctx, func() error { return check(ctx) })
}

// Stop ends the processes, last started first.
func (s *Stack) Stop() {
	for _, name := range slices.Backward(s.names) {
		s.processes[name].stop()
	}
}

// CPU is the processor time of each process so far.
func (s *Stack) CPU() (map[string]time.Duration, error) {
	used := make(map[string]time.Duration)
	for name, p := range s.processes {
		var err error
		if used[name], err = p.cpu(); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// Memory is the anonymous memory of the server after a collection, in bytes.
func (s *Stack) Memory(ctx context.Context) (int64, error) {
	p := s.processes[Server]
	collect := s.collect
	if collect == nil {
		collect = p.collect
	}
	if err := collect(ctx); err != nil {
		return 0, err
	}
	return p.anonymous()
}

// token may do everything.
func token() (string, error) {
	claims := jwt.MapClaims{
		"sub": "bench", "exp": time.Now().Add(24 * time.Hour).Unix(),
		"channels": []any{map[string]any{"match": "direct:*", "allow": []string{"sub", "pub", "req"}}},
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
}

// freeAddresses are n addresses of 127.0.0.1 that nobody listens on.
func freeAddresses(n int) (list []netip.AddrPort, err error) {
	ports, err := freeport.Find(n)
	for _, port := range ports {
		list = append(list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
	}
	return list, err
}

func reachable(addr netip.AddrPort) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// answers says whether url answers 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s answers %s: %s", url, resp.Status, strings.TrimSpace(string(text)))
		}
		return err
	}
}
