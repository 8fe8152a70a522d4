// Package stack runs the system under test as real processes, with a breakable link at each seam.
//
//	single     clients ═▶ gateway-1, gateway-2 ═▶ redis ◀═ backend-1, backend-2          ═▶ is a link
//	sentinel   clients ═▶ gateway-1, gateway-2 ─┬─▶ sentinel-1, -2, -3
//	                      backend-1, backend-2 ─┴─▶ ═▶ redis-a, ═▶ redis-b               whoever is the master
//
// With sentinels the addresses are Redis's own to announce, so each server has one link in front that everybody uses, the
// other server and the sentinels too: to cut it is to cut that server off. There is one replica, and the gateways acknowledge what it has.
// A Stack owns its processes and links, and a directory with their data and logs. Close ends them all.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/link"
	"github.com/millracehq/millrace/e2e/faults/internal/plan"
	"github.com/millracehq/millrace/internal/freeport"
)

// Config of a stack.
type Config struct {
	Mode  plan.Mode
	Dir   string            // for data and logs, exists
	Bin   string            // where gateway and backend are
	Fsync string            // appendfsync of Redis
	Note  func(text string) // is told what nobody asked for; may be called concurrently
}

// readyTimeout of one program at the start of the stack.
const readyTimeout = 30 * time.Second

// Stack is the running system.
type Stack struct {
	cfg       Config
	programs  map[string]*Process // gateways and backends
	servers   []*server
	sentinels []*Process
	asking    []string              // addresses of the sentinels
	links     map[string]*link.Link // by the names of package plan
	ports     []int                 // free ones that are left
	adminOf   map[string]string
}

// Start starts everything and waits until all of it is ready.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed: apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora), brew install redis (macOS)")
	}
	s := &Stack{cfg: cfg, programs: map[string]*Process{}, links: map[string]*link.Link{}, adminOf: map[string]string{}}
	if s.ports, err = freeport.Find(20); err != nil {
		return nil, err
	}
	err = s.startRedis(ctx, redis)
	if err == nil {
		err = s.startPrograms(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends all processes and links.
func (s *Stack) Close() {
	for _, p := range s.programs {
		p.Continue()
		p.Kill()
	}
	for _, p := range s.sentinels {
		p.Kill()
	}
	for _, r := range s.servers {
		r.Kill()
	}
	for _, l := range s.links {
		l.Close()
	}
}

func (s *Stack) process(name, path string, up func(context.Context) error, args ...string) *Process {
	return &Process{Name: name, path: path, args: args, log: filepath.Join(s.cfg.Dir, name+".log"), up: up, note: s.cfg.Note}
}

func (s *Stack) startPrograms(ctx context.Context) error {
	for i := range 2 {
		if err := s.addProgram(fmt.Sprintf("gateway-%d", i+1), "gateway"); err != nil {
			return err
		}
		if err := s.addProgram(fmt.Sprintf("backend-%d", i+1), "backend"); err != nil {
			return err
		}
	}
	for _, p := range s.programs {
		p.Start()
	}
	for _, p := range s.programs {
		if err := p.Ready(ctx, readyTimeout); err != nil {
			return err
		}
	}
	return nil
}

// addProgram makes one of ours, with its links.
func (s *Stack) addProgram(name, binary string) error {
	path, err := filepath.Abs(filepath.Join(s.cfg.Bin, binary))
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	redis, err := s.redisFor(name)
	if err != nil {
		return err
	}
	health := s.addr()
	up := func(ctx context.Context) error { return ready(ctx, "http://"+health+"/readyz") }
	if binary == "backend" {
		s.programs[name] = s.process(name, path, up, "--redis", redis, "--listen", health)
		return nil
	}
	listen := s.addr()
	args := []string{"--redis", redis, "--listen", listen, "--admin", health, "--auth", "none", "--node", name}
	if s.cfg.Mode == plan.Sentinel {
		args = append(args, "--durable-replicas", "1")
	}
	s.programs[name] = s.process(name, path, up, args...)
	return s.addLink("client>"+name, listen)
}

func (s *Stack) addLink(name, target string) error {
	l, err := link.New(target)
	if err == nil {
		s.links[name] = l
	}
	return err
}

// Gateways are the WebSocket addresses, as clients reach them.
func (s *Stack) Gateways() []string {
	return []string{"ws://" + s.links["client>gateway-1"].Addr() + "/ws", "ws://" + s.links["client>gateway-2"].Addr() + "/ws"}
}

// Process is a program or the server that has a role now, by its name in package plan.
func (s *Stack) Process(ctx context.Context, target string) (*Process, error) {
	if p := s.programs[target]; p != nil {
		return p, nil
	}
	r, err := s.role(ctx, target)
	if err != nil {
		return nil, err
	}
	return r.Process, nil
}

// Link is a link by its name in package plan.
func (s *Stack) Link(ctx context.Context, target string) (*link.Link, error) {
	if l := s.links[target]; l != nil {
		return l, nil
	}
	r, err := s.role(ctx, target)
	if err != nil {
		return nil, err
	}
	return s.links[r.Name], nil
}

// Calm ends whatever is still broken and waits until everything is ready.
func (s *Stack) Calm(ctx context.Context, limit time.Duration) error {
	for _, l := range s.links {
		l.Heal()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, p := range s.processes() {
		p.Continue()
		p.Start()
	}
	if err := s.Healthy(ctx); err != nil {
		return err
	}
	for _, p := range s.programs {
		if err := p.Ready(ctx, limit); err != nil {
			return err
		}
	}
	return nil
}

// Counts are how often processes were started after the first time, and how often they ended though nobody asked them to.
func (s *Stack) Counts() (restarts, deaths int) {
	for _, p := range s.processes() {
		n, d := p.Counts()
		restarts += max(n-1, 0)
		deaths += d
	}
	return restarts, deaths
}

func (s *Stack) processes() []*Process {
	var list []*Process
	for _, r := range s.servers {
		list = append(list, r.Process)
	}
	list = append(list, s.sentinels...)
	for _, p := range s.programs {
		list = append(list, p)
	}
	return list
}

// addr takes a free address.
func (s *Stack) addr() string {
	port := s.ports[0]
	s.ports = s.ports[1:]
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
