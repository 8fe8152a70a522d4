package loop

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// dialledTest dials from a loop that speaks TLS to a listener that does too, and returns both ends.
func dialledTest(t *testing.T, version uint16, client *tls.Config, server *tls.Config) (l *Loop, h *echo, opened chan Conn, far chan *tls.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = server.Clone()
	server.MinVersion, server.MaxVersion = version, version
	far = make(chan *tls.Conn, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		s := tls.Server(c, server)
		_ = s.Handshake() // its error is what the loop sees too
		far <- s
	})
	h, opened = &echo{}, make(chan Conn, 1)
	h.onOpen = func(c Conn) { opened <- c }
	l = newTestLoop(t, Config{DialTLS: client, OutboxBytes: 8 << 20}, h)
	onLoop(l, func() {
		if _, err := l.Dial(netip.AddrPort{}, netip.MustParseAddrPort(listener.Addr().String())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return l, h, opened, far
}

func TestDialTLSEcho(t *testing.T) {
	server, client := tlsTest(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			l, h, opened, far := dialledTest(t, version, client, server)
			c, s := <-opened, <-far
			for _, size := range []int{1, 16<<10 + 1, 700_000} {
				msg := make([]byte, size)
				_, _ = rand.Read(msg)
				go func() { _, _ = s.Write(msg) }()
				wantRead(t, s, msg)
			}
			onLoop(l, func() { l.CloseAfterFlush(c) })
			if rest, err := io.ReadAll(s); err != nil || len(rest) != 0 { // close_notify, not a cut
				t.Errorf("%d bytes, %v", len(rest), err)
			}
			_ = s.Close()
			wantClosed(t, h, ReasonLinger)
			if got := l.Handshakes(); got.Done != 1 || got.Running != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestDialTLSRefusesStrangers: a certificate of somebody else opens nothing, unless nobody asks whose it is.
func TestDialTLSRefusesStrangers(t *testing.T) {
	server, _ := tlsTest(t)
	_, stranger := tlsTest(t) // its roots are others
	_, h, opened, far := dialledTest(t, tls.VersionTLS13, stranger, server)
	wantClosed(t, h, ReasonTLS)
	_ = (<-far).Close()
	if len(opened) != 0 {
		t.Error("it was opened")
	}
	trusting := stranger.Clone()
	trusting.InsecureSkipVerify = true
	_, _, opened, far = dialledTest(t, tls.VersionTLS13, trusting, server)
	<-opened
	_ = (<-far).Close()
}

// TestDialTLSToPlain: who answers with something else than TLS is left.
func TestDialTLSToPlain(t *testing.T) {
	_, client := tlsTest(t)
	plain := newTestLoop(t, Config{}, &echo{}) // it sends the ClientHello back
	h := &echo{}
	l := newTestLoop(t, Config{DialTLS: client}, h)
	onLoop(l, func() { _, _ = l.Dial(netip.AddrPort{}, netip.MustParseAddrPort(plain.Addr().String())) })
	wantClosed(t, h, ReasonTLS)
	if h.opened.Load() != 0 {
		t.Error("it was opened")
	}
}
