package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

const (
	connectTimeout = 10 * time.Second
	readBlock      = 500 * time.Millisecond // most time to notice a new lease, one to give up, or the end of Run
	leaveTimeout   = time.Second
	warnEvery      = time.Minute
)

// Any is the namespace of the handler for entries that no other handler takes, those without a channel included.
const Any = "*"

// Handler handles one event. When it returns nil, what it asked for by the event's methods is committed together with
// the acknowledgement. When it returns an error or panics, none of that is written: the client of a req gets err 500,
// anything else is handled again after [Config.RetryAfter] and longer, up to [Config.MaxAttempts] times, and then becomes a
// dead letter; what comes later on the same channel waits. See [Permanent].
//
// ctx ends [Config.StopTimeout] after the context of [Worker.Run]. Handlers of one namespace run at the same time, for
// different partitions.
type Handler func(ctx context.Context, e *Event) error

// BatchHandler handles several events of one channel at once, in their order: where one transaction is cheaper than many. It is called with
// two or more, of which none was handled before. An error or a panic undoes what it asked for; then each event is handled by itself, by
// the namespace's [Handler], so that one bad event harms no other.
type BatchHandler func(ctx context.Context, events []*Event) error

type route struct {
	handle  Handler
	batch   BatchHandler // nil: each by itself
	most    int
	seconds *metrics.Histogram
}

// Worker is a consumer of the group that shares the work.
type Worker struct {
	// Immutable after New.
	cfg     Config
	client  *redis.Client
	group   *redis.Group
	metrics *instruments
	link    *link
	warned  *throttle
	shards  []*shard
	keeper  *keeper
	born    time.Time

	routes  map[string]route // immutable after Run has begun
	started atomic.Bool
}

// New checks the configuration; it does not connect yet.
func New(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	cfg = cfg.withDefaults()
	client, err := redis.New(cfg.redis())
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	m := newInstruments(cfg.Metrics, cfg.Group)
	w := &Worker{
		cfg:     cfg,
		client:  client,
		group:   client.Group(cfg.Group, cfg.Consumer),
		metrics: m,
		link:    &link{addr: client.Addr(), log: cfg.Logger, outages: m.outages, state: errStarting},
		warned:  &throttle{every: warnEvery},
		born:    time.Now(),
		routes:  make(map[string]route),
	}
	for range cfg.Concurrency {
		w.shards = append(w.shards, &shard{caller: caller{w: w}, reader: w.group.Reader(), woken: make(chan struct{}, 1)})
	}
	w.keeper = newKeeper(w, w.shards)
	return w, nil
}

// clock is the time since the worker was made. It goes on while the process is stopped.
func (w *Worker) clock() time.Duration { return time.Since(w.born) }

// Handle registers the handler of a namespace: the part of a channel before its first ':', or the whole of a channel
// without one; or [Any]. Like http.Handle it panics on what cannot be meant: a namespace that is empty, has a ':' or a
// handler already, no handler, or a worker that runs.
func (w *Worker) Handle(namespace string, h Handler) {
	switch _, twice := w.routes[namespace]; {
	case w.started.Load():
		panic("worker: Handle after Run")
	case namespace == "" || strings.Contains(namespace, ":"):
		panic(fmt.Sprintf("worker: %q is not a namespace", namespace))
	case h == nil:
		panic(fmt.Sprintf("worker: no handler for namespace %q", namespace))
	case twice:
		panic(fmt.Sprintf("worker: a second handler for namespace %q", namespace))
	}
	w.routes[namespace] = route{handle: h, seconds: w.metrics.handler(namespace)}
}

// HandleBatch has events of a namespace that has a handler already handled together where they are there together: those of one channel
// that were read at once, most of them at most.
func (w *Worker) HandleBatch(namespace string, most int, h BatchHandler) {
	r, ok := w.routes[namespace]
	switch {
	case w.started.Load():
		panic("worker: HandleBatch after Run")
	case !ok || r.batch != nil:
		panic(fmt.Sprintf("worker: namespace %q must have a handler, and no batch handler yet", namespace))
	case h == nil || most < 2:
		panic(fmt.Sprintf("worker: no batch handler for namespace %q, or for fewer than 2 events", namespace))
	}
	r.batch, r.most = h, most
	w.routes[namespace] = r
}

// Ready returns nil while the worker is connected and reading, otherwise the reason why not.
func (w *Worker) Ready() error { return w.link.ready() }

// Run works until ctx is done, and then finishes what it has read, acknowledges it, and returns nil. It waits up to 10
// seconds for Redis at the start; later it outlives any outage. It returns an error when Redis does not answer then, or
// when the installation is not what the configuration says ([redis.ErrMismatch], at once). It can be called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("worker: Run called twice")
	}
	defer w.client.Close()
	defer w.link.set(errStopped)
	if err := w.connect(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before it began
		}
		return fmt.Errorf("worker: %w", err)
	}
	w.link.set(nil)
	w.cfg.Logger.Info("reading", "redis", w.client.Addr(), "group", w.cfg.Group, "consumer", w.cfg.Consumer,
		"partitions", w.cfg.Partitions, "concurrency", w.cfg.Concurrency)
	err := w.work(ctx)
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := w.keeper.release(leaving); err != nil {
		w.cfg.Logger.Warn("leases are not given back, they end by themselves", "consumer", w.cfg.Consumer, "error", err)
	}
	return err
}

func (w *Worker) connect(ctx context.Context) error {
	if err := w.client.Connect(ctx, connectTimeout); err != nil {
		return err
	}
	if err := w.group.Create(ctx); err != nil {
		return err
	}
	_, err := w.keeper.tick(ctx, false)
	return err
}

// work returns when all goroutines have ended. The first error of one ends the others.
func (w *Worker) work(ctx context.Context) error {
	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()

	var shards, others sync.WaitGroup
	for _, s := range w.shards {
		shards.Go(func() {
			if err := s.run(reading, work); err != nil {
				stopReading(err)
			}
		})
	}
	others.Go(func() {
		if err := w.keeper.run(reading, work); err != nil {
			stopReading(err)
		}
	})
	others.Go(func() { w.renew(work) })

	done := make(chan struct{})
	go func() { shards.Wait(); close(done) }()
	<-reading.Done()
	select {
	case <-done:
	case <-time.After(w.cfg.StopTimeout):
		w.cfg.Logger.Warn("stop timeout is over, ending the context of handlers", "timeout", w.cfg.StopTimeout)
		stopWork()
		<-done
	}
	stopWork()
	others.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("worker: %w", context.Cause(reading))
	}
	return nil
}

// renew keeps the entries that shards hold for long from being claimed by consumers without leases.
func (w *Worker) renew(ctx context.Context) {
	every := w.cfg.ClaimAfter / 3 // at worst an entry is renewed at two thirds of its time
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, s := range w.shards {
				if err := s.renew(ctx, now.Add(-every)); err != nil {
					w.cfg.Logger.Debug("entries in hand are not renewed", "error", err)
				}
			}
		}
	}
}
