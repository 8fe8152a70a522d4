package redistest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// MasterName is the name under which [Sentinels] know their master.
const MasterName = "mymaster"

// Sentinels are three Redis Sentinels that watch one master: two agree that it is down when it is silent for a second.
// From there to the promotion of a replica it takes one to four seconds more.
type Sentinels struct {
	Servers []*Server
}

// StartSentinels starts three sentinels that know master, its replicas and one another from the beginning, and returns
// when they would agree on a failover.
func StartSentinels(t testing.TB, master *Server, replicas ...*Server) *Sentinels {
	t.Helper()
	g := &Sentinels{Servers: make([]*Server, 3)}
	ids := make([]string, len(g.Servers))
	for i := range g.Servers {
		g.Servers[i] = &Server{t: t, dir: t.TempDir()}
		id := make([]byte, 20)
		_, _ = rand.Read(id)
		ids[i] = hex.EncodeToString(id)
	}
	for i, s := range g.Servers {
		s.startAnywhere(func() {
			conf := filepath.Join(s.dir, "sentinel.conf")
			s.file = []string{conf, "--sentinel"}
			var b strings.Builder
			fmt.Fprintf(&b, "port %d\nbind 127.0.0.1\ndir %s\nsentinel myid %s\n", s.port, s.dir, ids[i])
			fmt.Fprintf(&b, "sentinel monitor %s 127.0.0.1 %d 2\n", MasterName, master.port)
			fmt.Fprintf(&b, "sentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 4000\n", MasterName, MasterName)
			for _, r := range replicas {
				fmt.Fprintf(&b, "sentinel known-replica %s 127.0.0.1 %d\n", MasterName, r.port)
			}
			for j, other := range g.Servers[:i] { // the others hear of the later ones from these
				fmt.Fprintf(&b, "sentinel known-sentinel %s 127.0.0.1 %d %s\n", MasterName, other.port, ids[j])
			}
			if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, s := range g.Servers {
		await(t, "sentinel "+s.Addr()+" knows the others", func() bool {
			master, err := s.cli("SENTINEL", "MASTER", MasterName)
			return err == nil && field(master, "num-other-sentinels") == "2" && field(master, "flags") == "master" &&
				field(master, "num-slaves") == fmt.Sprint(len(replicas))
		})
	}
	return g
}

// URL is redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/NAME/0.
func (g *Sentinels) URL() string {
	return "redis+sentinel://" + addrs(g.Servers) + "/" + MasterName + "/0"
}

// MasterPort is the port of the server that most recently was master by word of the first sentinel.
func (g *Sentinels) MasterPort() string {
	lines := strings.Split(g.Servers[0].CLI("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName), "\n")
	return lines[len(lines)-1]
}

// field is the value of a name in a list of names and values, a line each.
func field(list, name string) string {
	lines := strings.Split(list, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		if lines[i] == name {
			return lines[i+1]
		}
	}
	return ""
}

func addrs(servers []*Server) string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr()
	}
	return strings.Join(list, ",")
}
