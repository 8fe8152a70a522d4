package loop

import (
	"crypto/tls"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// sealMost is how many bytes of whole frames are encrypted together when the outbox goes out. What is encrypted cannot be taken
// back, because records are numbered, and cannot be shared; so it is not much more than what a socket takes at once.
const sealMost = 32 << 10

// session is the TLS of one connection: a tls.Conn over memory, of which the session is the net.Conn. After the handshake it is the
// loop's: crypto/tls reads what the loop has received and writes into a buffer that the loop sends, and neither ever waits. To
// "no more bytes" crypto/tls answers with the error it was given, keeps what it has of the record, and goes on at the next Read, because the error calls
// itself temporary (crypto/tls, readRecordOrCCS; TestFedAtAnyCut holds it to that).
type session struct {
	tls  *tls.Conn
	in   []byte     // ciphertext that crypto/tls has not taken yet
	out  []byte     // ciphertext that is to be sent
	hand *handshake // nil once the loop has the session
	bye  bool       // close_notify has been sealed
}

// dry is what Read says when there is nothing to read now.
type dry struct{}

func (dry) Error() string   { return "no more bytes now" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Read is crypto/tls's.
func (s *session) Read(b []byte) (int, error) {
	if len(s.in) == 0 && s.hand != nil {
		if err := s.hand.wait(s); err != nil {
			return 0, err
		}
	}
	if len(s.in) == 0 {
		return 0, dry{}
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

// Write is crypto/tls's.
func (s *session) Write(b []byte) (int, error) {
	if s.hand != nil {
		return s.hand.send(b)
	}
	s.out = append(s.out, b...)
	return len(b), nil
}

// The rest of net.Conn. Deadlines are the loop's, and so are addresses.

func (s *session) Close() error                     { return nil }
func (s *session) LocalAddr() net.Addr              { return nil }
func (s *session) RemoteAddr() net.Addr             { return nil }
func (s *session) SetDeadline(time.Time) error      { return nil }
func (s *session) SetReadDeadline(time.Time) error  { return nil }
func (s *session) SetWriteDeadline(time.Time) error { return nil }

// vault is what a loop has of TLS; nil without.
type vault struct {
	config   *tls.Config
	shakes   *handshakes // shared by the loops of a group
	sessions map[int32]*session
	cipher   []byte // one read
	plain    []byte // what it decrypts to, or what is gathered to be encrypted
	sealed   []byte // what is sent
}

// recordMost is how many bytes a partial record that crypto/tls has kept can add to what one read decrypts to.
const recordMost = 16<<10 + 512

func newVault(cfg *tls.Config, shakes *handshakes, readBuffer int) *vault {
	cfg = cfg.Clone()
	cfg.DynamicRecordSizingDisabled = true // else the first 128 KB go out in records of a packet each
	return &vault{
		config: cfg, shakes: shakes, sessions: map[int32]*session{},
		cipher: make([]byte, readBuffer), plain: make([]byte, readBuffer+recordMost),
	}
}

// encrypted is the session of c when its handshake is done, else nil.
func (l *Loop) encrypted(c Conn) *session {
	if s := l.vault.sessions[c.Seat]; s != nil && s.hand == nil {
		return s
	}
	return nil
}

// seal encrypts b. The answer is valid until the next call.
func (v *vault) seal(s *session, b []byte) ([]byte, error) {
	s.out = v.sealed[:0]
	_, err := s.tls.Write(b)
	return v.take(s), err
}

// take ends the use of the buffer that s has written into.
func (v *vault) take(s *session) []byte {
	out := s.out
	s.out = nil
	if v.sealed = out; cap(out) > 8*sealMost {
		v.sealed = nil
	}
	return out
}

// sendSealed is send with TLS. An empty outbox takes any b, and b is encrypted whole or not at all: part of a record
// is worth nothing to anybody.
func (l *Loop) sendSealed(c Conn, r *record, b []byte, shared bool) Result {
	s := l.encrypted(c)
	switch {
	case s == nil:
		return Gone
	case r.out != 0:
		return l.queue(c, r, b, false, shared)
	}
	out, err := l.vault.seal(s, b)
	if err != nil {
		l.Close(c, ReasonTLS)
		return Gone
	}
	return l.sendRaw(c, r, out)
}

// sendRaw sends ciphertext that must not get lost, while there is no outbox: what the socket does not take becomes the begun
// front of one.
func (l *Loop) sendRaw(c Conn, r *record, b []byte) Result {
	l.counts.Sends++
	n, errno := send(r.fd, b)
	switch errno {
	case 0:
		l.counts.BytesOut += uint64(n)
		if n == len(b) {
			return Sent
		}
	case unix.EAGAIN, unix.EINTR, unix.ENOBUFS:
		n = 0
	default:
		l.Close(c, ReasonPeer)
		return Gone
	}
	return l.queue(c, r, b[n:], true, true)
}

// frontMost bounds what answers to the peer's own TLS messages (KeyUpdate, handshake flights) may wait in front of an outbox. A peer
// that asks for more and does not read is not one to keep.
const frontMost = 2 * sealMost

// sendFirst sends ciphertext that goes before all frames that are not encrypted yet.
func (l *Loop) sendFirst(c Conn, r *record, b []byte) {
	if len(b) == 0 || r.state == stateDead {
		return
	}
	if r.out == 0 {
		l.sendRaw(c, r, b)
		return
	}
	o := l.outs.boxes[r.out]
	if !o.begun {
		o.queue = append([][]byte{nil}, o.queue...)
		o.begun = true
	}
	if len(o.queue[0])+len(b) > frontMost {
		l.Close(c, ReasonTLS)
	}
	o.queue[0] = append(o.queue[0], b...)
	o.bytes += len(b)
	l.cfg.Budget.used.Add(int64(len(b)))
}

// flushSealed is flush with TLS: whole frames are encrypted some at a time, and only when the socket has taken those before. So what waits is
// what other connections share, and can be dropped. The begun front of the outbox is ciphertext.
func (l *Loop) flushSealed(c Conn, r *record) bool {
	o := l.outs.boxes[r.out]
	for len(o.queue) > 0 {
		if !o.begun && !l.sealFront(c, o) {
			return false
		}
		l.counts.Sends++
		n, errno := send(r.fd, o.queue[0])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN || errno == unix.ENOBUFS:
			o.own()
			return false
		case errno != 0:
			l.Close(c, ReasonPeer)
			return false
		}
		l.counts.BytesOut += uint64(n)
		o.sent(n)
		l.cfg.Budget.give(n)
		o.own()
	}
	l.closeOutbox(r)
	return true
}

// sealFront replaces the first frames of the queue by their ciphertext, in the loop's buffer until own is called.
func (l *Loop) sealFront(c Conn, o *outbox) bool {
	s := l.encrypted(c)
	if s == nil {
		panic("BUG: frames in an outbox before the handshake is done")
	}
	plain, n := o.queue[0], 1
	if len(o.queue) > 1 && len(plain) < sealMost {
		plain, n = l.vault.plain[:0], 0
		for n < len(o.queue) && (n == 0 || len(plain)+len(o.queue[n]) <= sealMost) {
			plain = append(plain, o.queue[n]...)
			n++
		}
	}
	out, err := l.vault.seal(s, plain)
	if err != nil {
		l.Close(c, ReasonTLS)
		return false
	}
	more := len(out) - len(plain)
	o.queue[0] = out
	clear(o.queue[1:n])
	o.queue = append(o.queue[:1], o.queue[n:]...)
	o.bytes += more
	l.cfg.Budget.used.Add(int64(more))
	o.begun, o.lent = true, true
	return true
}

// own copies what is left of the loop's buffer at the front of the queue.
func (o *outbox) own() {
	if o.lent && o.begun {
		o.queue[0] = append([]byte(nil), o.queue[0]...)
	}
	o.lent = false
}

// goodbye seals close_notify (RFC 8446 section 6.1), once, and reports whether it has gone out.
func (l *Loop) goodbye(c Conn, r *record) bool {
	s := l.encrypted(c)
	if s == nil || s.bye {
		return r.out == 0
	}
	s.bye = true
	s.out = l.vault.sealed[:0]
	_ = s.tls.CloseWrite() // it writes to memory
	l.sendRaw(c, r, l.vault.take(s))
	return r.out == 0 && r.state != stateDead
}

// endSession forgets the TLS of a connection that ends. Who was not told by goodbye is told now, if there is room and nothing unfinished before it.
func (l *Loop) endSession(c Conn, r *record) {
	s := l.vault.sessions[c.Seat]
	if s == nil {
		return
	}
	delete(l.vault.sessions, c.Seat)
	if s.hand != nil {
		s.hand.cancel()
		return
	}
	if !s.bye && (r.out == 0 || !l.outs.boxes[r.out].begun) {
		s.out = l.vault.sealed[:0]
		_ = s.tls.CloseWrite()
		_, _ = send(r.fd, l.vault.take(s)) // the last thing that happens to it, whatever comes of it
	}
}
