package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/millracehq/millrace/internal/freeport"
)

// Standby starts a streaming replica of the server, hot, which ends with the test. It is there at what the server has now, and follows.
func (s *Server) Standby() *Server {
	s.t.Helper()
	r := &Server{t: s.t, bin: s.bin, who: s.who}
	var err error
	if r.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		r.Kill()
		os.RemoveAll(r.dir)
	})
	if s.who != nil {
		if err := os.Chown(r.dir, int(s.who.Uid), int(s.who.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	source := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres sslmode=disable", s.port)
	backup := exec.Command(filepath.Join(s.bin, "pg_basebackup"), "-d", source, "-D", r.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
	backup.Dir = r.dir
	backup.SysProcAttr = &syscall.SysProcAttr{Credential: s.who}
	if out, err := backup.CombinedOutput(); err != nil {
		s.t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	for range 5 { // a port that was free may be taken by the time it is wanted
		r.port = freeport.Must(s.t, 1)[0]
		if err = r.start(); err == nil {
			return r
		}
	}
	s.t.Fatal(err)
	return nil
}
