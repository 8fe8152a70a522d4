// Package gateway is the Millrace gateway: New wires its parts from a Config, Run runs it. This is the one place
// where concrete types meet; what each part does is written in its own package.
//
//	loop.Loop ─▶ conn.Server ─▶ route.Router ─┬─▶ hub.Hub           for each loop
//	                                          └─▶ relay.Relay ─▶ stream/redis.Client
//	admin.Server                                                    for all
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/internal/admin"
	"github.com/millracehq/millrace/gateway/internal/certificate"
	"github.com/millracehq/millrace/gateway/internal/conn"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/internal/route"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/auth"
	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// Gateway is one gateway process's worth of everything.
type Gateway struct {
	// Immutable after New.
	cfg     Config
	node    string
	streams *redis.Client
	loops   []*loop.Loop
	routers []*route.Router
	relay   *relay.Relay
	admin   *admin.Server
	budget  *loop.Budget
	set     *metrics.Set
	fleet   *fleet
	hurry   signal
	gate    *limit.Gate

	// Guarded by changing.
	changing sync.Mutex
	current  Config          // with what Reload has changed
	serving  context.Context //nolint:containedctx // of Run, for what Reload starts; nil: it does not serve
	keyring  keyring

	fetching sync.WaitGroup // of sources of keys

	certificate *certificate.Pair // nil without TLS

	// Atomic.
	stopping atomic.Bool
	lost     atomic.Bool // the streams have been down for Config.LostAfter
	verifier atomic.Pointer[auth.Verifier]
}

// Linger is how long an event loop may hold its poller while it waits for more; see package loop.
const linger = 100 * time.Millisecond

// redisTimeout is how long Redis may stand still before it counts as lost. What was being written then is answered 503
// although it may have been stored, so it is not short.
const redisTimeout = 5 * time.Second

// New checks cfg and binds both addresses; nothing is served, and Redis is not asked, before Run.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	nonce := strings.ToLower(rand.Text()[:8])
	g := &Gateway{cfg: cfg, current: cfg, gate: limit.NewGate(), node: nodeName(cfg.Node) + "-" + nonce, set: metrics.NewSet(), budget: &loop.Budget{Limit: cfg.TotalOutboxBytes}}
	g.hurry.c = make(chan struct{})
	var err error
	if g.streams, err = redis.New(redis.Config{URL: cfg.Redis, Prefix: cfg.Prefix, Partitions: cfg.Partitions, Timeout: redisTimeout, Replicas: cfg.DurableReplicas}); err != nil {
		return nil, err
	}
	g.fleet = newFleet(g.streams, g.node, cfg.AcceptRate)
	secret, err := g.loadCertificate()
	if err != nil {
		return nil, err
	}
	proxies, _ := cfg.prefixes() // validated
	if g.loops, err = loop.NewGroup(cfg.Loops, loop.Config{
		Listen: cfg.Listen, MaxUnread: cfg.MaxFrame + 64<<10,
		OutboxBytes: cfg.OutboxBytes, Budget: g.budget, Linger: linger, TLS: secret, Proxies: proxies, Logger: cfg.Logger,
	}); err != nil {
		return nil, err
	}
	if g.admin, err = admin.New(cfg.Admin, admin.Source{Set: g.set, Ready: g.Ready, Slowest: g.slowest, Control: g.control, Logger: cfg.Logger}); err != nil {
		g.stopLoops()
		return nil, err
	}
	if err := g.wire(nonce); err != nil {
		g.admin.Close()
		g.stopLoops()
		return nil, err
	}
	return g, nil
}

func (g *Gateway) wire(nonce string) error {
	cfg := g.cfg
	source, err := cfg.source()
	if err != nil {
		return err
	}
	rules, err := cfg.rules(g.node, source)
	if err != nil {
		return err
	}
	g.keyring.source = source
	g.verifier.Store(rules.Verifier)
	rc := route.Config{
		Nonce: nonce, Rules: rules, Gate: g.gate, Flows: limit.NewChannels(), Partitions: cfg.Partitions, RequestTimeout: cfg.RequestTimeout,
		WindowBytes: cfg.WindowBytes / len(g.loops), WindowTime: cfg.History, Logger: cfg.Logger,
	}
	origins, _ := wsio.ParseOrigins(cfg.Origins) // validated
	sides := make([]relay.Loop, len(g.loops))
	for i, l := range g.loops {
		rc.Loop = i
		r := route.New(rc, l, conn.Config{
			Path: "/ws", MaxFrame: cfg.MaxFrame, Heartbeat: cfg.Heartbeat, Origins: origins, Deflate: cfg.Compression,
		})
		g.routers = append(g.routers, r)
		sides[i] = relay.Loop{Poster: l, Sink: r}
	}
	g.relay = relay.New(relay.Config{
		Node: g.node, Keys: stream.Keys{Prefix: cfg.Prefix}, Partitions: cfg.Partitions, RingBytes: cfg.RingBytes,
		History: cfg.History, WindowBytes: cfg.WindowBytes / len(g.loops), Backlog: cfg.Backlog, Timeout: redisTimeout, Home: g.loops[0],
		LoopOf: func(session string) int { return route.LoopOf(nonce, session) }, Compression: cfg.compression(), Stages: g.stages(), Logger: cfg.Logger,
	}, g.streams, sides)
	for _, r := range g.routers {
		r.Wire(g.relay)
	}
	g.registerMetrics()
	return nil
}

