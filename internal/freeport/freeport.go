// Package freeport finds ports of 127.0.0.1 for servers that are started as processes, and perhaps stopped and started again.
//
// A port that the kernel gives (that of a listener on port 0) may be gone before the server has it: to an outgoing connection of anybody, to
// another who asks, or, while a server is away, to a client of its own that connects to itself. So these ports are below those of
// outgoing connections (ip_local_port_range, from 32768 on), and each user's processes take them in turn, by a file in the directory
// for temporary files: one comes again only after all others.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const first, last = 10_000, 32_767

// Find finds n ports in a row on which nobody listens now.
func Find(n int) (ports []int, err error) {
	turn, err := takeTurn(filepath.Join(os.TempDir(), fmt.Sprintf("millrace-port-%d", os.Getuid())))
	if err != nil {
		return nil, fmt.Errorf("freeport: %w", err)
	}
	defer turn.end()
	for range last - first {
		port := turn.next()
		switch {
		case !free(port):
			ports = ports[:0]
		case len(ports) > 0 && port != ports[len(ports)-1]+1: // the turn has begun again
			ports = append(ports[:0], port)
		default:
			ports = append(ports, port)
		}
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("freeport: no %d ports in a row are free between %d and %d", n, first, last)
}

// Addr is HOST:PORT of one that is free.
func Addr() (string, error) {
	ports, err := Find(1)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), nil
}

// TB is what of testing.TB is asked for.
type TB interface {
	Helper()
	Fatal(args ...any)
}

// Must is Find for a test.
func Must(t TB, n int) []int {
	t.Helper()
	ports, err := Find(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// MustAddr is Addr for a test.
func MustAddr(t TB) string {
	t.Helper()
	addr, err := Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // takes no time
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// turn is the file that says which port was taken last; it is locked as long as it is open.
type turn struct {
	file *os.File
	port int
}

func takeTurn(path string) (*turn, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	text := make([]byte, 8)
	n, _ := f.ReadAt(text, 0) // nothing, if the file is new
	port, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		port = first + rand.IntN(last-first)
	}
	return &turn{f, port}, nil
}

func (t *turn) next() int {
	if t.port++; t.port < first || t.port > last {
		t.port = first
	}
	return t.port
}

// end writes down where the next one goes on. If that fails, they begin somewhere else.
func (t *turn) end() {
	_, _ = t.file.WriteAt(fmt.Appendf(nil, "%7d\n", t.port), 0)
	_ = t.file.Close()
}
