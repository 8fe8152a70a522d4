package loop

import (
	"container/list"
	"crypto/tls"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxHandshakes bounds the handshakes under way, each of which is a goroutine. Beyond, the one that has waited longest for
// its client gives way to the new one; if none waits, the new one is refused.
const maxHandshakes = 1024

// handshakes are the TLS handshakes of a group of loops. One begins when its whole ClientHello has come. Half the processors at most
// compute them, so that the loops are not kept waiting; one that waits for the client's second flight holds a goroutine and nothing else.
type handshakes struct {
	most int
	turn chan struct{} // holds one for each that computes

	mu      sync.Mutex
	running int       // Guarded by mu.
	waiting list.List // Guarded by mu. *handshake, for its client; the longest first.

	done, resumed, failed, evicted, refused atomic.Uint64
}

func newHandshakes() *handshakes {
	return &handshakes{most: maxHandshakes, turn: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// enter makes room for one more, at the cost of the one that waits longest, and reports whether there is any.
func (hs *handshakes) enter() bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.running >= hs.most {
		slowest := hs.waiting.Front()
		if slowest == nil {
			hs.refused.Add(1)
			return false
		}
		h := hs.waiting.Remove(slowest).(*handshake)
		h.at, h.evicted = nil, true
		h.cancel()
		hs.evicted.Add(1)
		return true // in its place
	}
	hs.running++
	return true
}

func (hs *handshakes) leave(h *handshake) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if !h.evicted {
		hs.running--
	}
}

// wait notes that h waits for its client, or does no longer.
func (hs *handshakes) wait(h *handshake, waits bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	switch {
	case waits && h.at == nil:
		h.at = hs.waiting.PushBack(h)
	case !waits && h.at != nil:
		hs.waiting.Remove(h.at)
		h.at = nil
	}
}

func (hs *handshakes) count() int {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.running
}

// handshake is one of them. Its goroutine has the session until it ends; the loop receives and sends for it.
type handshake struct {
	loop *Loop
	conn Conn
	gone chan struct{} // closed when it is to end
	once sync.Once
	fed  chan []byte // what came; it is asked for one piece at a time, so that the loop never waits

	at      *list.Element // Guarded by handshakes.mu. In handshakes.waiting.
	evicted bool          // Guarded by handshakes.mu.

	asked bool // Owned by the loop: the goroutine waits for bytes.
}

func (h *handshake) cancel() { h.once.Do(func() { close(h.gone) }) }

// wait is the session's: it gives its turn away until the client has sent more.
func (h *handshake) wait(s *session) error {
	hs := h.loop.vault.shakes
	<-hs.turn
	defer func() { hs.turn <- struct{}{} }()
	hs.wait(h, true)
	defer hs.wait(h, false)
	if !h.loop.Post(func() { h.loop.wanted(h) }) {
		return net.ErrClosed
	}
	select {
	case s.in = <-h.fed:
		return nil
	case <-h.gone:
		return net.ErrClosed
	}
}

// send is the session's: a flight goes out through the loop, since only the loop knows whether the descriptor still is this connection's.
func (h *handshake) send(b []byte) (int, error) {
	flight := slices.Clone(b)
	if !h.loop.Post(func() { h.loop.flight(h.conn, flight) }) {
		return 0, net.ErrClosed
	}
	return len(b), nil
}

// run is the goroutine.
func (h *handshake) run(s *session) {
	hs := h.loop.vault.shakes
	select {
	case hs.turn <- struct{}{}:
	case <-h.gone:
		hs.leave(h)
		return
	}
	err := s.tls.Handshake()
	<-hs.turn
	hs.leave(h)
	h.loop.Post(func() { h.loop.shaken(h.conn, s, err) })
}

// readHello begins the handshake once the whole ClientHello is there. Until then it is left where it is, in the kernel: a connection that
// has not said hello costs what a plain one does.
func (l *Loop) readHello(c Conn, r *record) {
	v := l.vault
	n, errno := peek(r.fd, v.cipher[:min(len(v.cipher), helloMost+1<<10)])
	l.counts.Reads++
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0 || n == 0 || r.state != stateOpen:
		l.Close(c, r.ending())
		return
	}
	r.heard = l.wheel.tick
	whole, err := wholeHello(v.cipher[:n])
	switch {
	case err != nil:
		if looksLikeHTTP(v.cipher[:n]) {
			_, _ = send(r.fd, []byte(plainHTTP)) // it fits, or the client goes without
		}
		v.shakes.failed.Add(1)
		l.Close(c, ReasonTLS)
	case !whole && (r.flags&flagHangup != 0 || n >= helloMost):
		l.Close(c, r.ending())
	case whole:
		hello := make([]byte, n)
		n, _ = recv(r.fd, hello) // just peeked
		l.counts.BytesIn += uint64(n)
		l.shake(c, func(s *session) *tls.Conn { return tls.Server(s, v.config) }, hello[:n])
	}
}

