package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// publisher publishes one numbered body after the other. What is not acknowledged is sent again with the same ID, on a new
// connection when the old one has gone; it goes on to the next number only behind an ok.
type publisher struct {
	name    string
	url     string
	channel string
	acked   atomic.Int64
	resent  int
}

func (p *publisher) run(ctx context.Context) {
	var c *client.Conn
	for ctx.Err() == nil {
		if c == nil {
			var err error
			if c, err = client.Dial(ctx, p.url, client.Options{}); err != nil {
				pause(ctx, 20*time.Millisecond)
				continue
			}
		}
		id := fmt.Sprintf("%s-%d", p.name, p.acked.Load()+1)
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := c.Publish(call, p.channel, id, []byte(id))
		cancel()
		if err == nil {
			p.acked.Add(1)
			continue
		}
		p.resent++
		select {
		case <-c.Done():
			c = nil
		default: // refused: 503
			pause(ctx, 20*time.Millisecond)
		}
	}
	if c != nil {
		_ = c.Close()
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// The backend, the gateway and Redis itself are killed in the middle of everything, several times each. The ledger: every
// acknowledged publication has been processed by the backend, exactly once.
func TestKillingAnyProcessLosesNothingAcknowledged(t *testing.T) {
	s := newTestSystem(t, "--appendonly", "yes", "--appendfsync", "always")
	ctx, stop := context.WithCancel(t.Context())
	publishers := make([]*publisher, 8)
	var wg sync.WaitGroup
	for i := range publishers {
		publishers[i] = &publisher{name: fmt.Sprintf("p%d", i), url: s.url, channel: fmt.Sprintf("echo:room-%d", i%4)}
		wg.Go(func() { publishers[i].run(ctx) })
	}
	heard := countHeard(ctx, t, s.url)
	var out ledger
	for range 3 {
		for _, kill := range []func(){
			func() { s.backend.kill(); s.backend.start() },
			func() { s.gateway.kill(); s.gateway.start() },
			func() { s.redis.Kill(); s.redis.Restart() },
			func() { s.backend.kill(); s.gateway.kill(); s.gateway.start(); s.backend.start() },
		} {
			pause(ctx, 300*time.Millisecond)
			kill()
			out.read(t, s.redis.URL())
		}
	}
	pause(ctx, 300*time.Millisecond)
	stop()
	wg.Wait()

	acked, resent := 0, 0
	for _, p := range publishers {
		acked += int(p.acked.Load())
		resent += p.resent
	}
	t.Logf("%d acknowledged, %d sent again, %d heard by a subscriber that reconnected", acked, resent, heard.Load())
	if acked < 100 || resent == 0 {
		t.Fatal("too little happened to show anything")
	}
	var missing, twice []string
	t.Cleanup(func() {
		if len(missing) > 0 {
			t.Errorf("%d never came, e.g. %v", len(missing), missing[:min(len(missing), 5)])
		}
	})
	eventually(t, "everything acknowledged has been processed", func() bool {
		out.read(t, s.redis.URL())
		missing, twice = nil, nil
		for _, p := range publishers {
			for n := int64(1); n <= p.acked.Load(); n++ {
				if id := fmt.Sprintf("%s-%d", p.name, n); out.seen[id] == 0 {
					missing = append(missing, id)
				}
			}
		}
		for id, n := range out.seen {
			if n > 1 {
				twice = append(twice, id)
			}
		}
		return len(missing) == 0
	})
	if len(twice) > 0 {
		t.Errorf("%d processed twice, e.g. %v", len(twice), twice[:min(len(twice), 5)])
	}
	if heard.Load() == 0 {
		t.Error("nobody heard anything")
	}
}

// ledger is what the `out` streams have had in them: they keep 10,000 entries each, so it is read on before these are gone.
type ledger struct {
	last [stream.DefaultPartitions]stream.ID
	seen map[string]int // by body
}

// read adds what came since it read last.
func (l *ledger) read(t *testing.T, url string) {
	t.Helper()
	streams, err := redis.New(redis.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = streams.Close() }()
	ranges := make([]stream.Range, len(l.last))
	for p, last := range l.last {
		ranges[p] = stream.Range{Key: streams.Keys().Out(p), From: last, Open: true, To: stream.Last, Count: 1 << 20}
	}
	all, err := streams.Ranges(t.Context(), ranges)
	if err != nil {
		t.Fatal(err)
	}
	if l.seen == nil {
		l.seen = map[string]int{}
	}
	for p, entries := range all {
		for _, e := range entries {
			published, err := stream.DecodePublication(e.Fields)
			if err != nil {
				t.Fatal(err)
			}
			l.seen[published.Data]++
			l.last[p] = e.ID
		}
	}
}

// countHeard subscribes and counts until ctx is done, on a new connection whenever the old one has gone.
func countHeard(ctx context.Context, t *testing.T, url string) *atomic.Int64 {
	t.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for ; ctx.Err() == nil; pause(ctx, 20*time.Millisecond) {
			c, err := client.Dial(ctx, url, client.Options{})
			if err != nil {
				continue
			}
			sub, err := c.Subscribe(ctx, "echo:room-1", "")
			for err == nil {
				if _, err = sub.Next(ctx); err == nil {
					n.Add(1)
				}
			}
			c.Abort()
		}
	})
	t.Cleanup(wg.Wait)
	return &n
}
