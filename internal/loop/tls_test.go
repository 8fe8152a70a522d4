package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"
)

func testCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// tlsTest gives the configurations of both sides.
func tlsTest(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	cert, pool := testCertificate(t)
	server = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	return server, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

func dialTLS(t *testing.T, l *Loop, cfg *tls.Config) *tls.Conn {
	t.Helper()
	c := tls.Client(dialTest(t, l), cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTLSEcho(t *testing.T) {
	server, client := tlsTest(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			h := &echo{}
			l := newTestLoop(t, Config{TLS: server, OutboxBytes: 8 << 20}, h)
			cfg := client.Clone()
			cfg.MinVersion, cfg.MaxVersion, cfg.NextProtos = version, version, []string{"h2", "http/1.1"}
			c := dialTLS(t, l, cfg)
			if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
				t.Fatalf("ALPN %q", got)
			}
			for _, size := range []int{1, 100, 16 << 10, 16<<10 + 1, 100_000, 700_000} {
				msg := make([]byte, size)
				_, _ = rand.Read(msg)
				go func() { _, _ = c.Write(msg) }()
				wantRead(t, c, msg)
			}
			_ = c.Close()
			wantClosed(t, h, ReasonPeer)
			if got := l.Handshakes(); got.Done != 1 || got.Running != 0 {
				t.Fatalf("%+v", got)
			}
			onLoop(l, func() {
				if l.cfg.Budget.Used() != 0 || len(l.vault.sessions) != 0 {
					t.Errorf("%d bytes and %d sessions left", l.cfg.Budget.Used(), len(l.vault.sessions))
				}
			})
		})
	}
}

func TestTLSTicketsResume(t *testing.T) {
	server, client := tlsTest(t)
	h := &echo{}
	l := newTestLoop(t, Config{TLS: server}, h)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		c := dialTLS(t, l, client)
		_, _ = c.Write([]byte("x"))
		wantRead(t, c, []byte("x"))
		if got := c.ConnectionState().DidResume; got != (i > 0) {
			t.Fatalf("connection %d resumed: %v", i, got)
		}
		_ = c.Close()
		wantClosed(t, h, ReasonPeer)
	}
	if got := l.Handshakes(); got.Done != 3 || got.Resumed != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestTLSRefuses(t *testing.T) {
	server, client := tlsTest(t)
	h := &echo{}
	l := newTestLoop(t, Config{TLS: server}, h)
	t.Run("TLS 1.1", func(t *testing.T) {
		old := client.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		err := tls.Client(dialTest(t, l), old).Handshake()
		if alert, ok := errors.AsType[tls.AlertError](err); !ok && !bytes.Contains([]byte(err.Error()), []byte("protocol version")) {
			t.Fatalf("error %v, alert %v", err, alert)
		}
		wantClosed(t, h, ReasonTLS)
	})
	t.Run("unknown ALPN", func(t *testing.T) {
		other := client.Clone()
		other.NextProtos = []string{"h2"}
		if err := tls.Client(dialTest(t, l), other).Handshake(); err == nil {
			t.Fatal("no error")
		}
		wantClosed(t, h, ReasonTLS)
	})
	t.Run("plain HTTP", func(t *testing.T) {
		c := dialTest(t, l)
		_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\n\r\n")
		answer := make([]byte, len(plainHTTP))
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != plainHTTP {
			t.Fatalf("%q, %v", answer, err)
		}
		wantClosed(t, h, ReasonTLS)
	})
}

