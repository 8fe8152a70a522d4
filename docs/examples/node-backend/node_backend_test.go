// Package nodebackend_test runs the example as its README says, with the test as the gateway.
package nodebackend_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/redistest"
)

const patience = 30 * time.Second

// TestNodeBackend answers, publishes, drops what is repeated, and finishes what a killed process has left.
func TestNodeBackend(t *testing.T) {
	dir := install(t)
	s := redistest.Start(t)
	keys := stream.Keys{}
	node := startNode(t, dir, s, time.Hour) // nothing is claimed: what is acknowledged was handled at once

	s.CLI("XADD", keys.Node("g1"), "*", "kind", "wake")
	add(t, s, stream.Event{Kind: stream.KindReq, Channel: "node:hall", Ref: "4", Data: "what? ✓"})
	add(t, s, stream.Event{Kind: stream.KindPub, Channel: "node:hall", ID: "k1", Binary: true, Data: "hear!"})
	add(t, s, stream.Event{Kind: stream.KindPub, Channel: "node:hall", ID: "k1", Binary: true, Data: "hear!"})
	add(t, s, stream.Event{Kind: stream.KindPub, Channel: "elsewhere", Data: "not ours"})
	wantAcknowledged(t, s, "node:hall")
	wantAcknowledged(t, s, "elsewhere")
	out := keys.Out(stream.Partition("node:hall", stream.DefaultPartitions))
	wantEqual(t, "the answer", last(s, keys.Node("g1")), "kind res conn c1 ref 4 enc t data what? ✓")
	wantEqual(t, "the publication", last(s, out), "ch node:hall enc b data hear!")
	wantEqual(t, "publications", s.CLI("XLEN", out), "1")
	wantEqual(t, "publications elsewhere", s.CLI("EXISTS", keys.Out(stream.Partition("elsewhere", stream.DefaultPartitions))), "0")

	// Pending for a backend that has been killed: given to it, and never acknowledged.
	kill(t, node)
	add(t, s, stream.Event{Kind: stream.KindPub, Channel: "node:hall", Data: "left behind"})
	in := keys.In(stream.Partition("node:hall", stream.DefaultPartitions))
	s.CLI("XREADGROUP", "GROUP", stream.DefaultGroup, "killed", "STREAMS", in, ">")
	add(t, s, stream.Event{Kind: stream.KindReq, Channel: "node:hall", Ref: "5", Data: "while it was gone"})
	startNode(t, dir, s, 200*time.Millisecond)
	wantAcknowledged(t, s, "node:hall")
	wantEqual(t, "the publication", last(s, out), "ch node:hall enc t data left behind")
	wantEqual(t, "the answer", last(s, keys.Node("g1")), "kind res conn c1 ref 5 enc t data while it was gone")

	for _, lose := range []func(){func() { s.CLI("FLUSHALL") }, s.Restart} {
		lose()
		add(t, s, stream.Event{Kind: stream.KindPub, Channel: "node:hall", Data: "anew"})
		eventually(t, "the publication of a Redis that has lost its data", func() bool { return s.CLI("XLEN", out) == "1" })
	}
}

func TestOtherPartitionCount(t *testing.T) {
	dir := install(t)
	s := redistest.Start(t)
	s.CLI("HSET", stream.Keys{}.Meta(), "version", "1", "partitions", "128")
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "backend.mjs"))
	cmd.Env = append(os.Environ(), "REDIS="+s.URL())
	text, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "128 partitions") || !strings.Contains(string(text), "64") {
		t.Fatalf("%v: %s", err, text)
	}
}

// install runs npm ci on a copy of the example.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"backend.mjs", "package.json", "package-lock.json", ".npmrc"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not installed: Node 20 or newer, https://nodejs.org", program)
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, text)
	}
	return dir
}

// startNode returns when the backend reads.
func startNode(t *testing.T, dir string, s *redistest.Server, claimAfter time.Duration) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "backend.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "REDIS="+s.URL(), fmt.Sprint("CLAIM_AFTER=", claimAfter.Milliseconds()))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, cmd) })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "reading") {
		t.Fatalf("the backend says %q", lines.Text())
	}
	go func() {
		for lines.Scan() { // so that it can go on writing
			continue
		}
	}()
	return cmd
}

// kill ends a process by SIGKILL, once.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.ProcessState != nil {
		return
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // says that it was killed
}

// add writes an entry as a gateway does.
func add(t *testing.T, s *redistest.Server, e stream.Event) {
	t.Helper()
	e.Node, e.Conn, e.User, e.At = "g1", "c1", "änne", time.Now().UnixMilli()
	if e.Ref == "" {
		e.Ref = "1"
	}
	args := []string{"XADD", stream.Keys{}.In(stream.Partition(e.Channel, stream.DefaultPartitions)), "*"}
	for _, v := range e.Values() {
		args = append(args, fmt.Sprint(v))
	}
	s.CLI(args...)
}

func wantAcknowledged(t *testing.T, s *redistest.Server, channel string) {
	t.Helper()
	in := stream.Keys{}.In(stream.Partition(channel, stream.DefaultPartitions))
	eventually(t, "all of "+in+" is acknowledged", func() bool {
		return strings.Contains(s.CLI("XINFO", "GROUPS", in), "\npending\n0\n") &&
			strings.Contains(s.CLI("XINFO", "GROUPS", in), "\nlag\n0")
	})
}

// last is the newest entry of a stream, without its ID.
func last(s *redistest.Server, key string) string {
	_, fields, _ := strings.Cut(s.CLI("XREVRANGE", key, "+", "-", "COUNT", "1"), "\n")
	return strings.ReplaceAll(fields, "\n", " ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

func wantEqual(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}
