package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

const (
	beatEvery = 2500 * time.Millisecond // stream.GatewayTTL lets three be missed
	beatWait  = 500 * time.Millisecond  // for Redis to answer one; a stop may have to wait for it
)

// fleetStore is where gateways find each other; *redis.Client is one.
type fleetStore interface {
	Beat(ctx context.Context, node string, g stream.Gateway) (others map[string]stream.Gateway, err error)
	Leave(ctx context.Context, node string) (others map[string]stream.Gateway, err error)
}

// fleet is what a gateway knows of the others. beat and leave are called by one goroutine at a time.
type fleet struct {
	// Immutable.
	store fleetStore
	node  string
	rate  int // of this gateway: connections a second

	seen atomic.Pointer[census]
}

// census is the other gateways at one time.
type census struct {
	at       time.Time
	gateways int
	rate     int // connections a second that they take in together
}

func newFleet(store fleetStore, node string, rate int) *fleet {
	f := &fleet{store: store, node: node, rate: rate}
	f.seen.Store(&census{})
	return f
}

// beat tells the others and counts them. A beat that fails is made up for by the next one; that Redis is gone, the relay says.
func (f *fleet) beat(ctx context.Context, connections int) {
	ctx, done := context.WithTimeout(ctx, beatWait)
	defer done()
	if others, err := f.store.Beat(ctx, f.node, stream.Gateway{AcceptRate: f.rate, Connections: connections}); err == nil {
		f.count(others)
	}
}

// leave takes this gateway off, so that the others do not count on it, and counts them for the last time.
func (f *fleet) leave(ctx context.Context) {
	ctx, done := context.WithTimeout(ctx, beatWait)
	defer done()
	if others, err := f.store.Leave(ctx, f.node); err == nil {
		f.count(others)
	}
}

func (f *fleet) count(others map[string]stream.Gateway) {
	c := &census{at: time.Now(), gateways: len(others)}
	for _, g := range others {
		c.rate += min(max(g.AcceptRate, 1), maxAcceptRate)
	}
	f.seen.Store(c)
}

// elsewhere is how many connections a second are taken in by the others together. Where there are none, or nobody has been heard
// of for longer than a heartbeat lasts, it is the rate of this gateway: its successor is starting.
func (f *fleet) elsewhere() int {
	if c := f.seen.Load(); c.gateways > 0 && time.Since(c.at) < stream.GatewayTTL {
		return c.rate
	}
	return f.rate
}
