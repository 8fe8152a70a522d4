package loop

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	watchRead  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
	watchWrite = watchRead | unix.EPOLLOUT
)

// event is what epoll is told of c, and gives back: who c is, instead of a descriptor. See handle.
func event(c Conn, events uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: events, Fd: c.Seat, Pad: int32(c.Gen)}
}

// add puts the socket of c into the loop's epoll instance.
func (l *Loop) add(c Conn, fd int32, events uint32) bool {
	ev := event(c, events)
	return epollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev) == 0
}

// addOwn puts one of the loop's own descriptors there: nobody's connection, by its Gen.
func (l *Loop) addOwn(fd int) bool {
	return l.add(Conn{Seat: int32(fd)}, int32(fd), unix.EPOLLIN)
}

// watch turns the watch for "writable" on or off. Being edge-triggered, it also makes epoll look again.
func (l *Loop) watch(c Conn, r *record, writable bool) {
	if writable == (r.flags&flagWriting != 0) || r.state == stateDead {
		return
	}
	r.flags ^= flagWriting
	ev := event(c, watchRead)
	if writable {
		ev.Events = watchWrite
	}
	_ = epollCtl(l.ep, unix.EPOLL_CTL_MOD, r.fd, &ev) // cannot fail for a descriptor that is in it
}

// enter gives fd, just made, a seat.
func (l *Loop) enter(fd int32, s state, events uint32) Conn {
	seat, r := l.sit()
	gen := r.gen + 1
	if gen == 0 {
		gen = 1
	}
	*r = record{gen: gen, fd: fd, state: s, heard: l.wheel.tick}
	l.open++
	c := Conn{Seat: seat, Gen: gen}
	if !l.add(c, fd, events) {
		l.Close(c, ReasonRefused)
	}
	return c
}

func (l *Loop) acceptBurst() {
	for range acceptTurn {
		fd, errno := accept4(l.listenFD)
		switch errno {
		case 0:
		case unix.EMFILE, unix.ENFILE:
			// Level-triggered: the listener stays readable and would spin. It is heard again when a connection ends.
			l.cfg.Logger.Warn("out of descriptors: not accepting until a connection ends", "connections", l.open)
			_ = epollCtl(l.ep, unix.EPOLL_CTL_DEL, int32(l.listenFD), nil)
			l.deaf = true
			return
		case unix.EAGAIN:
			return
		default: // the peer went away meanwhile, or EINTR
			continue
		}
		if l.open >= l.cfg.MaxConns {
			l.counts.Refused++
			closeFD(fd)
			continue
		}
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if l.cfg.SendBuffer > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, l.cfg.SendBuffer/2) // the kernel doubles it
		}
		c := l.enter(fd, stateOpen, watchRead)
		l.counts.Accepted++
		l.current = c
		if l.proxied != nil {
			l.awaitProxy(c)
		} else {
			l.opened(c, l.record(c))
		}
	}
}

// Dial begins to connect to remote, from local when that is valid. The answer is Handler.Open or Closed.
func (l *Loop) Dial(local, remote netip.AddrPort) (Conn, error) {
	family := unix.AF_INET
	if remote.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Conn{}, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if local.IsValid() {
		// The port is chosen at connect, so that it only has to be free towards remote.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, sockaddr(local)); err != nil {
			closeFD(int32(fd))
			return Conn{}, fmt.Errorf("bind to %s: %w", local, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(remote)); err != nil && err != unix.EINPROGRESS {
		closeFD(int32(fd))
		return Conn{}, fmt.Errorf("connect to %s: %w", remote, err)
	}
	return l.enter(int32(fd), stateDialing, watchWrite), nil
}

func (l *Loop) connected(c Conn, r *record) {
	if code, err := unix.GetsockoptInt(int(r.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		l.Close(c, ReasonRefused)
		return
	}
	r.state = stateOpen
	r.flags |= flagWriting
	l.watch(c, r, false)
	l.dialled(c, r)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() || a.Addr().Is4In6() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Close ends c at the end of this turn; what is unsent is lost. From now on c takes nothing and hears nothing but
// Handler.Closed.
func (l *Loop) Close(c Conn, why Reason) {
	r := l.record(c)
	if r == nil || r.state == stateDead {
		return
	}
	r.state = stateDead
	r.why = why
	l.dead = append(l.dead, c)
}

// CloseAfterFlush ends c when all that is unsent has gone out and the peer has closed too, at the latest after 5
// seconds. Nothing more is taken, and what the peer still sends is thrown away: closing with unread bytes would reset the
// connection and could cost the peer our last words.
func (l *Loop) CloseAfterFlush(c Conn) {
	r := l.record(c)
	if r == nil || r.state != stateOpen {
		return
	}
	if r.flags&flagTLS != 0 && l.encrypted(c) == nil { // nothing can be said yet
		l.Close(c, ReasonLinger)
		return
	}
	r.state = stateClosing
	r.flags &^= flagPaused
	l.Arm(c, lingerClose)
	l.shutWhenSent(c, r)
	l.again(c, r)
}

func (l *Loop) shutWhenSent(c Conn, r *record) {
	if r.state == stateClosing && r.out <= 0 && r.flags&flagShut == 0 {
		if r.flags&flagTLS != 0 && !l.goodbye(c, r) {
			return
		}
		r.flags |= flagShut
		_ = unix.Shutdown(int(r.fd), unix.SHUT_WR)
	}
}

// bury closes what died in this turn. Only here does a seat become free, so within a turn it never changes hands.
func (l *Loop) bury() {
	for i := 0; i < len(l.dead); i++ { // a handler may close more meanwhile
		c := l.dead[i]
		r := l.conns.At(c.Seat)
		if r.gen != c.Gen || r.state != stateDead { // buried before a panic
			continue
		}
		l.unlink(r)
		if r.flags&flagTLS != 0 {
			l.endSession(c, r)
		}
		if l.proxied != nil {
			delete(l.proxied.remotes, c.Seat)
		}
		if r.tail != 0 {
			l.tails.drop(r.tail)
		}
		if r.out > 0 {
			l.closeOutbox(r)
		}
		why, h, unheard := r.why, l.handlerOf(c, r), r.flags&flagProxy != 0
		if r.flags&flagAdopted != 0 {
			delete(l.adopted, c.Seat)
		} else {
			l.open--
		}
		closeFD(r.fd)
		l.leave(c.Seat, r)
		if l.deaf && l.listenFD >= 0 {
			l.deaf = !l.addOwn(l.listenFD)
		}
		l.current = c
		if !unheard {
			h.Closed(c, why)
		}
	}
	l.dead = l.dead[:0]
}
