package loop

import (
	"io"

	"golang.org/x/sys/unix"
)

// readEdge is read for connections that are not plain, or not yet.
func (l *Loop) readEdge(c Conn, r *record) {
	if r.flags&flagProxy != 0 && !l.readProxy(c, r) {
		return
	}
	switch {
	case r.flags&flagTLS == 0:
		l.read(c, r)
	case l.vault.sessions[c.Seat] == nil:
		l.readHello(c, r)
	case l.encrypted(c) == nil:
		l.readFlight(c, r)
	default:
		l.readSealed(c, r)
	}
}

// readSealed is read with TLS. All that one receive brings is decrypted before the handler sees it, so that nothing is left in a buffer of
// the loop, and the frames of many records are answered at once.
func (l *Loop) readSealed(c Conn, r *record) {
	v := l.vault
	for budget := readTurn; ; {
		n, errno := recv(r.fd, v.cipher)
		l.counts.Reads++
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0 || n == 0:
			l.Close(c, r.ending())
			return
		}
		l.counts.BytesIn += uint64(n)
		r.heard = l.wheel.tick
		if r.state == stateOpen && !l.unseal(c, r, v.cipher[:n]) {
			return
		}
		if n < len(v.cipher) && r.flags&flagHangup == 0 {
			return
		}
		if budget -= n; budget <= 0 {
			l.again(c, r)
			return
		}
	}
}

// unseal decrypts b and hands it over. It reports whether reading may go on.
func (l *Loop) unseal(c Conn, r *record, b []byte) bool {
	v, s := l.vault, l.vault.sessions[c.Seat]
	s.in, s.out = b, v.sealed[:0]
	plain, err := 0, error(nil)
	for err == nil {
		if plain == len(v.plain) { // never: one read and a partial record fit
			panic("BUG: a read decrypts to more than it was")
		}
		var n int
		n, err = s.tls.Read(v.plain[plain:])
		plain += n
	}
	l.sendFirst(c, r, v.take(s))
	s.in = nil
	more := true
	if plain > 0 && r.state == stateOpen {
		more = l.deliverSealed(c, r, v.plain[:plain])
	}
	if (err == dry{}) { //nolint:errorlint // crypto/tls hands our own error back as it is
		return more && r.state != stateDead
	}
	if r.state == stateOpen {
		if err == io.EOF { //nolint:errorlint // crypto/tls says exactly this at close_notify
			l.Close(c, r.ending())
		} else {
			l.Close(c, ReasonTLS)
		}
	}
	return r.state == stateClosing
}

// deliverSealed is deliver for bytes that do not lie behind the unread ones yet.
func (l *Loop) deliverSealed(c Conn, r *record, b []byte) bool {
	if r.tail != 0 {
		b = l.tails.join(r.tail, b)
	}
	return l.deliver(c, r, b)
}

// join puts more behind the bytes of tail i and returns them all.
func (t *tails) join(i int32, more []byte) []byte {
	b := t.bufs[i]
	if len(b)+len(more) > cap(b) {
		bigger := append(t.buffer(len(b)+len(more)), b...)
		t.bytes += cap(bigger) - cap(b)
		t.recycle(b)
		b = bigger
	}
	b = append(b, more...)
	t.bufs[i] = b
	return b
}
