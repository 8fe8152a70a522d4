// Command limit is what one thread of this machine can do at most: a bare epoll loop that answers WebSocket handshakes and, upon a
// publication, sends the same prepared bytes to every subscriber, one send each. It speaks as much of millrace.v1 as the benchmark
// needs, checks nothing, keeps nothing that could not be sent, and is no server: it is the ruler that servers are held against.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxEvents = 512
	// waitMillis bounds epoll_wait, so that a collection that was asked for need not wait for the next event.
	waitMillis = 100
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`IP:PORT`")
	flag.Parse()
	l, err := newLimit(*listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
		os.Exit(1)
	}
	go collectOnSignal()
	runtime.LockOSThread()
	for {
		l.turn()
	}
}

// collectOnSignal lets the benchmark see memory in use rather than memory taken.
func collectOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	for range signals {
		runtime.GC()
		debug.FreeOSMemory()
		fmt.Fprintln(os.Stdout, "collected")
	}
}

// limit is the loop.
type limit struct {
	ep, listen int
	events     []unix.EpollEvent
	conns      []conn // by descriptor
	channels   map[string]*[]member
	tails      map[int32][]byte // the beginnings of frames whose ends have not come yet
	in, out    []byte
}

// conn is all that is kept of a connection.
type conn struct {
	gen      uint32 // counts the uses of the descriptor, so that a member that has gone is recognised
	upgraded bool
}

// member is a subscriber of a channel.
type member struct {
	fd  int32
	gen uint32
}

func newLimit(listen string) (*limit, error) {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return nil, err
	}
	l := &limit{
		events: make([]unix.EpollEvent, maxEvents), conns: make([]conn, 0, 1<<10), in: make([]byte, 64<<10), out: make([]byte, 0, 64<<10),
		channels: make(map[string]*[]member), tails: make(map[int32][]byte),
	}
	if l.listen, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(l.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // can only fail for a bad descriptor
	if err := unix.Bind(l.listen, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return nil, err
	}
	if err := unix.Listen(l.listen, unix.SOMAXCONN); err != nil {
		return nil, err
	}
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	return l, unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, l.listen, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.listen)})
}

// The calls go to the kernel without telling Go's scheduler, which would otherwise make this more than a bare loop.

func (l *limit) turn() {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&l.events[0])), maxEvents, waitMillis, 0, 0)
	if errno != 0 { // EINTR
		return
	}
	for _, ev := range l.events[:n] {
		if int(ev.Fd) == l.listen {
			l.accept()
		} else {
			l.read(ev.Fd, ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
		}
	}
}

func (l *limit) accept() {
	for {
		fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.listen), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		for len(l.conns) <= int(fd) {
			l.conns = append(l.conns, conn{})
		}
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
		_, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.ep), unix.EPOLL_CTL_ADD, fd, uintptr(unsafe.Pointer(&ev)), 0, 0)
	}
}

// read takes what has come. A short read says that there is no more, unless a hang-up waits behind it.
func (l *limit) read(fd int32, hangup bool) {
	for {
		kept := 0
		if len(l.tails) > 0 {
			kept = copy(l.in, l.tails[fd])
			delete(l.tails, fd)
		}
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&l.in[kept])), uintptr(len(l.in)-kept), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			l.keep(fd, l.in[:kept])
			return
		}
		if errno != 0 || n == 0 {
			l.close(fd)
			return
		}
		used, ok := l.take(fd, l.in[:kept+int(n)])
		if !ok {
			l.close(fd)
			return
		}
		l.keep(fd, l.in[used:kept+int(n)])
		if kept+int(n) < len(l.in) && !hangup {
			return
		}
	}
}

func (l *limit) keep(fd int32, rest []byte) {
	if len(rest) > 0 {
		l.tails[fd] = append([]byte(nil), rest...)
	}
}

func (l *limit) close(fd int32) {
	l.conns[fd] = conn{gen: l.conns[fd].gen + 1}
	delete(l.tails, fd)
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// send gives b to the kernel. What the kernel does not take is lost; the benchmark counts it.
func (l *limit) send(fd int32, b []byte) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
}