const plainHTTP = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 47\r\n\r\n" +
	"this port speaks TLS: use wss:// or https:// .\n"

func looksLikeHTTP(b []byte) bool {
	return len(b) >= 4 && (string(b[:4]) == "GET " || string(b[:4]) == "POST" || string(b[:4]) == "HEAD" || string(b[:4]) == "OPTI")
}

// shake begins a handshake; side makes the tls.Conn of ours, and first is what has come.
func (l *Loop) shake(c Conn, side func(*session) *tls.Conn, first []byte) {
	v := l.vault
	if !v.shakes.enter() {
		l.Close(c, ReasonTLS)
		return
	}
	h := &handshake{loop: l, conn: c, gone: make(chan struct{}), fed: make(chan []byte, 1)}
	s := &session{in: first, hand: h}
	s.tls = side(s)
	v.sessions[c.Seat] = s
	l.shaking.Go(func() { h.run(s) })
}

// wanted runs on the loop: the handshake needs more bytes.
func (l *Loop) wanted(h *handshake) {
	r := l.record(h.conn)
	if r == nil || r.state == stateDead {
		h.cancel()
		return
	}
	h.asked = true
	l.readFlight(h.conn, r)
}

// readFlight feeds a handshake that has asked. While it computes, what comes stays in the kernel.
func (l *Loop) readFlight(c Conn, r *record) {
	h := l.vault.sessions[c.Seat].hand
	if !h.asked {
		return
	}
	for {
		n, errno := recv(r.fd, l.vault.cipher[:min(len(l.vault.cipher), helloMost)])
		l.counts.Reads++
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
		case errno != 0 || n == 0:
			l.vault.shakes.failed.Add(1)
			l.Close(c, r.ending())
		default:
			l.counts.BytesIn += uint64(n)
			r.heard = l.wheel.tick
			h.asked = false
			h.fed <- slices.Clone(l.vault.cipher[:n])
		}
		return
	}
}

// flight runs on the loop: the handshake has something to send.
func (l *Loop) flight(c Conn, b []byte) {
	if r := l.record(c); r != nil && r.state == stateOpen {
		l.current = c
		l.sendFirst(c, r, b)
	}
}

// shaken runs on the loop: the handshake has ended, and the session is the loop's. What came behind the client's
// last flight is read now.
func (l *Loop) shaken(c Conn, s *session, err error) {
	r := l.record(c)
	if r == nil || r.state != stateOpen {
		return
	}
	l.current = c
	if err != nil {
		l.vault.shakes.failed.Add(1)
		l.Close(c, ReasonTLS)
		return
	}
	l.vault.shakes.done.Add(1)
	if s.tls.ConnectionState().DidResume {
		l.vault.shakes.resumed.Add(1)
	}
	s.hand = nil
	if l.cfg.DialTLS != nil {
		l.handler.Open(c)
	}
	if l.unseal(c, r, s.in) {
		l.readSealed(c, r)
	}
}
