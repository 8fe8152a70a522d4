package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// portsToTry is how far above the wanted port the embedded Redis looks for a free one.
const portsToTry = 20

// embeddedRedis is a Redis inside this process: in memory, on loopback, and gone when this process ends.
type embeddedRedis struct {
	server *miniredis.Miniredis
	cancel context.CancelFunc
	clock  sync.WaitGroup
}

// startRedis listens on port, or on the next one that is free.
func startRedis(ctx context.Context, port int) (*embeddedRedis, error) {
	var err error
	for try := range portsToTry {
		server := miniredis.NewMiniRedis()
		if err = server.StartAddr(hostPort(loopback, port+try)); err == nil {
			ctx, cancel := context.WithCancel(ctx)
			r := &embeddedRedis{server: server, cancel: cancel}
			r.clock.Go(func() { r.expire(ctx) })
			return r, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, fmt.Errorf("embedded Redis cannot listen (%w): set --redis-port, or --redis to use another Redis", err)
}

// expire lets keys expire, to the second. miniredis could follow the clock itself (ClockTTL), but walks over all keys
// at each command then.
func (r *embeddedRedis) expire(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case now := <-tick.C:
			r.server.FastForward(now.Sub(last))
			last = now
		case <-ctx.Done():
			return
		}
	}
}

func (r *embeddedRedis) url() string { return "redis://" + r.server.Addr() + "/0" }

// stop ends all connections and forgets everything.
func (r *embeddedRedis) stop() {
	r.cancel()
	r.clock.Wait()
	r.server.Close()
}
