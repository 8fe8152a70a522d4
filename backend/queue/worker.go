package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Worker counts what is in the queue. Any number of them share it.
type Worker struct {
	// Immutable after New.
	cfg     Config
	client  *redis.Client
	keeper  *redis.Queue
	metrics *instruments
	hands   []*hand

	started atomic.Bool
	active  atomic.Int64 // hands in use
	batch   atomic.Int64
	slowest atomic.Int64 // ns: the longest transaction since the last look
	down    atomic.Pointer[error]
}

var errStarting = errors.New("it has not reached Redis yet")

// connectTimeout is how long the start waits for Redis.
const connectTimeout = 10 * time.Second

// New checks the configuration; it does not connect yet.
func New(cfg Config) (*Worker, error) {
	if cfg.Counter == nil {
		panic("queue: a worker without a counter")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	cfg = cfg.withDefaults()
	client, err := redis.New(cfg.Redis)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	w := &Worker{cfg: cfg, client: client, keeper: client.Queue(Name, cfg.Consumer), metrics: newInstruments(cfg.Metrics)}
	w.down.Store(&errStarting)
	for i := range min(cfg.MaxHands, client.Partitions()) {
		w.hands = append(w.hands, &hand{w: w, index: i, queue: client.Queue(Name, fmt.Sprintf("%s-%d", cfg.Consumer, i))})
	}
	s := newScale(&w.cfg)
	w.use(&s)
	return w, nil
}

// Ready returns nil while Redis answers and is read, otherwise the reason why not.
func (w *Worker) Ready() error {
	if err := w.down.Load(); err != nil {
		return *err
	}
	return nil
}

// Run works until ctx is done, and then finishes the batches in hand and returns nil. It waits up to 10 seconds for Redis at the start; later it
// outlives any outage. It returns an error when Redis does not answer then, or the installation is another one
// ([redis.ErrMismatch]). It can be called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("queue: Run called twice")
	}
	defer w.client.Close()
	err := w.client.Connect(ctx, connectTimeout)
	if err == nil {
		err = w.keeper.Create(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("queue: %w", err)
	}
	w.reached(nil)
	w.cfg.Logger.Info("counting", "redis", w.client.Addr(), "consumer", w.cfg.Consumer, "hands", len(w.hands), "batch", w.cfg.Batch)

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var hands, others sync.WaitGroup
	for _, h := range w.hands {
		hands.Go(func() { h.run(ctx, work) })
	}
	others.Go(func() { w.keep(ctx) })
	done := make(chan struct{})
	go func() { hands.Wait(); close(done) }()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(w.cfg.StopTimeout):
		w.cfg.Logger.Warn("stop timeout is over; what is in hand stays pending for another worker", "timeout", w.cfg.StopTimeout)
		stopWork()
		<-done
	}
	others.Wait()
	return nil
}

// use sets how much of the worker works from now on.
func (w *Worker) use(s *scale) {
	w.active.Store(int64(s.hands))
	w.batch.Store(int64(s.batch))
	w.metrics.hands.Store(int64(s.hands))
	w.metrics.batchNow.Store(int64(s.batch))
}

// reached notes what the last call of Redis said.
func (w *Worker) reached(err error) {
	if err == nil {
		if w.down.Swap(nil) != nil {
			w.cfg.Logger.Info("redis answers", "redis", w.client.Addr())
		}
		return
	}
	w.metrics.outages.Inc()
	if w.down.Swap(&err) == nil {
		w.cfg.Logger.Warn("redis does not answer", "redis", w.client.Addr(), "error", err)
		w.cfg.Alert(Alert{Kind: AlertRedis, Text: err.Error()})
	}
}

// create makes again what Redis has lost.
func (w *Worker) create(ctx context.Context) error {
	if err := w.client.Connect(ctx, 0); err != nil {
		return err
	}
	return w.keeper.Create(ctx)
}

// redis makes a call, again until it succeeds or ctx is done. Groups that are lost are made again.
func (w *Worker) redis(ctx context.Context, call func(context.Context) error) error {
	for b := (backoff{}); ; {
		err := call(ctx)
		if errors.Is(err, redis.ErrNoGroup) {
			err = errors.Join(err, w.create(ctx))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.reached(err)
		if err == nil {
			return nil
		}
		if err := b.wait(ctx); err != nil {
			return err
		}
	}
}

// backoff waits longer from time to time, and never as long as another: they all lost the same server.
type backoff struct{ last time.Duration }

const (
	firstWait = 50 * time.Millisecond
	maxWait   = 2 * time.Second
)

func (b *backoff) wait(ctx context.Context) error {
	b.last = min(max(2*b.last, firstWait), maxWait)
	return sleep(ctx, b.last/2+rand.N(b.last/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
