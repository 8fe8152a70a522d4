package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/redistest"
)

// patience is how long what takes seconds may take on a machine that is busy with other tests.
const patience = 45 * time.Second

// connect returns a client that has connected.
func connect(t *testing.T, cfg redis.Config) *redis.Client {
	t.Helper()
	c := newTestClient(t, cfg)
	if err := c.Connect(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	return c
}

func pub(key string, n int) stream.Add {
	return stream.Add{Key: key, Values: []any{"n", strconv.Itoa(n)}}
}

// numbers are the entries of a stream that pub has made.
func numbers(t *testing.T, c *redis.Client, key string) []int {
	t.Helper()
	var list []int
	cursor := []stream.Cursor{{Key: key}}
	for {
		got, err := c.Read(t.Context(), cursor, 1000, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return list
		}
		for _, e := range got[0].Entries {
			n, _ := strconv.Atoi(e.Fields[1])
			list = append(list, n)
			cursor[0].ID = e.ID
		}
	}
}

func wantNumbers(t *testing.T, got, want []int) {
	t.Helper()
	for _, n := range want {
		if !slices.Contains(got, n) {
			t.Fatalf("entry %d was acknowledged and is gone; there are %d of %d", n, len(got), len(want))
		}
	}
	if !slices.IsSorted(got) {
		t.Fatalf("not in order: %v", got)
	}
}

// until calls f until it returns nil, and says how long that took.
func until(t *testing.T, what string, f func() error) time.Duration {
	t.Helper()
	for start := time.Now(); ; <-time.After(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > patience {
			t.Fatalf("%s: still after %v: %v", what, patience, err)
		}
	}
}

// What a gateway asks of Redis works in every topology.
func TestEveryTopology(t *testing.T) {
	t.Parallel()
	certs := redistest.NewCertificates(t)
	for name, url := range map[string]func(t *testing.T) string{
		"single": func(t *testing.T) string { return redistest.Start(t).URL() },
		"sentinel": func(t *testing.T) string {
			master := redistest.Start(t)
			return redistest.StartSentinels(t, master, redistest.StartReplica(t, master)).URL()
		},
		"cluster": func(t *testing.T) string { return redistest.StartCluster(t, 3, 0).URL() },
		"TLS": func(t *testing.T) string {
			return "rediss://" + redistest.StartTLS(t, certs).Addr() + "?ca=" + certs.CA + "&cert=" + certs.Cert + "&key=" + certs.Key
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ctx := connect(t, redis.Config{URL: url(t), Partitions: 8}), t.Context()
			if c.Cluster() != (name == "cluster") {
				t.Errorf("Cluster: %v", c.Cluster())
			}
			node := c.Keys().Node("n")
			var adds []stream.Add
			for i := range 800 {
				adds = append(adds, pub(c.Keys().Out(i%8), i))
			}
			adds = append(adds, pub(c.Keys().In(3), 0), pub(node, 0), pub(node, 1), pub(c.Keys().Meta(), 0))
			errs := c.Append(ctx, adds)
			if err := errors.Join(errs[:len(errs)-1]...); err != nil {
				t.Fatal(err)
			}
			if err := errs[len(errs)-1]; err == nil || errors.Is(err, stream.ErrDown) || errors.Is(err, stream.ErrPartDown) {
				t.Errorf("writing to a hash: %v", err)
			}
			keys := []string{c.Keys().Out(5), c.Keys().Out(6), c.Keys().Out(7), c.Keys().In(1)}
			tails, err := c.Tails(ctx, keys)
			if err != nil || tails[0] == (stream.ID{}) || tails[2] == (stream.ID{}) || tails[3] != (stream.ID{}) {
				t.Fatalf("tails %v, %v", tails, err)
			}
			for p := range 8 {
				got := numbers(t, c, c.Keys().Out(p))
				if len(got) != 100 || got[0] != p || !slices.IsSorted(got) {
					t.Fatalf("partition %d: %v", p, got)
				}
			}
			last, err := c.Tails(ctx, []string{node})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.KeepNode(ctx, node, last[0], time.Minute); err != nil {
				t.Fatal(err)
			}
			if got := numbers(t, c, node); len(got) != 1 {
				t.Errorf("KeepNode leaves %v", got)
			}
			g := c.Group("backend", "c")
			if !c.Cluster() { // there the group's own tests say what works
				if err := g.Create(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.TrimIn(ctx, "n", time.Minute); err != nil {
				t.Fatal(err)
			}
			wantServers(t, c)
			if err := c.Ping(ctx); err != nil {
				t.Error(err)
			}
			if err := c.Delete(ctx, append(keys, node)...); err != nil {
				t.Error(err)
			}
		})
	}
}

func wantServers(t *testing.T, c *redis.Client) {
	t.Helper()
	servers, err := c.Servers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen, held := map[string]bool{}, 0
	for _, s := range servers {
		if len(s.RunID) != 40 || seen[s.RunID] || seen[s.Addr] || strings.Contains(s.Addr, "/") {
			t.Errorf("server %+v", s)
		}
		seen[s.RunID], seen[s.Addr] = true, true
		held += len(s.Partitions)
	}
	if want := map[bool]int{false: 1, true: 3}[c.Cluster()]; len(servers) != want || held != c.Partitions() {
		t.Errorf("%d servers hold %d partitions: %+v", len(servers), held, servers)
	}
}

// The imitation has no run ID, and says so by an error.
func TestServersWithoutRunID(t *testing.T) {
	t.Parallel()
	addr := miniredis.RunT(t).Addr()
	servers, err := newTestClient(t, redis.Config{URL: "redis://" + addr, Partitions: 2}).Servers(t.Context())
	if err != nil || len(servers) != 1 || servers[0].Addr != addr || servers[0].RunID != "" || !slices.Equal(servers[0].Partitions, []int{0, 1}) {
		t.Fatalf("%+v, %v", servers, err)
	}
}

// One XREAD cannot span partitions in a Cluster: the reason why a gateway has a reader for each there. Not even on a
// Cluster of one server, for it is a matter of slots.
func TestClusterRefusesReadsOfSeveralPartitions(t *testing.T) {
	t.Parallel()
	c := connect(t, redis.Config{URL: redistest.StartCluster(t, 1, 0).URL()})
	_, err := c.Read(t.Context(), []stream.Cursor{{Key: c.Keys().Out(0)}, {Key: c.Keys().Out(1)}}, 1, time.Millisecond)
	if !goredis.HasErrorPrefix(err, "CROSSSLOT") {
		t.Fatalf("%v, want CROSSSLOT", err)
	}
	if _, err := c.Read(t.Context(), []stream.Cursor{{Key: c.Keys().Out(0)}, {Key: c.Keys().In(0)}}, 1, time.Millisecond); err != nil {
		t.Fatalf("both streams of a partition: %v", err)
	}
}

// A partition moves to another server while it is written: nothing is refused, lost, doubled or out of order.
func TestClusterMovesPartition(t *testing.T) {
	t.Parallel()
	cl := redistest.StartCluster(t, 2, 1)
	for replicas := range 2 {
		c := connect(t, redis.Config{URL: cl.URL(), Partitions: 8, Replicas: replicas, ReplicaTimeout: 2 * time.Second})
		key, fresh := c.Keys().In(replicas), c.Keys().Out(replicas) // fresh is made while it has to be asked for
		slot, at := cl.Slot(key)
		stop, done := make(chan struct{}), make(chan int)
		progress := make(chan int, 1)
		go func() {
			n := 0
			for ; ; n++ {
				if err := errors.Join(c.Append(context.WithoutCancel(t.Context()), []stream.Add{pub(key, 2*n), pub(c.Keys().In(7), n), pub(key, 2*n+1)})...); err != nil {
					t.Errorf("entry %d: %v", n, err)
				}
				select {
				case progress <- n:
				default:
				}
				select {
				case <-stop:
					done <- 2 * (n + 1)
					return
				default:
				}
			}
		}()
		for range 5 {
			<-progress
		}
		cl.Move(slot, cl.Masters[at], cl.Masters[1-at], func() {
			if err := errors.Join(c.Append(t.Context(), []stream.Add{pub(fresh, 0), pub(fresh, 1)})...); err != nil {
				t.Error(err)
			}
			for range 5 {
				<-progress
			}
		})
		for range 5 {
			<-progress
		}
		close(stop)
		want := <-done
		if got := numbers(t, c, key); len(got) != want || !slices.IsSorted(got) {
			t.Errorf("%d entries, want %d in order: %v", len(got), want, got)
		}
		if got := numbers(t, c, fresh); !slices.Equal(got, []int{0, 1}) {
			t.Errorf("asked for: %v", got)
		}
		until(t, "Servers follow the partition", func() error {
			servers, err := c.Servers(t.Context())
			for _, s := range servers {
				if slices.Contains(s.Partitions, replicas) && s.Addr == cl.Masters[1-at].Addr() {
					return nil
				}
			}
			return fmt.Errorf("%v, %w", servers, cmpErr(err))
		})
	}
}

func cmpErr(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// Config.Replicas: a replica that does not keep up makes Append fail in time, and not for longer.
func TestReplicas(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	c := connect(t, redis.Config{URL: master.URL(), Replicas: 1, ReplicaTimeout: 300 * time.Millisecond, Timeout: 10 * time.Second})
	node := c.Keys().Node("n")
	add := func() []error { return c.Append(t.Context(), []stream.Add{pub("a", 1), pub(node, 1), pub("a", 2)}) }
	until(t, "replicated", func() error { return errors.Join(add()...) })
	replica.Pause()
	start := time.Now()
	errs := add()
	if d := time.Since(start); d < 250*time.Millisecond || d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	if errs[1] != nil {
		t.Errorf("a node's stream waits for replicas: %v", errs[1])
	}
	for _, err := range []error{errs[0], errs[2]} {
		if !errors.Is(err, redis.ErrNotReplicated) || errors.Is(err, stream.ErrDown) || !strings.Contains(err.Error(), "0 of 1") {
			t.Errorf("%v", err)
		}
	}
	if err := errors.Join(c.Append(t.Context(), []stream.Add{pub(node, 1)})...); err != nil {
		t.Errorf("a node's stream alone: %v", err)
	}
	replica.Continue()
	until(t, "replicated again", func() error { return errors.Join(add()...) })
}

// Connect says what is wrong and what to do about it, at once where waiting is of no use.
func TestConnectSaysWhatToDo(t *testing.T) {
	t.Parallel()
	certs, others := redistest.NewCertificates(t), redistest.NewCertificates(t)
	tls, plain, cl := redistest.StartTLS(t, certs), redistest.Start(t), redistest.StartCluster(t, 2, 0)
	replica, locked := redistest.StartReplica(t, plain), redistest.Start(t)
	locked.CLI("CONFIG", "SET", "requirepass", "pw")
	sentinels := redistest.StartSentinels(t, plain, replica)
	_, other := cl.Slot("millrace:meta")
	mutual := "&cert=" + certs.Cert + "&key=" + certs.Key
	for name, c := range map[string]struct {
		url, want string
		slow      bool
	}{
		"wrong CA":             {"rediss://" + tls.Addr() + "?ca=" + others.CA + mutual, "add ?ca=FILE", false},
		"system's CA":          {"rediss://" + tls.Addr() + "?server_name=redis.test" + mutual, "add ?ca=FILE", false},
		"wrong name":           {"rediss://" + tls.Addr() + "?server_name=example.org&ca=" + certs.CA + mutual, "?server_name=NAME", false},
		"TLS where is none":    {"rediss://" + plain.Addr(), "write redis for rediss", true},
		"none where is TLS":    {"redis://" + tls.Addr(), "write rediss for redis", true},
		"no server":            {"redis://127.0.0.1:1", "is it running there?", true},
		"replica":              {replica.URL(), "it is a replica", true},
		"single for a Cluster": {"redis://" + cl.Masters[1-other].Addr(), "write redis+cluster://", false},
		"Cluster for a single": {"redis+cluster://" + plain.Addr(), "write redis://", false},
		"no password":          {"redis://" + locked.Addr(), ":password@", false},
		"wrong password":       {"redis://:secret@" + locked.Addr(), ":password@", false},
		"unknown master":       {strings.Replace(sentinels.URL(), redistest.MasterName, "other", 1), `no master named "other"`, true},
		"no sentinel":          {"redis+sentinel://127.0.0.1:1/m", "sentinels", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wait := 20 * time.Second
			if c.slow {
				wait = 0
			}
			client := newTestClient(t, redis.Config{URL: c.url, Timeout: time.Second})
			err := client.Connect(t.Context(), wait)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), client.Addr()) {
				t.Fatalf("%v, want it to say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("shows the password: %v", err)
			}
			if err := client.Append(t.Context(), []stream.Add{pub("a", 1)})[0]; !errors.Is(err, stream.ErrDown) && !errors.Is(err, stream.ErrPartDown) && !strings.Contains(name, "single for") {
				t.Errorf("Append: %v, want ErrDown", err)
			}
			if got, err := client.Read(t.Context(), []stream.Cursor{{Key: "a"}}, 1, time.Millisecond); err == nil && name != "replica" && !strings.Contains(name, "single for") {
				t.Errorf("Read: %v, want an error", got)
			}
		})
	}
	connect(t, redis.Config{URL: "rediss://" + tls.Addr() + "?insecure_skip_verify=true" + mutual})
	connect(t, redis.Config{URL: "rediss://" + tls.Addr() + "?server_name=redis.test&ca=" + certs.CA + mutual})
}
