package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/millracehq/millrace/internal/freeport"
)

const slots = 16384

// Cluster is a Redis Cluster. A master that is silent for 1.5 seconds is replaced by a replica about a second later;
// meanwhile the others go on serving their slots.
type Cluster struct {
	Masters  []*Server   // as they were at the start
	Replicas [][]*Server // of each master
	ids      map[*Server]string
}

// StartCluster starts a Cluster whose masters share the slots equally, in their order, and returns when every server
// knows of all, and replicas have what their masters have.
func StartCluster(t testing.TB, masters, replicasPerMaster int) *Cluster {
	t.Helper()
	c := &Cluster{ids: make(map[*Server]string)}
	start := func() *Server {
		s := &Server{t: t, dir: t.TempDir()}
		s.startAnywhere(func() {
			s.args = []string{
				"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freeport.Must(t, 1)[0]), "--cluster-node-timeout", "1500",
				"--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0",
			}
		})
		c.ids[s] = s.CLI("CLUSTER", "MYID")
		return s
	}
	for i := range masters {
		s := start()
		s.CLI("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.CLI("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(slots*i/masters), strconv.Itoa(slots*(i+1)/masters-1))
		c.Masters = append(c.Masters, s)
		c.Replicas = append(c.Replicas, nil)
	}
	for i := range c.Masters {
		for range replicasPerMaster {
			c.Replicas[i] = append(c.Replicas[i], start())
		}
	}
	all := c.Servers()
	for _, s := range all[1:] {
		s.CLI("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(all[0].port), all[0].busPort())
	}
	await(t, "servers of the Cluster meet", func() bool { return c.all("cluster_known_nodes:" + strconv.Itoa(len(all))) })
	for i, list := range c.Replicas {
		for _, s := range list {
			await(t, "replica knows its master", func() bool {
				_, err := s.cli("CLUSTER", "REPLICATE", c.ids[c.Masters[i]])
				return err == nil
			})
			s.awaitLink()
		}
	}
	await(t, "the Cluster is in order", func() bool {
		return c.all("cluster_state:ok") && c.all("cluster_slots_assigned:"+strconv.Itoa(slots)) && c.knowReplicas()
	})
	return c
}

// Servers are all that were started, masters first.
func (c *Cluster) Servers() []*Server {
	all := append([]*Server(nil), c.Masters...)
	for _, list := range c.Replicas {
		all = append(all, list...)
	}
	return all
}

// URL is redis+cluster://HOST:PORT,…, of all servers.
func (c *Cluster) URL() string { return "redis+cluster://" + addrs(c.Servers()) }

// Slot is the key slot of a key, and the place in Masters of the server that had it at the start.
func (c *Cluster) Slot(key string) (slot, master int) {
	slot, _ = strconv.Atoi(c.Masters[0].CLI("CLUSTER", "KEYSLOT", key))
	for master = range c.Masters {
		if slot < slots*(master+1)/len(c.Masters) {
			break
		}
	}
	return slot, master
}

// Move migrates a slot with its keys from one server to another as an operator's tools do: between the steps its keys
// are answered by ASK, then by MOVED. between, if not nil, is called when the keys are gone and the slot is not.
func (c *Cluster) Move(slot int, from, to *Server, between func()) {
	n := strconv.Itoa(slot)
	to.CLI("CLUSTER", "SETSLOT", n, "IMPORTING", c.ids[from])
	from.CLI("CLUSTER", "SETSLOT", n, "MIGRATING", c.ids[to])
	for {
		keys := strings.Fields(from.CLI("CLUSTER", "GETKEYSINSLOT", n, "100"))
		if len(keys) == 0 {
			break
		}
		args := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", "0", "5000", "KEYS"}
		from.CLI(append(args, keys...)...)
	}
	if between != nil {
		between()
	}
	for _, s := range []*Server{to, from} {
		s.CLI("CLUSTER", "SETSLOT", n, "NODE", c.ids[to])
	}
}

// all reports whether the CLUSTER INFO of every server has a line.
func (c *Cluster) all(line string) bool {
	for _, s := range c.Servers() {
		info, err := s.cli("CLUSTER", "INFO")
		if err != nil || !strings.Contains(info, line+"\r\n") {
			return false
		}
	}
	return true
}

// knowReplicas reports whether every server lists every replica as such.
func (c *Cluster) knowReplicas() bool {
	for _, s := range c.Servers() {
		nodes, _ := s.cli("CLUSTER", "NODES")
		for i, list := range c.Replicas {
			if n := strings.Count(nodes, "slave "+c.ids[c.Masters[i]]); n != len(list) {
				return false
			}
		}
	}
	return true
}

// busPort is the port of the Cluster's own talk.
func (s *Server) busPort() string {
	for i, arg := range s.args {
		if arg == "--cluster-port" {
			return s.args[i+1]
		}
	}
	panic(fmt.Sprintf("BUG: %s is in no Cluster", s.Addr()))
}
