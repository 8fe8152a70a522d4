package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

// TestCommitsLostByFailover: the heir of a master does not know of the last commits. Their entries are pending again for
// the worker that believes them done, and come before newer ones of their channel, also those that it had in hand.
func TestCommitsLostByFailover(t *testing.T) {
	for name, c := range map[string]struct {
		retry bool // the entry behind the lost one is in hand, and waits for a retry
		more  int  // entries that come after the failover
	}{
		"nothing more": {}, "more": {more: 20}, "retry": {retry: true, more: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master := redistest.Start(t)
			heir := redistest.StartReplica(t, master)
			link := newChaosLink(t, master.Addr())
			b := &bed{t: t, addr: master.Addr()}
			const channel = "echo:a"
			order := &ledger{}
			taken, release := make(chan struct{}), make(chan struct{})
			var once, fail sync.Once
			w := b.start(map[string]Handler{"echo": func(_ context.Context, e *Event) (err error) {
				switch string(e.Data) {
				case "5":
					once.Do(func() { close(taken); <-release })
				case "6":
					fail.Do(func() {
						if c.retry {
							err = errors.New("not yet")
						}
					})
				}
				e.Publish(e.Channel, e.Data)
				return err
			}}, func(cfg *Config) {
				cfg.Redis, cfg.RetryAfter = "redis://"+link.listener.Addr().String()+"/0", maxRetryAfter
			})
			n := 5
			for range n {
				order.add(b, channel)
			}
			b.wantDone()
			// 5 and 6 come in one read, which the replica has.
			p := b.partition(channel)
			e5 := stream.Event{Kind: stream.KindPub, Channel: channel, Node: "n1", User: "ann", Ref: "-", ID: "k5", Data: "5"}
			e6 := stream.Event{Kind: stream.KindPub, Channel: channel, Node: "n1", User: "ann", Ref: "-", Data: "6"}
			script := "redis.call('XADD', KEYS[1], '*', unpack(ARGV, 1, #ARGV / 2)) redis.call('XADD', KEYS[1], '*', unpack(ARGV, #ARGV / 2 + 1)) return 1"
			v5, v6 := e5.Values(), e6.Values()
			v5 = append(v5, "x", "")
			for len(v6) < len(v5) {
				v6 = append(v6, "x", "")
			}
			b.do(append(append([]any{"EVAL", script, 1, b.keys.In(p)}, v5...), v6...)...)
			order.next[channel] += 2
			<-taken
			replicas, err := b.try([]any{"SET", "mark", ""}, []any{"WAIT", 1, 10_000})
			if err != nil || replicas != 1 {
				t.Fatalf("%v replicas have the read (%v)", replicas, err)
			}
			heir.CLI("REPLICAOF", "NO", "ONE")
			close(release)
			done := 7
			if c.retry {
				done = 6
			}
			eventually(t, "the dying master has the commit", func() bool { return len(b.out(channel)) == done })
			eventually(t, "the worker has its answer", func() bool { return w.inHand() == 7-done })
			b.addr = heir.Addr()
			wantEqual(t, "publications that the heir has", len(b.out(channel)), 5)
			for range c.more {
				order.add(b, channel)
			}
			link.lead(heir.Addr())
			master.Kill()
			b.wantDone()
			order.check(b)
			wantEqual(t, "leases lost", fmt.Sprint(w.metrics.leaseLosses.Get() > 0), "true")
		})
	}
}

// inHand counts what is read and not committed.
func (r *testWorker) inHand() (n int) {
	for _, s := range r.shards {
		s.mu.Lock()
		for _, p := range s.hands {
			n += len(p.hand)
		}
		s.mu.Unlock()
	}
	return n
}
