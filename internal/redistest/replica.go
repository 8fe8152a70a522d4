package redistest

import (
	"strconv"
	"strings"
	"testing"
)

// StartReplica starts a server that copies master, and returns when it has all that master has.
func StartReplica(t testing.TB, master *Server, args ...string) *Server {
	t.Helper()
	s := Start(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(master.port)}, args...)...)
	s.awaitLink()
	return s
}

// awaitLink returns when a replica follows its master.
func (s *Server) awaitLink() {
	s.t.Helper()
	await(s.t, "replica "+s.Addr()+" follows its master", func() bool {
		info, err := s.cli("INFO", "replication")
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
}

// IsMaster reports whether the server is there and says of itself that it is a master.
func (s *Server) IsMaster() bool {
	info, err := s.cli("INFO", "replication")
	return err == nil && strings.Contains(info, "role:master")
}
