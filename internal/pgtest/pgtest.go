// Package pgtest runs a real PostgreSQL, and a PgBouncer before it, for one test: on free loopback ports, with a
// directory of their own, and gone when the test is.
//
//	test ──Start──▶ postgres 127.0.0.1:PORT, superuser "postgres" without a password
//	     ──Kill, Restart──▶ the bad nights of that server
//	     ──Bouncer──▶ pgbouncer 127.0.0.1:PORT in transaction mode
//
// PostgreSQL refuses to run as root: then it runs as the system user postgres. A test that needs it fails where it is not
// installed: a skipped test proves nothing.
package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/freeport"
)

const startTimeout = 30 * time.Second

// Server is one running PostgreSQL. Its methods are for the test's goroutine.
type Server struct {
	t    testing.TB
	dir  string
	bin  string
	args []string
	who  *syscall.Credential // nil: as we are
	port int
	proc *process
}

// process is one life of a program.
type process struct {
	pid    int
	exited chan struct{}
	log    string // file
}

// Start makes a new database cluster and starts it. args are settings, for example "-c", "fsync=on": without it nothing is
// synced to disk, which outlives a killed process and not a killed machine.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, bin: binDir(t), args: args, who: credential(t)}
	var err error
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil { //nolint:usetesting // the directories of t.TempDir are closed to other users
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(s.dir)
	})
	if s.who != nil {
		if err := os.Chown(s.dir, int(s.who.Uid), int(s.who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initdb.Dir = s.dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: s.who}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	for range 5 { // a port that was free may be taken by the time it is wanted
		s.port = freeport.Must(t, 1)[0]
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// binDir is where the programs are: the newest version of Debian's places, else that of initdb on the path.
func binDir(t testing.TB) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Fatal("PostgreSQL is not installed: apt-get install postgresql, or brew install postgresql")
	}
	return filepath.Dir(path)
}

func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("PostgreSQL does not run as root, and there is no user to run it: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) start() error {
	args := append([]string{
		"-D", s.data(), "-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.port), "-c", "unix_socket_directories=" + s.dir,
		"-c", "fsync=off", "-c", "max_connections=100",
	}, s.args...)
	p, err := s.run(filepath.Join(s.bin, "postgres"), filepath.Join(s.dir, "postgres.log"), args...)
	if err != nil {
		return err
	}
	s.proc = p
	return await(p, func() bool {
		out, err := exec.Command(filepath.Join(s.bin, "psql"), "-XAtq", s.URL("postgres", "postgres"), "-c", "SHOW data_directory").Output()
		return err == nil && strings.TrimSpace(string(out)) == s.data()
	})
}

// run starts a program that dies with the test.
func (s *Server) run(path, log string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = attributes(s.who)
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{exited: make(chan struct{}), log: log}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal is tied to the thread that forked, which must outlive the server
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// await polls until the program is ready.
func await(p *process, ready func() bool) error {
	for deadline := time.Now().Add(startTimeout); ; {
		if ready() {
			return nil
		}
		select {
		case <-p.exited:
			log, _ := os.ReadFile(p.log)
			return fmt.Errorf("it ended at once: %s", log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v: %s", startTimeout, p.log)
		}
	}
}

// URL is the address of a database for a user.
func (s *Server) URL(user, database string) string { return url(s.port, user, database) }

func url(port int, user, database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", user, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), database)
}

// SQL runs statements as the superuser and returns what psql prints, a line for each row. One that fails fails the test.
func (s *Server) SQL(database, statements string) string {
	s.t.Helper()
	return s.psql(s.URL("postgres", database), statements)
}

func (s *Server) psql(url, statements string) string {
	s.t.Helper()
	out, err := exec.Command(filepath.Join(s.bin, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", url, "-c", statements).CombinedOutput()
	if err != nil {
		s.t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Kill ends the server as a crash of its machine would, but for what the kernel still has to write.
func (s *Server) Kill() {
	if s.proc == nil {
		return
	}
	// The children of a postmaster that is gone notice, and end; SIGQUIT has it send them away at once.
	_ = syscall.Kill(s.proc.pid, syscall.SIGQUIT)
	select {
	case <-s.proc.exited:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(s.proc.pid, syscall.SIGKILL)
		<-s.proc.exited
	}
	s.proc = nil
}

// Restart kills the server if it still runs and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Bouncer starts a PgBouncer in transaction mode with so many connections to the server for each database, on which everybody is the
// user app, and returns its port.
func (s *Server) Bouncer(poolSize int) int { return s.BouncerAs("app", poolSize) }

// BouncerAs is Bouncer with another user.
func (s *Server) BouncerAs(user string, poolSize int) int {
	s.t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		if path = "/usr/sbin/pgbouncer"; !exists(path) {
			s.t.Fatal("pgbouncer is not installed: apt-get install pgbouncer, or brew install pgbouncer")
		}
	}
	port := freeport.Must(s.t, 1)[0]
	dir, err := os.MkdirTemp(s.dir, "bouncer")
	if err != nil {
		s.t.Fatal(err)
	}
	config := fmt.Sprintf(`[databases]
* = user=%s host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 200
`, user, s.port, port, poolSize)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	p, err := s.run(path, filepath.Join(s.dir, "pgbouncer.log"), file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.exited
	})
	err = await(p, func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return port
}

// BouncerURL is the address of a database behind a PgBouncer.
func (s *Server) BouncerURL(port int, database string) string { return url(port, "app", database) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
