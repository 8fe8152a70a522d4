package contest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millracehq/millrace/bench/internal/dialect"
)

// Contestant is one kind of server, and what is to be measured of it.
type Contestant struct {
	Name  string
	About string // for the table's legend

	Dialect dialect.Dialect
	Token   bool // connections carry a JWT
	Connect bool // only connections are measured: the traffic is that of another row
	Asks    bool // there is somebody who answers requests

	program string // of bin or of rivals; else one of gateway and node, below
	redis   bool
	backend bool

	// Of the gateway:
	args   []string // behind the usual ones, which they override
	env    []string
	binary string // a build of it; else it is built
}

const (
	gatewayProgram = "gateway"
	nodeProgram    = "node"
	limitProgram   = "limit"
)

// Limit is the name of the contestant that all others are compared with.
const Limit = "limit"

// All contestants, in the order of the table and of each round.
func All() []Contestant {
	oneLoop := []string{"--loops", "1"}
	direct, echo := dialect.Millrace{Namespace: "direct"}, dialect.Millrace{Namespace: "echo"}
	return []Contestant{
		{Name: Limit, About: "a bare epoll loop, one thread, that only sends the same prepared bytes", Dialect: direct, Asks: true, program: limitProgram},
		{Name: "direct", About: "this gateway as it comes; publications go through a Redis stream to the subscribers", Dialect: direct, program: gatewayProgram, redis: true},
		{Name: "direct-1", About: "the same with one loop, as the limit has", Dialect: direct, program: gatewayProgram, args: oneLoop, redis: true},
		{Name: "direct-jwt", About: "the same, each connection with a JWT (HS256); only connections are measured", Dialect: direct, Token: true, Connect: true, program: gatewayProgram, args: oneLoop, redis: true},
		{Name: "backend", About: "this gateway as it comes; publications and requests go through Redis streams and the backend", Dialect: echo, Asks: true, program: gatewayProgram, redis: true, backend: true},
		{Name: "gorilla", About: "gorilla/websocket, two goroutines a connection, prepared messages", Dialect: direct, Asks: true, program: "gorilla"},
		{Name: "gws", About: "lxzan/gws, its Broadcaster", Dialect: direct, Asks: true, program: "gws"},
		{Name: "nats", About: "NATS server, WebSocket; a responder in the same process", Dialect: dialect.NATS{}, Asks: true, program: "nats"},
		{Name: "socketio", About: "Socket.IO on Node, Redis streams adapter", Dialect: dialect.SocketIO{}, Asks: true, program: nodeProgram, redis: true},
	}
}

// Select is those of All that only names (all, when it is empty), less those that skip names.
func Select(only, skip []string) (chosen []Contestant, err error) {
	all := All()
	known := make([]string, len(all))
	for i, c := range all {
		known[i] = c.Name
	}
	for _, name := range slices.Concat(only, skip) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is no contestant; there are %s", name, strings.Join(known, ", "))
		}
	}
	for _, c := range all {
		if (len(only) == 0 || slices.Contains(only, c.Name)) && !slices.Contains(skip, c.Name) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("nobody is left to be measured")
	}
	return chosen, nil
}
