package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
)

const loopback = "127.0.0.1"

// part is one child that is to run.
type part struct {
	name   string // gateway-1
	path   string
	args   []string
	env    []string // NAME=VALUE, what is nobody else's to see
	listen []listener
	ready  string // URL that answers 200 when the part can do its work
	where  string // for people: what to connect to
	more   string // for people: what else there is
}

// listener is an address that a part will listen on, and the flag that moves it.
type listener struct{ addr, flag string }

func (c *config) gatewayParts(redisURL string) []part {
	parts := make([]part, c.gateways)
	for i := range parts {
		name := fmt.Sprintf("gateway-%d", i+1)
		clients := hostPort(c.host, c.gatewayPort+i)
		admin := hostPort(loopback, c.adminPort+i)
		p := part{
			name:   name,
			path:   filepath.Join(c.bin, "gateway"),
			args:   []string{"--listen", clients, "--admin", admin, "--redis", redisURL, "--node", name},
			listen: []listener{{clients, "--gateway-port"}, {admin, "--admin-port"}},
			ready:  "http://" + admin + "/readyz",
			where:  "ws://" + clients + "/ws",
			more:   "http://" + admin + "/metrics",
		}
		if c.gatewayConfig != "" {
			p.args = append(p.args, "--config", c.gatewayConfig)
		}
		if c.signIn {
			p.args, p.env = append(p.args, "--auth", "jwt"), c.secretEnv()
		}
		if c.host != loopback {
			p.args = append(p.args, "--insecure") // the wish to be reached was said with --host
		}
		parts[i] = p
	}
	return parts
}

func (c *config) backendParts(redisURL string) []part {
	parts := make([]part, c.backends)
	for i := range parts {
		addr := hostPort(loopback, c.backendPort+i)
		parts[i] = part{
			name:   fmt.Sprintf("backend-%d", i+1),
			path:   filepath.Join(c.bin, "backend"),
			args:   []string{"--redis", redisURL, "--listen", addr},
			listen: []listener{{addr, "--backend-port"}},
			ready:  "http://" + addr + "/readyz",
			where:  "http://" + addr,
			more:   "http://" + addr + "/metrics",
		}
		if c.database != "" {
			parts[i].args = append(parts[i].args, "--database", c.database)
			if c.rewards > 0 {
				parts[i].args = append(parts[i].args, "--rewards")
			}
		}
		if c.secret != "" {
			parts[i].args, parts[i].env = append(parts[i].args, "--demo-sign-in"), c.secretEnv()
		}
	}
	return parts
}

// rewardsParts count what happens on boards; without boards there is nothing to count.
func (c *config) rewardsParts(redisURL string) (parts []part) {
	for i := 0; i < c.rewards && c.database != ""; i++ {
		name, addr := fmt.Sprintf("rewards-%d", i+1), hostPort(loopback, c.rewardsPort+i)
		parts = append(parts, part{
			name:   name,
			path:   filepath.Join(c.bin, "backend"),
			args:   []string{"rewards", "--redis", redisURL, "--listen", addr, "--database", c.database, "--consumer", name},
			listen: []listener{{addr, "--rewards-port"}},
			ready:  "http://" + addr + "/readyz",
			where:  "http://" + addr,
			more:   "http://" + addr + "/metrics",
		})
	}
	return parts
}

func (c *config) secretEnv() []string { return []string{"MILLRACE_JWT_SECRET=" + c.secret} }

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// checkParts finds, before anything is started, programs that are not there and addresses that are taken: all of them.
func checkParts(parts []part) error {
	var faults []error
	missing := make(map[string]bool)
	owner := make(map[string]string)
	for _, p := range parts {
		if _, err := exec.LookPath(p.path); err != nil && !missing[p.path] {
			missing[p.path] = true
			faults = append(faults, fmt.Errorf("%s cannot be started (%w): run `make build`", p.path, err))
		}
		for _, l := range p.listen {
			if other, ok := owner[l.addr]; ok {
				faults = append(faults, fmt.Errorf("%s and %s would both listen on %s: set %s", other, p.name, l.addr, l.flag))
				continue
			}
			owner[l.addr] = p.name
			if err := checkFree(l.addr); err != nil {
				faults = append(faults, fmt.Errorf("%s cannot listen on %s (%w): stop what is there, or set %s", p.name, l.addr, err, l.flag))
			}
		}
	}
	return errors.Join(faults...)
}

func checkFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			return op.Err // without the address, which the caller names
		}
		return err
	}
	return l.Close()
}