// nodeName makes name, or the host's, fit for a key and a JSON string.
func nodeName(name string) string {
	if name == "" {
		name, _ = os.Hostname()
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, name)
	if name == "" {
		return "gateway"
	}
	return name[:min(len(name), 48)]
}

// Addr is where clients connect.
func (g *Gateway) Addr() net.Addr { return g.loops[0].Addr() }

// Admin is where operators connect.
func (g *Gateway) Admin() net.Addr { return g.admin.Addr() }

// Loops is how many event loops there are. GOMAXPROCS should be more by two: a loop holds a processor while it waits for more.
func (g *Gateway) Loops() int { return len(g.loops) }

// Node is what this gateway is called in the streams.
func (g *Gateway) Node() string { return g.node }

var errStopping = errors.New("stopping")

// Ready says why clients should go elsewhere, nil when they should not.
func (g *Gateway) Ready() error {
	if g.stopping.Load() {
		return errStopping
	}
	if v := g.verifier.Load(); v != nil {
		if err := v.Ready(); err != nil {
			return err
		}
	}
	return g.relay.Ready()
}

// Run serves until ctx is done, then stops in order: no new connections, bye to those there are at a pace that the others can
// take in, what they had published is written, and everything ends. Hurry ends the pace. It returns early when Redis does not
// answer or does not fit. It is called once.
func (g *Gateway) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = g.streams.Close() }()
	wg.Go(g.admin.Serve)
	defer g.admin.Close()
	log := g.cfg.Logger
	if g.cfg.Auth == "none" {
		log.Warn("AUTH IS OFF: everybody who reaches this gateway may do everything; use --auth jwt for anything but development")
	}
	if err := g.streams.Connect(ctx, g.cfg.RedisWait); err != nil {
		g.stopLoops()
		return fmt.Errorf("start: %w", err)
	}
	stopFetching := g.serve(ctx)
	defer stopFetching()
	relayCtx, stopRelay := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	stopping, finished := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		defer close(finished)
		var leaving sync.WaitGroup
		leaving.Go(func() { <-stopping; watching.Wait(); g.fleet.leave(context.WithoutCancel(ctx)) })
		g.relay.Run(relayCtx)
		leaving.Wait()
	})
	select {
	case <-g.relay.Started():
	case <-ctx.Done():
	}
	started, err := g.startLoops()
	if err == nil {
		log.Info("gateway is up", "listen", g.Addr().String(), "admin", g.Admin().String(), "redis", g.streams.Addr(), "node", g.node, "loops", len(g.loops), "auth", g.cfg.Auth, "tls", g.certificate != nil)
		watching.Go(func() { g.watch(ctx) })
		if g.certificate != nil {
			wg.Go(func() { g.watchCertificate(ctx) })
		}
		<-ctx.Done()
	}
	begun := time.Now()
	g.stopping.Store(true)
	close(stopping)
	g.drain(started, begun)
	stopRelay()
	g.awaitStreams(finished, begun)
	g.stopLoops()
	log.Info("stopped")
	return err
}

// serve has keys fetched, the first time before it returns, and lets Reload in. The function that it returns ends both.
func (g *Gateway) serve(ctx context.Context) (stop func()) {
	g.changing.Lock()
	defer g.changing.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	g.serving = ctx
	if s := g.keyring.source; s != nil {
		s.Fetch(ctx)
		g.keep(ctx, s)
	}
	return func() {
		cancel()
		g.changing.Lock()
		g.serving = nil
		g.changing.Unlock()
		g.fetching.Wait()
	}
}

// startLoops returns the loops that run, also when one does not.
func (g *Gateway) startLoops() (started []*loop.Loop, err error) {
	for i, l := range g.loops {
		if err := l.Start(g.routers[i].Handler()); err != nil {
			return started, err
		}
		started = append(started, l)
	}
	return started, nil
}

// stopLoops ends the loops, also those that were never started.
func (g *Gateway) stopLoops() {
	for _, l := range g.loops {
		l.Stop()
	}
}

func (g *Gateway) connections() (n int) {
	for _, r := range g.routers {
		n += r.Stats().Connections
	}
	return n
}
