package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/redistest"
)

const patience = 20 * time.Second

// A Cluster of three masters, one of which is killed. Its failover may lose what no replica had: so the ledger leaves out what was
// acknowledged in the last second before the kill and until all was well again.
func TestOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	_, at := c.Slot(stream.Keys{}.In(stream.Partition("echo:room-0", stream.DefaultPartitions)))
	survives(t, c.URL(), c.Masters[at].Kill, false)
}

// A master behind Sentinel, which is killed: with a durable replica nothing acknowledged is missing.
func TestBehindSentinel(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	t.Parallel()
	master := redistest.Start(t)
	replicas := []*redistest.Server{redistest.StartReplica(t, master), redistest.StartReplica(t, master)} // one is left for the heir
	s := redistest.StartSentinels(t, master, replicas...)
	survives(t, s.URL(), master.Kill, true, "--durable-replicas", "1")
}

// survives runs gateway and backend on a Redis of which a server is killed.
func survives(t *testing.T, redisURL string, kill func(), durable bool, gatewayArgs ...string) {
	t.Helper()
	listen, admin, health := freeport.MustAddr(t), freeport.MustAddr(t), freeport.MustAddr(t)
	url := "ws://" + listen + "/ws"
	ready := []string{"http://" + health + "/readyz", "http://" + admin + "/readyz"}
	start(t, ready[0], "backend", "--redis", redisURL, "--listen", health)
	start(t, ready[1], "gateway", append([]string{"--redis", redisURL, "--listen", listen, "--admin", admin}, gatewayArgs...)...)
	if !durable {
		ready = ready[:1] // the gateway is ready while some partitions are
	}

	position := wantService(t, url, "")
	var publishers []*publisher
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		p := &publisher{name: fmt.Sprintf("p%d", i), url: url, channel: fmt.Sprintf("echo:room-%d", i)}
		publishers = append(publishers, p)
		wg.Go(func() { p.run(ctx) })
	}
	acked := func() (n []int64) {
		for _, p := range publishers {
			n = append(n, p.acked.Load())
		}
		return n
	}
	progress := func(from []int64) bool {
		for i, n := range acked() {
			if n < from[i]+20 {
				return false
			}
		}
		return true
	}
	eventually(t, "publications", func() bool { return progress(make([]int64, len(publishers))) })
	before := acked()
	pause(ctx, time.Second)
	seen503 := watch503(ctx, &wg, ready)
	kill()
	eventually(t, "somebody is not ready", func() bool { return int(seen503.Load()) == len(ready) })
	for _, u := range ready {
		eventually(t, u+" is 200 again", func() bool { return status(u) == http.StatusOK })
	}
	from := acked()
	eventually(t, "publications after the failover", func() bool { return progress(from) })
	after := acked()
	wantService(t, url, position)
	eventually(t, "more publications", func() bool { return progress(after) })
	stop()
	wg.Wait()

	eventually(t, "everything acknowledged has been processed", func() bool {
		var out ledger
		out.read(t, redisURL)
		missing := ""
		for i, p := range publishers {
			for n := int64(1); n <= p.acked.Load(); n++ {
				id := fmt.Sprintf("%s-%d", p.name, n)
				if k := out.seen[id]; k > 1 {
					t.Fatalf("%s is processed %d times", id, k)
				} else if k == 0 && (durable || n <= before[i] || n > after[i]) {
					missing = id
				}
			}
		}
		return missing == ""
	})
	t.Logf("acknowledged %v a second before, %v when all was well, %v at the end", before, after, acked())
}

// wantService wants of a gateway all that it does: answers, echoes, direct publications, and those that a client has
// missed. It returns a position of echo:resume, and resumes at one that it is given.
func wantService(t *testing.T, url, position string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func() *client.Conn {
		c, err := client.Dial(ctx, url, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	subscribe := func(c *client.Conn, channel, position string) *client.Subscription {
		s, err := c.Subscribe(ctx, channel, position)
		if err != nil {
			t.Fatalf("sub %s %s: %v", channel, position, err)
		}
		return s
	}
	hear := func(s *client.Subscription, want string) {
		for {
			p, err := s.Next(ctx)
			if err != nil {
				t.Fatalf("%s on %s: %v", want, s.Channel(), err)
			}
			if string(p.Data) == want {
				return
			}
			if position == "" {
				t.Fatalf("%q on %s, want %s", p.Data, s.Channel(), want)
			}
		}
	}
	c := dial()
	other := dial()
	defer func() { _, _ = c.Close(), other.Close() }()
	publish := func(channel, body string) {
		if err := other.Publish(ctx, channel, "", []byte(body)); err != nil {
			t.Fatalf("pub %s: %v", channel, err)
		}
	}
	answer, err := c.Request(ctx, "echo:a", []byte("question"))
	if err != nil || string(answer) != "question" {
		t.Fatalf("req: %q, %v", answer, err)
	}
	direct := subscribe(c, "direct:a", "")
	publish("direct:a", "straight")
	hear(direct, "straight")
	resumed := subscribe(c, "echo:resume", position)
	publish("echo:resume", "one")
	hear(resumed, "one")
	here := resumed.Position()
	c.Abort()
	for _, body := range []string{"two", "three", "four"} {
		publish("echo:resume", body)
	}
	c = dial()
	resumed = subscribe(c, "echo:resume", here)
	for _, body := range []string{"two", "three", "four"} {
		hear(resumed, body)
	}
	return resumed.Position()
}

// watch503 counts the addresses that have answered 503.
func watch503(ctx context.Context, wg *sync.WaitGroup, urls []string) *atomic.Int64 {
	var n atomic.Int64
	for _, u := range urls {
		wg.Go(func() {
			for status(u) != http.StatusServiceUnavailable {
				if ctx.Err() != nil {
					return
				}
				pause(ctx, 10*time.Millisecond)
			}
			n.Add(1)
		})
	}
	return &n
}

func status(url string) int {
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}
