package loop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// probe resolves addr to a free port: a port bound with SO_REUSEPORT would be shared with a stranger without a word.
func probe(addr string) (string, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", addr, err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String(), nil
}

// listen binds addr and returns a descriptor of its own: Go's runtime must not watch it as well, or each connection
// would wake two pollers. With shared, several loops may bind the same port.
func listen(addr string, shared bool) (int, net.Addr, error) {
	ctx := context.Background()
	lc := net.ListenConfig{}
	if shared {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var err error
			cerr := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			if err == nil {
				err = cerr
			}
			return err
		}
	}
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return -1, nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	defer func() { _ = ln.Close() }()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	fd := -1
	cerr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) })
	if cerr != nil || err != nil {
		return -1, nil, fmt.Errorf("listen on %s: duplicate the descriptor: %w", addr, err)
	}
	return fd, ln.Addr(), nil
}

// openDescriptors makes the loop's epoll instance, eventfd and two timerfds.
func openDescriptors() (fds [4]int, err error) {
	calls := []func() (int, error){
		func() (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) },
		func() (int, error) { return unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC) },
		func() (int, error) {
			return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		},
		func() (int, error) {
			return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		},
	}
	for i, open := range calls {
		if fds[i], err = open(); err != nil {
			for _, fd := range fds[:i] {
				closeFD(int32(fd))
			}
			return fds, os.NewSyscallError("epoll, eventfd or timerfd", err)
		}
	}
	return fds, nil
}

// WakeAt makes sure that a turn comes at that time of CLOCK_MONOTONIC (Now), in nanoseconds, instead of at the time
// asked for before. To ask for the same time again costs nothing.
func (l *Loop) WakeAt(nanos int64) {
	nanos = max(nanos, 1) // 0 would be no timer at all
	if nanos == l.wakeAt {
		return
	}
	l.wakeAt = nanos
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(nanos)}
	_ = unix.TimerfdSettime(l.wakeFD, unix.TFD_TIMER_ABSTIME, &spec, nil)
}

// Now is CLOCK_MONOTONIC in nanoseconds, read once per turn.
func (l *Loop) Now() int64 { return l.now }

// Clock is CLOCK_MONOTONIC in nanoseconds, read now.
func (l *Loop) Clock() int64 { return l.clock.now() }

// Addr is where the loop accepts; nil when it does not.
func (l *Loop) Addr() net.Addr { return l.addr }

// Remote is the address of c's other end, as a trusted proxy has announced it (Config.Proxies) or else asked of the kernel; not valid when c is gone or the kernel does not know.
func (l *Loop) Remote(c Conn) netip.AddrPort {
	r := l.record(c)
	if r == nil {
		return netip.AddrPort{}
	}
	if l.proxied != nil {
		if a, ok := l.proxied.remotes[c.Seat]; ok {
			return a
		}
	}
	switch sa, _ := unix.Getpeername(int(r.fd)); sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// acceptor is the loop as netpoll sees it: a listener that never accepts anything.
type acceptor struct{ *Loop }

// Fd is the loop's epoll instance.
func (a acceptor) Fd() int { return a.ep }

// Close is netpoll's; a loop is closed by Stop.
func (a acceptor) Close() error { return nil }

// Accept is called inline by netpoll's poller when something in the loop is ready.
func (a acceptor) Accept() (net.Conn, error) {
	a.stint()
	return nil, nil
}
