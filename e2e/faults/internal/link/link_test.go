package link

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// newTestLink leads to a server that sends everything back.
func newTestLink(t *testing.T) *Link {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	l, err := New(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		server.Close()
		wg.Wait()
	})
	return l
}

func dialTest(t *testing.T, l *Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends text and reads what comes within d.
func echo(t *testing.T, c net.Conn, text string, d time.Duration) (string, error) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	b := make([]byte, len(text))
	n, err := io.ReadFull(c, b)
	return string(b[:n]), err
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := echo(t, c, "hello", 10*time.Second); err != nil || got != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func wantDead(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := echo(t, c, "hello", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want the end", got, err)
	}
}

// wantRefused: the reset may come before the client knows that it is connected, or behind that.
func wantRefused(t *testing.T, l *Link) {
	t.Helper()
	if c, err := net.Dial("tcp", l.Addr()); err == nil {
		defer c.Close()
		wantDead(t, c)
	}
}

func TestPasses(t *testing.T) {
	l := newTestLink(t)
	a, b := dialTest(t, l), dialTest(t, l)
	wantEcho(t, a)
	wantEcho(t, b)
	text := strings.Repeat("0123456789", 50_000)
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() { got, _ = io.ReadAll(a) })
	if _, err := io.WriteString(a, text); err != nil {
		t.Fatal(err)
	}
	if err := a.(*net.TCPConn).CloseWrite(); err != nil { // half a close is passed on too
		t.Fatal(err)
	}
	if wg.Wait(); string(got) != text {
		t.Errorf("%d bytes came back of %d", len(got), len(text))
	}
}

func TestCutAndRefuse(t *testing.T) {
	l := newTestLink(t)
	c := dialTest(t, l)
	wantEcho(t, c)
	l.Cut()
	wantDead(t, c)
	c = dialTest(t, l)
	wantEcho(t, c)
	l.Refuse()
	wantDead(t, c)
	wantRefused(t, l)
	l.Heal()
	wantEcho(t, dialTest(t, l))
}

func TestStall(t *testing.T) {
	for name, directions := range map[string][]Direction{"up": {Up}, "down": {Down}, "both": {Up, Down}} {
		t.Run(name, func(t *testing.T) {
			l := newTestLink(t)
			c := dialTest(t, l)
			wantEcho(t, c)
			l.Stall(directions...)
			if got, err := echo(t, c, "late", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %q, %v; want nothing", got, err)
			}
			l.Heal()
			b := make([]byte, 4)
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "late" {
				t.Fatalf("got %q, %v; want what was held back", b, err)
			}
			l.Stall(directions...)
			l.Cut() // a stalled connection can be cut
			wantDead(t, c)
		})
	}
}

func TestSlow(t *testing.T) {
	l := newTestLink(t)
	c := dialTest(t, l)
	l.Slow(1_000_000, 20*time.Millisecond)
	start := time.Now()
	wantEcho(t, c)
	if took := time.Since(start); took < 40*time.Millisecond {
		t.Errorf("took %v, want 20 ms each way at least", took)
	}
	l.Heal()
	wantEcho(t, c)
}

func TestBite(t *testing.T) {
	l := newTestLink(t)
	c := dialTest(t, l)
	wantEcho(t, c)
	l.Bite(8) // five bytes up, three of five down
	got, err := echo(t, c, "hello", 10*time.Second)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || len(got) > 3 {
		t.Fatalf("got %q, %v; want three bytes at most and the end", got, err)
	}
	wantEcho(t, dialTest(t, l)) // the next one is not bitten
	c = dialTest(t, l)
	wantEcho(t, c)
	l.Bite(6)
	l.Heal()
	wantEcho(t, c)
	wantEcho(t, c)
}

func TestUnreachableTarget(t *testing.T) {
	l, err := New("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantRefused(t, l)
}
