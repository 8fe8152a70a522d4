package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// config is what to start, and where.
type config struct {
	bin           string // directory of the programs gateway and backend
	host          string // gateways take clients here
	gateways      int
	backends      int
	rewards       int    // processes that count what happens on boards
	redis         string // URL; empty: embedded
	database      string // of boards; empty: none
	gatewayConfig string // file; empty: gateway.yaml of this package
	secret        string // with which backends sign the tokens of whoever names a user; empty: they sign none
	signIn        bool   // gateways want such a token

	// First port of each kind; number i of a kind has the first one plus i-1.
	gatewayPort int
	adminPort   int
	backendPort int
	rewardsPort int
	redisPort   int

	timing timing
}

// timing is how patient the supervisor is.
type timing struct {
	ready     time.Duration // for everything to become ready after the start
	stop      time.Duration // from SIGTERM to SIGKILL
	firstWait time.Duration // before a child that died is started again; doubles
	lastWait  time.Duration // up to this
	young     time.Duration // a child that dies before this age has died young
	deaths    int           // this many young deaths in a row and the supervisor gives up
}

var defaultTiming = timing{
	ready:     30 * time.Second,
	stop:      25 * time.Second, // a gateway drains for 20
	firstWait: 100 * time.Millisecond,
	lastWait:  5 * time.Second,
	young:     10 * time.Second,
	deaths:    5,
}

// validate reports all faults at once.
func (c *config) validate() error {
	var faults []error
	if c.gateways < 1 {
		faults = append(faults, fmt.Errorf("--gateways %d: at least 1", c.gateways))
	}
	if c.backends < 0 {
		faults = append(faults, fmt.Errorf("--backends %d: at least 0", c.backends))
	}
	if c.rewards < 0 {
		faults = append(faults, fmt.Errorf("--rewards %d: at least 0", c.rewards))
	}
	if c.redis != "" && !strings.HasPrefix(c.redis, "redis://") && !strings.HasPrefix(c.redis, "rediss://") {
		faults = append(faults, fmt.Errorf("--redis %s: want redis://host:port/db", c.redis))
	}
	for _, p := range []struct {
		flag        string
		first, many int
	}{
		{"--gateway-port", c.gatewayPort, c.gateways},
		{"--admin-port", c.adminPort, c.gateways},
		{"--backend-port", c.backendPort, c.backends},
		{"--rewards-port", c.rewardsPort, c.rewards},
		{"--redis-port", c.redisPort, 1},
	} {
		if p.first < 1 || p.first+p.many-1 > 65535 {
			faults = append(faults, fmt.Errorf("%s %d: ports are 1 to 65535, and %d are wanted from there", p.flag, p.first, p.many))
		}
	}
	return errors.Join(faults...)
}
