package loop

import (
	"crypto/tls"
	"io"
	"net/netip"
	"testing"
)

// The header may come in pieces, and what is behind it is for the handler, encrypted or not.
func TestProxyHeader(t *testing.T) {
	server, client := tlsTest(t)
	for name, cfg := range map[string]*tls.Config{"plain": nil, "TLS": server} {
		t.Run(name, func(t *testing.T) {
			h := &echo{}
			remotes := make(chan string, 1)
			h.onOpen = func(c Conn) { remotes <- h.l.Remote(c).String() }
			l := newTestLoop(t, Config{TLS: cfg, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, h)
			raw := dialTest(t, l)
			_, _ = io.WriteString(raw, "PROXY TCP4 203.0.113.7")
			onLoop(l, func() {})
			if h.opened.Load() != 0 {
				t.Fatal("opened before the header was whole")
			}
			_, _ = io.WriteString(raw, " 127.0.0.1 4711 80\r\n")
			if got := <-remotes; got != "203.0.113.7:4711" {
				t.Fatalf("remote %s", got)
			}
			c := io.ReadWriteCloser(raw)
			if cfg != nil {
				c = tls.Client(raw, client)
			}
			_, _ = io.WriteString(c, "hello")
			wantRead(t, c, []byte("hello"))
			_ = c.Close()
			wantClosed(t, h, ReasonPeer)
			onLoop(l, func() {
				if len(l.proxied.remotes) != 0 {
					t.Error("an address is left")
				}
			})
		})
	}
}

func TestProxyHeaderAndDataAtOnce(t *testing.T) {
	h := &echo{}
	l := newTestLoop(t, Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, h)
	c := dialTest(t, l)
	_, _ = io.WriteString(c, "PROXY UNKNOWN\r\nhello")
	wantRead(t, c, []byte("hello"))
}

// Who may not announce anything, does it wrongly, or does not do it, is closed, and the handler does not hear of it.
func TestProxyRefuses(t *testing.T) {
	for name, c := range map[string]struct{ trusted, header string }{
		"from elsewhere": {"10.0.0.0/8", "PROXY UNKNOWN\r\n"},
		"no header":      {"127.0.0.0/8", "GET / HTTP/1.1\r\n"},
		"malformed":      {"127.0.0.0/8", "PROXY TCP4 ::1 ::1 1 1\r\n"},
		"too late":       {"127.0.0.0/8", "PROXY TCP4"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &echo{}
			l := newTestLoop(t, Config{Proxies: []netip.Prefix{netip.MustParsePrefix(c.trusted)}}, h)
			conn := dialTest(t, l)
			_, _ = io.WriteString(conn, c.header)
			_, _ = io.Copy(io.Discard, conn) // until it is closed
			onLoop(l, l.publish)
			if got := l.Stats(); got.ProxyRefused != 1 || got.Conns != 0 {
				t.Errorf("%+v", got)
			}
			if h.opened.Load() != 0 || len(h.closed) != 0 {
				t.Error("the handler has heard of it")
			}
		})
	}
}
