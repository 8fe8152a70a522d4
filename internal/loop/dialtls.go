package loop

import "crypto/tls"

// dialled tells the handler of a connection that Dial began, once it is there: with TLS, after its handshake.
func (l *Loop) dialled(c Conn, r *record) {
	if l.cfg.DialTLS == nil {
		l.handler.Open(c)
		return
	}
	r.flags |= flagTLS
	l.shake(c, func(s *session) *tls.Conn { return tls.Client(s, l.vault.config) }, nil)
}