func TestTLSCloseNotify(t *testing.T) {
	server, client := tlsTest(t)
	for name, end := range map[string]func(l *Loop, c Conn){
		"flush": func(l *Loop, c Conn) { l.CloseAfterFlush(c) },
		"close": func(l *Loop, c Conn) { l.Close(c, ReasonUser) },
	} {
		t.Run(name, func(t *testing.T) {
			h := &echo{}
			h.onData = func(c Conn, b []byte) int {
				h.l.Send(c, []byte("bye"))
				end(h.l, c)
				return len(b)
			}
			l := newTestLoop(t, Config{TLS: server}, h)
			c := dialTLS(t, l, client)
			_, _ = c.Write([]byte("x"))
			// io.EOF is what crypto/tls makes of close_notify; without one it is io.ErrUnexpectedEOF, or a reset.
			raw, wire := c.NetConn(), new(bytes.Buffer)
			got, err := io.ReadAll(c)
			_, _ = io.Copy(wire, raw)
			if err != nil || string(got) != "bye" {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// A reader that stops has its outbox bounded, its frames can be dropped, and what comes after that decrypts.
func TestTLSSlowReader(t *testing.T) {
	server, client := tlsTest(t)
	h := &echo{}
	queued, drained := make(chan Conn, 1), make(chan int, 1)
	frame := bytes.Repeat([]byte("f"), 5000)
	sent, dropped := 0, 0
	h.onData = func(c Conn, b []byte) int {
		for h.l.Send(c, frame) != Full {
			sent += len(frame)
		}
		if n, most := h.l.Unsent(c), 1<<20+2*sealMost; n > most || h.l.cfg.Budget.Used() != int64(n) {
			t.Errorf("%d bytes unsent, of the budget %d", n, h.l.cfg.Budget.Used())
		}
		queued <- c
		return len(b)
	}
	h.onIdle = func(Conn) { drained <- sent - dropped }
	l := newTestLoop(t, Config{TLS: server}, h)
	c := dialTLS(t, l, client)
	_, _ = c.Write([]byte("go"))
	id := <-queued
	onLoop(l, func() {
		dropped = l.DropUnsent(id)
		if dropped < 900_000 || l.Unsent(id) > 3*sealMost {
			t.Errorf("dropped %d, left %d", dropped, l.Unsent(id))
		}
		if l.Send(id, frame) != Queued {
			t.Error("not queued")
		}
		sent += len(frame)
	})
	reads := make(chan int)
	go func() { // all may have come before the loop says so
		got := make([]byte, 64<<10)
		for {
			n, err := c.Read(got)
			if err != nil {
				return
			}
			if bytes.Count(got[:n], []byte("f")) != n {
				t.Error("altered")
			}
			select {
			case reads <- n:
			case <-t.Context().Done():
				return
			}
		}
	}()
	for total, want := 0, -1; want < 0 || total < want; {
		select {
		case n := <-reads:
			total += n
		case want = <-drained:
		case <-time.After(20 * time.Second):
			t.Fatalf("no more after %d bytes of %d", total, want)
		}
	}
	onLoop(l, func() {
		if l.cfg.Budget.Used() != 0 {
			t.Errorf("%d bytes still held", l.cfg.Budget.Used())
		}
	})
}

// Random frames to a reader that reads in fits come out as they went in, whatever the socket takes at a time.
func TestTLSOutboxKeepsOrder(t *testing.T) {
	server, client := tlsTest(t)
	rnd := mrand.New(mrand.NewPCG(1, 2))
	h := &echo{}
	var id Conn
	opened, all := make(chan struct{}), make(chan struct{})
	h.onData = func(c Conn, b []byte) int { id = c; close(opened); return len(b) }
	l := newTestLoop(t, Config{TLS: server, SendBuffer: 8 << 10}, h)
	c := dialTLS(t, l, client)
	_, _ = c.Write([]byte("x"))
	<-opened
	var want []byte
	go func() {
		defer close(all)
		for range 3000 {
			b := make([]byte, 1+rnd.IntN(3000))
			_, _ = rand.Read(b)
			want = append(want, b...)
			for res := Full; res == Full; {
				onLoop(l, func() { res = l.Send(id, b) })
			}
		}
		onLoop(l, func() { l.CloseAfterFlush(id) })
	}()
	got, err := io.ReadAll(c)
	<-all
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

// Those that say nothing, or half of a hello, or nothing more after it, cost no goroutine each and do not keep others from getting in.
func TestTLSHalfOpen(t *testing.T) {
	server, client := tlsTest(t)
	h := &echo{}
	l := newTestLoop(t, Config{TLS: server}, h)
	l.vault.shakes.mu.Lock()
	l.vault.shakes.most = 8
	l.vault.shakes.mu.Unlock()
	hello := clientHello(t, client)
	before := runtime.NumGoroutine()
	for i := range 60 {
		_, _ = dialTest(t, l).Write(hello[:[]int{0, 3, len(hello) - 1, len(hello)}[i%4]])
	}
	for settled := false; !settled; runtime.Gosched() { // on a slow machine some are refused: none waits yet that could give way
		hs := l.vault.shakes
		hs.mu.Lock()
		settled = hs.evicted.Load()+hs.refused.Load() >= 15-8 && hs.waiting.Len() == 8
		hs.mu.Unlock()
	}
	c := dialTLS(t, l, client)
	_, _ = c.Write([]byte("x"))
	wantRead(t, c, []byte("x"))
	if got := l.Handshakes(); got.Running > 8 || got.Done != 1 {
		t.Errorf("%+v", got)
	}
	if n := runtime.NumGoroutine() - before; n > 12 {
		t.Errorf("%d goroutines more", n)
	}
}

// clientHello is what a client sends first.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	go func() { _ = tls.Client(b, cfg).Handshake(); _ = b.Close() }()
	buf := make([]byte, 8192)
	n, err := a.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func TestTLSSendDoesNotAllocate(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector allocates")
	}
	server, client := tlsTest(t)
	h := &echo{}
	ids := make(chan Conn, 1)
	h.onData = func(c Conn, b []byte) int { ids <- c; return len(b) }
	l := newTestLoop(t, Config{TLS: server}, h)
	c := dialTLS(t, l, client)
	_, _ = c.Write([]byte("x"))
	id := <-ids
	go func() { _, _ = io.Copy(io.Discard, c) }()
	frame := bytes.Repeat([]byte("f"), 300)
	onLoop(l, func() {
		for range 10 {
			l.Send(id, frame)
		}
		if n := testing.AllocsPerRun(50, func() { l.Send(id, frame) }); n >= 1 {
			t.Errorf("%v allocations for a send", n)
		}
	})
}
