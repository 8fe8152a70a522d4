package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/plan"
	"github.com/millracehq/millrace/e2e/faults/internal/resp"
)

// masterName is what the sentinels call the pair of servers.
const masterName = "millrace"

// server is one redis-server.
type server struct {
	*Process
	addr string // its own, past the link
}

// startRedis starts one server, or two and the sentinels.
func (s *Stack) startRedis(ctx context.Context, path string) error {
	names := []string{plan.Redis}
	if s.cfg.Mode == plan.Sentinel {
		names = []string{"redis-a", "redis-b"}
	}
	for _, name := range names {
		if err := s.startServer(ctx, path, name); err != nil {
			return err
		}
	}
	if s.cfg.Mode != plan.Sentinel {
		return nil
	}
	for i := range 3 {
		if err := s.startSentinel(ctx, path, fmt.Sprintf("sentinel-%d", i+1)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return s.Healthy(ctx)
}

// startServer starts a server on a configuration file, since a sentinel writes into it who is whose replica.
func (s *Stack) startServer(ctx context.Context, path, name string) error {
	r := &server{addr: s.addr()}
	dir := filepath.Join(s.cfg.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(r.addr)
	conf := []string{
		"port " + port, "bind 127.0.0.1", "dir " + dir, `save ""`, "appendonly yes", "appendfsync " + s.cfg.Fsync,
		"repl-diskless-sync-delay 0", "repl-backlog-size 64mb",
	}
	if s.cfg.Mode == plan.Sentinel {
		if err := s.addLink(name, r.addr); err != nil {
			return err
		}
		_, announced, _ := net.SplitHostPort(s.links[name].Addr())
		conf = append(conf, "replica-announce-ip 127.0.0.1", "replica-announce-port "+announced)
		if len(s.servers) > 0 {
			_, master, _ := net.SplitHostPort(s.links[s.servers[0].Name].Addr())
			conf = append(conf, "replicaof 127.0.0.1 "+master)
		}
	}
	file, err := writeConf(dir, conf)
	if err != nil {
		return err
	}
	r.Process = s.process(name, path, func(ctx context.Context) error { return ping(ctx, r.addr) }, file)
	s.servers = append(s.servers, r)
	r.Start()
	return r.Ready(ctx, readyTimeout)
}

// startSentinel starts a sentinel that calls a server down after 2 s of silence.
func (s *Stack) startSentinel(ctx context.Context, path, name string) error {
	addr := s.addr()
	dir := filepath.Join(s.cfg.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	_, master, _ := net.SplitHostPort(s.links[s.servers[0].Name].Addr())
	file, err := writeConf(dir, []string{
		"port " + port, "bind 127.0.0.1", "protected-mode no", "dir " + dir,
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", masterName, master),
		"sentinel down-after-milliseconds " + masterName + " 2000",
		"sentinel failover-timeout " + masterName + " 6000",
	})
	if err != nil {
		return err
	}
	p := s.process(name, path, func(ctx context.Context) error { return ping(ctx, addr) }, file, "--sentinel")
	s.sentinels, s.asking = append(s.sentinels, p), append(s.asking, addr)
	p.Start()
	return p.Ready(ctx, readyTimeout)
}

func writeConf(dir string, lines []string) (string, error) {
	file := filepath.Join(dir, "redis.conf")
	return file, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// redisFor is the address of Redis for one program, and makes its link where it has one of its own.
func (s *Stack) redisFor(program string) (string, error) {
	if s.cfg.Mode == plan.Sentinel {
		return "redis+sentinel://" + strings.Join(s.asking, ",") + "/" + masterName + "/0", nil
	}
	name := program + ">redis"
	if err := s.addLink(name, s.servers[0].addr); err != nil {
		return "", err
	}
	return "redis://" + s.links[name].Addr() + "/0", nil
}

func ping(ctx context.Context, addr string) error {
	_, err := resp.Once(ctx, addr, "PING")
	return err
}

var errNoMaster = errors.New("the sentinels name no master")

// Master is the address of the server that is the master, past its link. With sentinels it is who they say.
func (s *Stack) Master(ctx context.Context) (string, error) {
	if s.cfg.Mode != plan.Sentinel {
		return s.servers[0].addr, nil
	}
	m, err := s.master(ctx)
	if err != nil {
		return "", err
	}
	return m.addr, nil
}

// master needs two of three sentinels that agree: one alone may not have heard of the last failover.
func (s *Stack) master(ctx context.Context) (*server, error) {
	votes := map[*server]int{}
	for _, addr := range s.asking {
		answer, err := resp.Once(ctx, addr, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
		pair, ok := answer.([]any)
		if err != nil || !ok || len(pair) != 2 {
			continue
		}
		for _, r := range s.servers {
			if _, port, _ := net.SplitHostPort(s.links[r.Name].Addr()); port == pair[1] {
				votes[r]++
			}
		}
	}
	for r, n := range votes {
		if n >= 2 {
			return r, nil
		}
	}
	return nil, errNoMaster
}

// role is the server that is meant by a name of package plan: redis, redis-master, redis-replica, the latter two with -link too.
func (s *Stack) role(ctx context.Context, target string) (*server, error) {
	target = strings.TrimSuffix(target, "-link")
	if target == plan.Redis && len(s.servers) == 1 {
		return s.servers[0], nil
	}
	if s.cfg.Mode != plan.Sentinel || target != plan.RedisMaster && target != plan.RedisReplica {
		return nil, fmt.Errorf("there is no %s", target)
	}
	m, err := s.master(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range s.servers {
		if (r == m) == (target == plan.RedisMaster) {
			return r, nil
		}
	}
	panic("BUG: one server only")
}

// Failover tells a sentinel to make the replica the master.
func (s *Stack) Failover(ctx context.Context) error {
	_, err := resp.Once(ctx, s.asking[0], "SENTINEL", "FAILOVER", masterName)
	return err
}

// Healthy waits until Redis can bear a loss: it answers, and with sentinels the replica has what the master has.
func (s *Stack) Healthy(ctx context.Context) error {
	for {
		err := s.healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Stack) healthy(ctx context.Context) error {
	if s.cfg.Mode != plan.Sentinel {
		return ping(ctx, s.servers[0].addr)
	}
	m, err := s.master(ctx)
	if err != nil {
		return err
	}
	answer, err := resp.Once(ctx, m.addr, "INFO", "replication")
	if err != nil {
		return err
	}
	text, _ := answer.(string)
	if !strings.Contains(text, "role:master") || !strings.Contains(text, "state=online") {
		return errors.New("the master has no replica that is online")
	}
	for _, r := range s.servers {
		if r == m {
			continue
		}
		answer, err := resp.Once(ctx, r.addr, "INFO", "replication")
		if err != nil {
			return err
		}
		if text, _ := answer.(string); !strings.Contains(text, "master_link_status:up") {
			return errors.New("the replica has no link to the master")
		}
	}
	return s.sentinelsKnow(ctx)
}

// sentinelsKnow: a sentinel that has not found the replica and the others can fail nobody over. And one that has not noticed yet, which
// takes up to 10 s, that a former master is a replica now would undo a failover to it.
func (s *Stack) sentinelsKnow(ctx context.Context) error {
	for i, addr := range s.asking {
		answer, err := resp.Once(ctx, addr, "SENTINEL", "CKQUORUM", masterName)
		if err != nil {
			return fmt.Errorf("sentinel-%d: %w", i+1, err)
		}
		if text, _ := answer.(string); !strings.HasPrefix(text, "OK 3") {
			return fmt.Errorf("sentinel-%d: %s", i+1, text)
		}
		answer, err = resp.Once(ctx, addr, "SENTINEL", "REPLICAS", masterName)
		if err != nil {
			return err
		}
		if list, _ := answer.([]any); len(list) != 1 || value(list[0], "flags") != "slave" || value(list[0], "role-reported") != "slave" {
			return fmt.Errorf("sentinel-%d does not see the replica as one", i+1)
		}
	}
	return nil
}

// value is one of a flat list of names and values.
func value(list any, name string) any {
	flat, _ := list.([]any)
	for i := 0; i+1 < len(flat); i += 2 {
		if flat[i] == name {
			return flat[i+1]
		}
	}
	return nil
}
