package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millracehq/millrace/internal/redistest"
)

// testLog is a buffer that a test may read while it is written.
type testLog struct {
	mu   sync.Mutex
	text bytes.Buffer // Guarded by mu.
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await polls until what has been written contains text.
func (l *testLog) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(l.String(), text); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %q\n%s", text, l.String())
		}
	}
}

// Stopped by one signal or by two, the gateway has done as it was asked: exit code 0.
func TestSignals(t *testing.T) {
	server := redistest.Start(t)
	for signals := 1; signals <= 2; signals++ {
		var out testLog
		code := make(chan int, 1)
		go func() {
			code <- run([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--redis", server.URL()}, nil, &out, &out)
		}()
		out.await(t, "gateway is up")
		server.Pause() // so that there is something to hurry: the streams are not answered
		for range signals {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			out.await(t, "draining")
		}
		if signals == 1 {
			server.Continue()
		}
		select {
		case got := <-code:
			if got != 0 {
				t.Errorf("%d signals: exit code %d\n%s", signals, got, out.String())
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d signals: still running\n%s", signals, out.String())
		}
	}
	server.Continue()
}

// SIGHUP reads the file again: what is right is taken up, what is wrong is refused and changes nothing, and flags go on to win.
func TestHangup(t *testing.T) {
	server := redistest.Start(t)
	file := writeTest(t, "max_requests: 7\n")
	var out testLog
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"--config", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--redis", server.URL(), "--max-subscriptions", "5"}, nil, &out, &out)
	}()
	out.await(t, "gateway is up")
	hangup := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		out.await(t, want)
	}
	hangup("max_requests: 8\nmax_subscriptions: 6\n", "changed=[max_requests]")
	hangup("max_requests: 9\nmax_frame: 2048\n", "settings=[max_frame]")
	hangup("max_requests: 10\nmax_frame_rate: -1\n", "max_frame_rate: -1 is negative")
	hangup("max_request: 11\n", `unknown field`)
	hangup("max_requests: 9\n", "changed=[]")
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}
