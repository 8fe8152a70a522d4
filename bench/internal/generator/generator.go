// Package generator is the one load generator for all contestants: every connection on one event loop (internal/loop), in the
// process of the benchmark.
//
//	Bring ─▶ connections at a steady pace, each with its subscriptions ─▶ Run ─▶ one load, open loop ─▶ Result
//
// A body carries the time at which it was due, not at which it was sent, so a server (or generator) that falls behind cannot make
// its latency look better by slowing the load down. What is sent and what a delivery is, a [dialect.Dialect] knows.
//
// Ownership: everything but Bring, Run and Stop happens on the loop. It refuses to judge: order, duplicates and acknowledgements
// are the load harness's to check (loadtest); here deliveries are only counted. It costs about 60 bytes a connection and 4 to 8 us of one core a
// delivery, nearly all of it in the kernel.
package generator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/millracehq/millrace/bench/internal/dialect"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/slab"
)

// Config of a Generator. All is required, but Token.
type Config struct {
	Remote    netip.AddrPort
	Dialect   dialect.Dialect
	Token     string // of the handshake, "" for none
	Clients   int    // at most; a multiple of Channels
	Channels  int    // of the first set, of which a client has one
	PerClient int    // channels of the second set that a client has
	Body      int    // bytes, at least StampSize
}

// Set names the channels that clients subscribe to: the plain ones, one each, or those as well of which each client has several.
//
//	Plain   client i has channel i mod C
//	Many    and the K channels of block i mod C, which are C + block*K to C + block*K + K-1
//
// So every channel has N/C subscribers, and all subscribers of a block have all of its channels.
type Set uint8

// Sets.
const (
	Plain Set = iota + 1
	Many
)

// Generator holds connections and puts load on them.
type Generator struct {
	// Immutable after New.
	cfg    Config
	loop   *loop.Loop
	locals []netip.Addr

	// Owned by the loop.
	clients []client
	owners  slab.Slab[int32] // by seat: client, +1
	members []int64          // by channel: clients that are there
	bring   bringing
	load    *load // nil: none
	loads   uint16
	closed  int64  // connections lost, since New
	fault   string // what a server complained about first, since the last Bring or Run
	out     []byte
	body    []byte
}

// connectionsPerAddress is how many connections one local address is used for: half of the ports that there usually are.
const connectionsPerAddress = 14_000

// New makes a generator without connections.
func New(cfg Config) (*Generator, error) {
	if cfg.Body < StampSize || cfg.Clients < 1 || cfg.Channels < 1 || cfg.Clients%cfg.Channels != 0 || cfg.PerClient < 1 {
		return nil, fmt.Errorf("generator: %d clients, %d channels, %d per client and bodies of %d bytes do not fit together", cfg.Clients, cfg.Channels, cfg.PerClient, cfg.Body)
	}
	g := &Generator{cfg: cfg, clients: make([]client, cfg.Clients), members: make([]int64, cfg.Channels*(1+cfg.PerClient))}
	for i := range cfg.Clients/connectionsPerAddress + 1 {
		g.locals = append(g.locals, netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}))
	}
	var err error
	if g.loop, err = loop.New(loop.Config{Linger: 10 * time.Millisecond, OutboxBytes: 4 << 20}); err != nil {
		return nil, err
	}
	return g, g.loop.Start(g)
}

// Stop closes all connections at once.
func (g *Generator) Stop() { g.loop.Stop() }

// ask runs f on the loop and waits for what it sends.
func ask[T any](ctx context.Context, g *Generator, f func(answer chan<- T)) (T, error) {
	answer := make(chan T, 1)
	var none T
	if !g.loop.Post(func() { f(answer) }) {
		return none, errors.New("the generator has been stopped")
	}
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Turn implements loop.Handler: everything that is due by the clock.
func (g *Generator) Turn() (more bool) {
	more, wake := g.bringDue()
	if g.load != nil {
		moreLoad, at := g.loadDue()
		more = more || moreLoad
		wake = earliest(wake, at)
	}
	if !more && wake > 0 {
		g.loop.WakeAt(wake)
	}
	return more
}

// earliest of two times, of which 0 is never.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Timer implements loop.Handler: a client took too long to become ready.
func (g *Generator) Timer(c loop.Conn) { g.loop.Close(c, loop.ReasonUser) }

// Drained implements loop.Handler.
func (g *Generator) Drained(loop.Conn) {}

func (g *Generator) key(i int32) (key [16]byte) {
	binary.NativeEndian.PutUint32(key[:], uint32(i)+1)
	return key
}
