package worker

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

func newClusterBed(t *testing.T, c *redistest.Cluster, prefix string) *bed {
	t.Helper()
	b := &bed{t: t, url: c.URL(), keys: stream.Keys{Prefix: prefix}}
	for _, s := range c.Servers() {
		b.addrs = append(b.addrs, s.Addr())
	}
	return b
}

// TestContractOnCluster: what holds on one server holds where partitions and nodes are on three.
func TestContractOnCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	at := map[int]bool{}
	for p := range testPartitions {
		_, master := c.Slot(stream.Keys{}.In(p))
		at[master] = true
	}
	if len(at) != 3 {
		t.Fatal("partitions are not on all masters")
	}
	for name, test := range map[string]func(*bed){
		"request": requestIsAnswered, "origin": publicationCarriesItsOrigin, "send": sendGoesToOneConnection, "order": orderWithinChannels,
		"repeated": repeatedIDIsHandledOnce, "failed": failedPublicationIsHandledAgain, "claims": claimsFromDeadConsumer,
		"once": effectsHappenOnce, "share": workersShareThePartitions, "quick": echoIsQuick,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newClusterBed(t, c, name))
		})
	}
}

// echoIsQuick: an echo need not wait until watches of other partitions end.
func echoIsQuick(b *bed) {
	b.t.Helper()
	b.start(map[string]Handler{"echo": echo}, func(c *Config) { c.Concurrency = 1 })
	const entries = 40
	start := time.Now()
	for i := range entries {
		channel := fmt.Sprint("echo:", i)
		b.add(stream.Event{Kind: stream.KindPub, Channel: channel})
		eventually(b.t, "the echo", func() bool { return len(b.out(channel)) == 1 })
	}
	if took := time.Since(start) / entries; took > 200*time.Millisecond { // a watch lasts for 500
		b.t.Errorf("an echo takes %v", took)
	}
}

// addDurable writes an entry until so many replicas have it too. Its ID has it handled once, however often that was tried.
func (b *bed) addDurable(channel string, n, replicas int) {
	b.t.Helper()
	e := stream.Event{
		Kind: stream.KindPub, Channel: channel, Node: "n1", Conn: "conn1", User: "ann", Ref: "-", ID: fmt.Sprint(channel, n), Data: strconv.Itoa(n),
	}
	add := append([]any{"XADD", b.keys.In(b.partition(channel)), "*"}, e.Values()...)
	eventually(b.t, "an entry is stored", func() bool {
		have, err := b.try(add, []any{"WAIT", replicas, 1000})
		return err == nil && have.(int) >= replicas
	})
}

// TestClusterMasterDies: the commits of the last moment may be lost with the master. What the replica has is handled, in order and
// once, by the backends that are there. (Effects for partitions and nodes on other servers are not in this: one that a
// master has lost while the entry's own master has its acknowledgement is lost.)
func TestClusterMasterDies(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	b := newClusterBed(t, c, "")
	for range 2 {
		b.start(map[string]Handler{"echo": echo}, quick)
	}
	channels := make([]string, 8)
	for i := range channels {
		channels[i] = fmt.Sprint("echo:", i)
	}
	_, dying := c.Slot(b.keys.In(b.partition(channels[0])))
	var stop atomic.Bool
	time.AfterFunc(8*time.Second, func() { stop.Store(true) })
	order := &ledger{next: make(map[string]int)}
	replicas := 1 // the heir has none, and does not die
	for round := 0; !stop.Load(); round++ {
		for _, channel := range channels {
			b.addDurable(channel, order.next[channel], replicas)
			order.next[channel]++
		}
		if round == 20 {
			replicas = 0
			c.Masters[dying].Kill()
		}
	}
	b.wantDone()
	order.check(b)
	t.Logf("%v entries of each channel", order.next[channels[0]])
	if replicas > 0 || order.next[channels[0]] < 40 {
		t.Error("too little happened")
	}
}
