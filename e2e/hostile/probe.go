package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/millracehq/millrace/gateway/client"
)

// probe is the healthy client: it publishes to a channel that it is subscribed to, and takes the time until the publication is back.
type probe struct {
	times []time.Duration
	err   error
}

// watchOver runs f with a probe beside it. Each look on its own takes at most 10 s.
func (t *target) watchOver(ctx context.Context, f func(context.Context) (string, error)) (note string, p probe, err error) {
	conn, sub, err := t.healthy(ctx)
	if err != nil {
		return "", p, fmt.Errorf("the healthy client cannot connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	probing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.run(probing, conn, sub) })
	note, err = f(ctx)
	stop()
	wg.Wait()
	return note, p, err
}

func (t *target) healthy(ctx context.Context) (*client.Conn, *client.Subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := client.Dial(ctx, t.scheme()+"://"+t.addr+"/ws", client.Options{HTTPClient: t.http()})
	if err != nil {
		return nil, nil, err
	}
	sub, err := conn.Subscribe(ctx, "direct:probe", "")
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, sub, nil
}

func (t *target) http() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: t.client, DisableKeepAlives: true}}
}

func (p *probe) run(ctx context.Context, conn *client.Conn, sub *client.Subscription) {
	for i := 0; ; i++ {
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		begun, text := time.Now(), strconv.Itoa(i)
		err := conn.Publish(look, sub.Channel(), "", []byte(text))
		for err == nil {
			var back client.Publication
			if back, err = sub.Next(look); err == nil && string(back.Data) == text {
				break
			}
		}
		cancel()
		if err != nil {
			p.err = fmt.Errorf("echo %d of the healthy client: %w", i, err)
			return
		}
		p.times = append(p.times, time.Since(begun))
		if !wait(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// quantile of the times, and how many there are.
func (p *probe) quantile(q float64) time.Duration {
	if len(p.times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(p.times))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
