package redistest_test

import (
	"net"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/redistest"
)

func TestCrashKeepsWhatIsOnDisk(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s.CLI("SET", "k", "v")
	s.Kill()
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Fatal("answers after Kill")
	}
	s.Restart()
	if got := s.CLI("GET", "k"); got != "v" {
		t.Fatalf("after a restart: %q, want v", got)
	}
}

func TestNothingIsKeptByDefault(t *testing.T) {
	s := redistest.Start(t)
	s.CLI("SET", "k", "v")
	s.Restart()
	if got := s.CLI("GET", "k"); got != "" {
		t.Fatalf("after a restart: %q, want nothing", got)
	}
}

func TestPausedServerIsSilent(t *testing.T) {
	s := redistest.Start(t)
	s.Pause()
	c, err := net.Dial("tcp", s.Addr()) // the kernel still accepts
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 16)); err == nil {
		t.Fatalf("a paused server answered %d bytes", n)
	}
	s.Continue()
	if got := s.CLI("PING"); got != "PONG" {
		t.Fatalf("PING: %q", got)
	}
}
