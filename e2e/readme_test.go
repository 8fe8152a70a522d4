package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/client"
)

// readmeBlocks are the shell blocks of the README that use redis-cli.
func readmeBlocks(t *testing.T) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], "redis-cli") {
			blocks = append(blocks, m[1])
		}
	}
	return blocks
}

// The backend of the README compiles as it stands there.
func TestReadmeGo(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the README has no Go block")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	source := fmt.Sprintf(`package main

import (
	"context"

	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
)

func run(ctx context.Context) error {
%s}

func main() { _ = run(context.Background()) }
`, m[1])
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", os.DevNull, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// What the README types into redis-cli works as it stands there, but for the port.
func TestReadmeByRedisCLI(t *testing.T) {
	blocks := readmeBlocks(t)
	if len(blocks) != 2 {
		t.Fatalf("the README has %d blocks with redis-cli, this test knows 2", len(blocks))
	}
	s := newTestSystem(t)
	_, port, _ := net.SplitHostPort(s.redis.Addr())
	sh := func(script string) {
		t.Helper()
		cmd := exec.Command("bash", "-euc", fmt.Sprintf("redis-cli() { command redis-cli -p %s \"$@\"; }\n%s", port, script))
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERR") {
			t.Fatalf("%v\n%s\n%s", err, script, out)
		}
	}
	c, err := client.Dial(t.Context(), s.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	sub, err := c.Subscribe(t.Context(), "direct:lobby", "")
	if err != nil {
		t.Fatal(err)
	}
	sh(blocks[0])
	if p, err := sub.Next(t.Context()); err != nil || string(p.Data) != "hello from redis-cli" {
		t.Fatalf("%q, %v", p.Data, err)
	}

	s.backend.kill()
	t.Cleanup(func() { s.backend.start() })
	raw, err := client.DialRaw(t.Context(), s.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Abort)
	if err := raw.Write(t.Context(), false, []byte("req 1 echo:lobby\nquestion")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is in the stream", func() bool {
		out, err := exec.Command("redis-cli", "-p", port, "XLEN", "millrace:{47}:in").Output()
		return err == nil && strings.TrimSpace(string(out)) == "1"
	})
	sh(blocks[1])
	deadline := time.Now().Add(10 * time.Second)
	for {
		f, err := raw.Read(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no answer: %v", err)
		}
		if f.Verb() == "res" {
			if f.Head != "res 1" || string(f.Body) != "hello from redis-cli" {
				t.Fatalf("%q %q", f.Head, f.Body)
			}
			return
		}
	}
}
