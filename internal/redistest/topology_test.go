package redistest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/redistest"
)

func TestReplicaHasWhatItsMasterHas(t *testing.T) {
	master := redistest.Start(t)
	master.CLI("SET", "k", "v")
	replica := redistest.StartReplica(t, master)
	if got := replica.CLI("GET", "k"); got != "v" || replica.IsMaster() || !master.IsMaster() {
		t.Fatalf("GET: %q, want v", got)
	}
}

func TestSentinelsPromoteTheReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	sentinels := redistest.StartSentinels(t, master, replica)
	if got := sentinels.MasterPort(); got != strconv.Itoa(master.Port()) {
		t.Fatalf("master on %s, want %d", got, master.Port())
	}
	master.Kill()
	for deadline := time.Now().Add(30 * time.Second); !replica.IsMaster(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no failover in 30s")
		}
	}
}

func TestClusterMovesSlots(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0)
	slot, at := c.Slot("k")
	from, to := c.Masters[at], c.Masters[(at+1)%3]
	from.CLI("SET", "k", "v")
	c.Move(slot, from, to, nil)
	if got := to.CLI("GET", "k"); got != "v" {
		t.Fatalf("after the move: %q, want v", got)
	}
}

func TestTLSServerAnswersItsCLI(t *testing.T) {
	s := redistest.StartTLS(t, redistest.NewCertificates(t))
	if got := s.CLI("PING"); got != "PONG" {
		t.Fatalf("PING: %q", got)
	}
}
