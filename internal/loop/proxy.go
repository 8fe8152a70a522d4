package loop

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/internal/proxy"
)

// proxySeconds is how long a proxy may take for its header, which it sends first.
const proxySeconds = 5

// proxied holds the connections to the PROXY protocol: who comes through a trusted proxy has the address that the proxy says,
// anybody else is closed. Nil without.
type proxied struct {
	trusted []netip.Prefix
	remotes map[int32]netip.AddrPort // of connections whose proxy has named one
}

func (p *proxied) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(a) })
}

// awaitProxy waits for c's header before the handler hears of c.
func (l *Loop) awaitProxy(c Conn) {
	r := l.record(c)
	r.flags |= flagProxy
	if !l.proxied.trusts(l.Remote(c).Addr()) {
		l.counts.ProxyRefused++
		l.Close(c, ReasonProxy)
		return
	}
	l.Arm(c, proxySeconds)
}

// readProxy takes the header off a connection and opens it. It reports whether there is a connection to read now. The header is looked at
// where it is, in the kernel, until it is whole, so that what follows it is read as if it had come first.
func (l *Loop) readProxy(c Conn, r *record) bool {
	n, errno := peek(r.fd, l.buf[:min(len(l.buf), proxy.MaxHeader)])
	l.counts.Reads++
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return false
	case errno != 0 || n == 0:
		l.Close(c, ReasonPeer)
		return false
	}
	h, err := proxy.Parse(l.buf[:n])
	switch {
	case err != nil:
		l.counts.ProxyRefused++
		l.Close(c, ReasonProxy)
		return false
	case h.Size == 0:
		if r.flags&flagHangup != 0 {
			l.Close(c, ReasonPeer)
		}
		return false
	}
	_, _ = recv(r.fd, l.buf[:h.Size]) // just peeked
	l.counts.BytesIn += uint64(h.Size)
	if h.Source.IsValid() {
		l.proxied.remotes[c.Seat] = h.Source
	}
	r.flags &^= flagProxy
	l.Arm(c, 0)
	l.opened(c, r)
	return r.state == stateOpen
}

// opened tells the handler of a connection that was accepted.
func (l *Loop) opened(c Conn, r *record) {
	if l.cfg.TLS != nil {
		r.flags |= flagTLS
	}
	l.handler.Open(c)
}
