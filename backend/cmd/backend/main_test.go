package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/backend/store/postgres"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/freeport"
	"github.com/millracehq/millrace/internal/pgtest"
	"github.com/millracehq/millrace/internal/redistest"
)

const patience = 20 * time.Second

// built is the program under test.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "backend")
	if err != nil {
		panic(err)
	}
	built = filepath.Join(dir, "backend")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=v1.2.3", "-o", built, ".")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// outcome is how a run of the program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

func runProgram(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), built, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func (o outcome) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", o.code, code, o.stdout, o.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(o.stdout+o.stderr, text) {
			t.Errorf("no %q in\n%s%s", text, o.stdout, o.stderr)
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	runProgram(t, nil, "--help").want(t, 0, "--redis", "--database", "--listen", "--prefix", "--partitions", "--group",
		"--concurrency", "--log-level", "--log-format", "--version", "MILLRACE_LOG_LEVEL")
	runProgram(t, nil, "--version").want(t, 0, "backend v1.2.3")
	runProgram(t, nil, "--redsi", "x").want(t, 2, "-redsi", "backend --help")
	runProgram(t, nil, "run").want(t, 2, `unexpected argument "run"`)
	runProgram(t, nil, "--database", "mysql://x", "--log-format", "xml", "--partitions", "-1").
		want(t, 2, `"mysql://x" is neither`, `"xml" is neither`, "-1 is not in 1 to 16384")
	runProgram(t, []string{"MILLRACE_CONCURRENCY=many"}).want(t, 2, `MILLRACE_CONCURRENCY="many"`)
	runProgram(t, nil, "--demo-sign-in").want(t, 2, "nothing to sign in to")
	runProgram(t, nil, "--demo-sign-in", "--database", "sqlite:x").want(t, 2, "set MILLRACE_JWT_SECRET")
	runProgram(t, []string{"MILLRACE_JWT_SECRET=short"}, "--demo-sign-in", "--database", "sqlite:x", "--listen", ":8000").want(t, 2, "lets everybody be anybody")
	runProgram(t, []string{"MILLRACE_JWT_SECRET=short"}, "--database", "sqlite:"+filepath.Join(t.TempDir(), "b.db")).want(t, 1, "at least 32")
	runProgram(t, nil, "migrate", "--help").want(t, 0, "CREATEROLE")
	runProgram(t, nil, "migrate", "up").want(t, 2, `"" is not postgres`)
	runProgram(t, nil, "migrate", "down", "--database", "postgres://x/y").want(t, 2, "say up or status")
	runProgram(t, []string{"MILLRACE_DATABASE=nowhere"}, "--database", "postgres://db/x", "--version").want(t, 0)
}

func TestRedisThatDoesNotAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the 10 seconds that the program waits")
	}
	t.Parallel()
	addr := freeport.MustAddr(t)
	start := time.Now()
	runProgram(t, nil, "--redis", "redis://"+addr+"/0", "--listen", "127.0.0.1:0").want(t, 1, "redis at "+addr, "is it running there?")
	if took := time.Since(start); took < 9*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

func TestWrongPartitions(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.CLI("HSET", stream.Keys{}.Meta(), "version", "1", "partitions", "128")
	runProgram(t, nil, "--redis", s.URL(), "--listen", "127.0.0.1:0", "--partitions", "32").want(t, 1, "128 partitions", "set to 32")
}

// TestMigrate: a backend says what to do until the owner has done it.
func TestMigrate(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t)
	db.SQL("postgres", "CREATE ROLE owner LOGIN CREATEROLE; CREATE ROLE app LOGIN")
	db.SQL("postgres", "CREATE DATABASE boards OWNER owner")
	owner, app, version := db.URL("owner", "boards"), db.URL("app", "boards"), strconv.Itoa(postgres.Version())
	runProgram(t, nil, "migrate", "status", "--database", owner).want(t, 1, "version 0 of "+version, "migrate up")
	runProgram(t, nil, "--listen", "127.0.0.1:0", "--database", app).want(t, 1, "--database", "migrate up")
	runProgram(t, []string{"MILLRACE_DATABASE=" + owner}, "migrate", "up").want(t, 0, "ran 0001_boards.sql", "version "+version)
	runProgram(t, nil, "migrate", "up", "--database", owner).want(t, 0, "version "+version)
	runProgram(t, nil, "migrate", "status", "--database", owner).want(t, 0, "version "+version+" of "+version)
	runProgram(t, nil, "--listen", "127.0.0.1:0", "--database", app).want(t, 1, "grant millrace_app")
	runProgram(t, nil, "--listen", "127.0.0.1:0", "--database", db.URL("postgres", "boards")).want(t, 1, "bypasses row-level security")
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runProgram(t, nil, "--listen", l.Addr().String()).want(t, 1, "--listen", "address already in use")
}

// TestEcho is the whole life of the program, on an installation that is not the default one.
func TestEcho(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	const partitions, prefix, group = 8, "mill", "staff"
	keys := stream.Keys{Prefix: prefix}
	listen := freeport.MustAddr(t)
	var log bytes.Buffer
	cmd := exec.Command(built, "--redis", s.URL(), "--listen", listen, "--prefix", prefix, "--log-format", "json")
	cmd.Env = append(os.Environ(), "MILLRACE_PARTITIONS=8", "MILLRACE_GROUP="+group, "MILLRACE_PREFIX=loses")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + listen + path)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	ready := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("/readyz answers %d", want), func() bool { code, _ := get("/readyz"); return code == want })
	}
	ready(http.StatusOK)

	s.CLI("XADD", keys.Node("n1"), "*", "kind", "wake")
	p := stream.Partition("echo:a", partitions)
	add := func(kind, ref, data string) {
		s.CLI("XADD", keys.In(p), "*", "kind", kind, "ch", "echo:a", "node", "n1", "conn", "c1", "user", "ann",
			"ref", ref, "at", fmt.Sprint(time.Now().UnixMilli()), "enc", "b", "data", data)
	}
	add("req", "4", "what?")
	add("pub", "5", "hear!")
	eventually(t, "the publication", func() bool { return s.CLI("XLEN", keys.Out(p)) == "1" })
	for key, want := range map[string]string{
		keys.Node("n1"): "kind\nres\nconn\nc1\nref\n4\nenc\nb\ndata\nwhat?",
		keys.Out(p):     "enc\nb\ndata\nhear!",
	} {
		if got := s.CLI("XREVRANGE", key, "+", "-", "COUNT", "1"); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, `millrace_backend_entries_total{kind="pub"} 1`) ||
		!strings.Contains(body, "process_cpu_seconds_total") {
		t.Errorf("/metrics: %d %s", code, body)
	}

	s.Kill()
	ready(http.StatusServiceUnavailable)
	if _, body := get("/readyz"); !strings.Contains(body, s.Addr()) {
		t.Errorf("/readyz does not say why: %s", body)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d while Redis is gone", code)
	}
	s.Restart()
	ready(http.StatusOK)

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, log.String())
	}
	if got := s.CLI("XINFO", "CONSUMERS", keys.In(p), group); got != "" {
		t.Errorf("consumers after the end: %s", got)
	}
	if !strings.Contains(log.String(), `"msg":"reading"`) {
		t.Errorf("log is not json: %s", log.String())
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}
