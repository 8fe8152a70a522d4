package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

// writer appends numbered entries to a stream, one after the other, and goes on after errors.
type writer struct {
	stop   chan struct{}
	done   chan struct{}
	stored []int // acknowledged; read after end
	failed int
}

func startWriter(t *testing.T, c *redis.Client, key string) *writer {
	t.Helper()
	w := &writer{stop: make(chan struct{}), done: make(chan struct{})}
	ctx := context.WithoutCancel(t.Context())
	go func() {
		defer close(w.done)
		for n := 0; ; n++ {
			if err := c.Append(ctx, []stream.Add{pub(key, n)})[0]; err == nil {
				w.stored = append(w.stored, n)
			} else {
				w.failed++
			}
			select {
			case <-w.stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return w
}

func (w *writer) end() []int {
	close(w.stop)
	<-w.done
	return w.stored
}

// The master dies. What was acknowledged by a replica too is there afterwards, and the client finds the new master.
func TestSentinelFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	t.Parallel()
	master := redistest.Start(t)
	replicas := []*redistest.Server{redistest.StartReplica(t, master), redistest.StartReplica(t, master)}
	url := redistest.StartSentinels(t, master, replicas...).URL()
	c := connect(t, redis.Config{URL: url, Replicas: 1, Timeout: 2 * time.Second, ReplicaTimeout: time.Second})
	key, other := c.Keys().Out(0), c.Keys().In(0)
	before, err := c.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := startWriter(t, c, key)
	until(t, "replicated", func() error { return c.Append(t.Context(), []stream.Add{pub(other, 0)})[0] })
	master.Kill()
	took := until(t, "Append after the failover", func() error { return c.Append(t.Context(), []stream.Add{pub(other, 1)})[0] })
	until(t, "Read", func() error {
		_, err := c.Read(t.Context(), []stream.Cursor{{Key: key}}, 1, time.Second)
		return err
	})
	stored := w.end()
	t.Logf("the streams were down for %v; %d entries stored, %d refused", took.Round(time.Millisecond), len(stored), w.failed)
	wantNumbers(t, numbers(t, c, key), stored)
	after, err := c.Servers(t.Context())
	if err != nil || after[0].RunID == before[0].RunID || after[0].Addr == before[0].Addr {
		t.Errorf("Servers: %+v, then %+v, %v", before, after, err)
	}
}

// The master freezes, is replaced, and thaws: it still thinks that it is the master, and nobody may write to it.
func TestSentinelFailoverOfFrozenMaster(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	url := redistest.StartSentinels(t, master, replica).URL()
	const timeout = 1500 * time.Millisecond
	c := connect(t, redis.Config{URL: url, Timeout: timeout})
	key := c.Keys().Out(0)
	if err := c.Append(t.Context(), []stream.Add{pub(key, -1)})[0]; err != nil {
		t.Fatal(err)
	}
	until(t, "replication", func() error {
		if replica.CLI("EXISTS", key) != "1" {
			return errors.New("not there yet")
		}
		return nil
	})
	tails, err := c.Tails(t.Context(), []string{key})
	if err != nil {
		t.Fatal(err)
	}
	master.Pause()
	start := time.Now()
	if _, err := c.Read(t.Context(), []stream.Cursor{{Key: key, ID: tails[0]}}, 1, timeout/2); err == nil {
		t.Error("a frozen master answers")
	}
	if d := time.Since(start); d > timeout+5*time.Second {
		t.Errorf("a read from a frozen master ends after %v", d)
	}
	took := until(t, "Append after the failover", func() error { return c.Append(t.Context(), []stream.Add{pub(key, 0)})[0] })
	t.Logf("the streams were down for %v after the first error", took.Round(time.Millisecond))
	w := startWriter(t, c, key)
	master.Continue()
	until(t, "the old master is a replica", func() error {
		if master.IsMaster() {
			return errors.New("it is a master")
		}
		return nil
	})
	stored := w.end()
	t.Logf("%d entries stored, %d refused", len(stored), w.failed)
	got := numbers(t, c, key)
	for _, n := range stored {
		if !slices.Contains(got, n) {
			t.Fatalf("entry %d went to the old master", n)
		}
	}
}

// One master of a Cluster dies or freezes: its partitions are down until its replica has taken over, others never.
func TestClusterFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	for name, end := range map[string]func(*redistest.Server){"killed": (*redistest.Server).Kill, "frozen": (*redistest.Server).Pause} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := redistest.StartCluster(t, 3, 1)
			c := connect(t, redis.Config{URL: cl.URL(), Partitions: 16, Timeout: 1500 * time.Millisecond})
			// The meta hash is on some master too: the one that ends is another.
			_, metaAt := cl.Slot(c.Keys().Meta())
			lost, kept := -1, -1
			for p := range 16 {
				if _, at := cl.Slot(c.Keys().Out(p)); at == (metaAt+1)%3 {
					lost = p
				} else if at == metaAt {
					kept = p
				}
			}
			durable := connect(t, redis.Config{URL: cl.URL(), Partitions: 16, Timeout: 1500 * time.Millisecond, Replicas: 1})
			both := []stream.Add{pub(c.Keys().Out(lost), 0), pub(c.Keys().Out(kept), 0)}
			until(t, "replicated", func() error { return errors.Join(durable.Append(t.Context(), both)...) })
			w := startWriter(t, c, c.Keys().In(kept))
			end(cl.Masters[(metaAt+1)%3])
			refused := false
			took := until(t, "Append to the lost partition", func() error {
				errs := c.Append(t.Context(), both)
				if errs[1] != nil {
					t.Errorf("the other partition: %v", errs[1])
				}
				if errs[0] != nil {
					refused = true
					if !errors.Is(errs[0], stream.ErrPartDown) || errors.Is(errs[0], stream.ErrDown) {
						t.Errorf("%v", errs[0])
					}
				}
				if _, err := c.Read(t.Context(), []stream.Cursor{{Key: both[1].Key}}, 1, time.Millisecond); err != nil {
					t.Errorf("read of the other partition: %v", err)
				}
				return errs[0]
			})
			stored := w.end()
			t.Logf("the partition was down for %v; %d entries stored in the other", took.Round(time.Millisecond), len(stored))
			if !refused || w.failed > 0 {
				t.Errorf("refused %v; %d entries failed in the other partition", refused, w.failed)
			}
			until(t, "Read of the lost partition", func() error {
				got, err := c.Read(t.Context(), []stream.Cursor{{Key: both[0].Key}}, 10, time.Millisecond)
				if err == nil && len(got[0].Entries) < 2 {
					err = fmt.Errorf("the entry that was replicated is gone: %v", got)
				}
				return err
			})
			until(t, "all servers answer", func() error {
				if _, err := c.TrimIn(t.Context(), "n", time.Millisecond); err != nil {
					return err
				}
				servers, err := c.Servers(t.Context())
				if err == nil && len(servers) != 3 {
					err = fmt.Errorf("%v", servers)
				}
				return err
			})
		})
	}
}

// A password that has changed is no reason to think that an entry is stored.
func TestAppendWithAnOldPassword(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.CLI("CONFIG", "SET", "requirepass", "old")
	c := connect(t, redis.Config{URL: "redis://:old@" + s.Addr()})
	if err := c.Append(t.Context(), []stream.Add{pub("a", 0)})[0]; err != nil {
		t.Fatal(err)
	}
	s.Restart()
	s.CLI("CONFIG", "SET", "requirepass", "new")
	until(t, "refusal", func() error { // first it is the old connection that ends
		err := c.Append(t.Context(), []stream.Add{pub("a", 1)})[0]
		if !errors.Is(err, stream.ErrDown) {
			t.Fatalf("%v, want ErrDown", err)
		}
		if !strings.Contains(err.Error(), "WRONGPASS") {
			return err
		}
		return nil
	})
}
