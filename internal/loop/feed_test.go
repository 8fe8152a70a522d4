package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"testing"
)

// recorder notes what goes through a connection from the client.
type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.sent.Write(b)
	return len(b), nil
}

// fedSession is a session of the server side after a handshake, and the ciphertext in which its client then sent plain.
func fedSession(t testing.TB, server, client *tls.Config, plain []byte) (*session, []byte) {
	t.Helper()
	a, b := net.Pipe()
	over := &struct{ net.Conn }{a}
	conn := tls.Server(over, server)
	done := make(chan error, 1)
	go func() { done <- conn.Handshake() }()
	rec := &recorder{Conn: b}
	through := &struct{ net.Conn }{b}
	peer := tls.Client(through, client)
	if err := peer.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	through.Conn = rec
	for len(plain) > 0 {
		n := min(len(plain), 1+len(plain)/3)
		if _, err := peer.Write(plain[:n]); err != nil {
			t.Fatal(err)
		}
		plain = plain[n:]
	}
	s := &session{tls: conn}
	over.Conn = s
	_, _ = a.Close(), b.Close()
	return s, rec.sent.Bytes()
}

// feed gives s the next piece and returns what it decrypts to.
func feed(t testing.TB, s *session, piece []byte) (plain []byte) {
	t.Helper()
	s.in = piece
	for buf := make([]byte, 700); ; {
		n, err := s.tls.Read(buf)
		plain = append(plain, buf[:n]...)
		if errors.Is(err, dry{}) {
			return plain
		}
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

// TestFedAtAnyCut holds crypto/tls to what session rests on: after the handshake a temporary error is no end, wherever it comes.
func TestFedAtAnyCut(t *testing.T) {
	server, client := tlsTest(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := client.Clone()
		cfg.MinVersion, cfg.MaxVersion = version, version
		plain := make([]byte, 200)
		_, _ = mrand.NewChaCha8([32]byte{}).Read(plain)
		_, sample := fedSession(t, server, cfg, plain)
		for cut := 0; cut <= len(sample); cut += 3 {
			s, b := fedSession(t, server, cfg, plain)
			at := min(cut, len(b))
			if got := append(feed(t, s, b[:at]), feed(t, s, b[at:])...); !bytes.Equal(got, plain) {
				t.Fatalf("%s cut at %d: %d bytes of %d", tls.VersionName(version), cut, len(got), len(plain))
			}
		}
		s, b := fedSession(t, server, cfg, plain)
		var got []byte
		for i := range b {
			got = append(got, feed(t, s, b[i:i+1])...)
		}
		if !bytes.Equal(got, plain) {
			t.Fatalf("%s byte by byte: %d bytes of %d", tls.VersionName(version), len(got), len(plain))
		}
	}
}

func FuzzFedAtAnyCut(f *testing.F) {
	server, client := tlsTest(f)
	f.Add([]byte("hello"), []byte{1, 2, 3})
	f.Add(bytes.Repeat([]byte("x"), 40_000), []byte{255, 0, 17})
	f.Fuzz(func(t *testing.T, plain, cuts []byte) {
		s, b := fedSession(t, server, client, plain)
		var got []byte
		for i := 0; len(b) > 0; i++ {
			n := len(b)
			if i < len(cuts) {
				n = min(n, int(cuts[i])*int(cuts[i]))
			}
			got = append(got, feed(t, s, b[:n])...)
			b = b[n:]
		}
		if !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes of %d", len(got), len(plain))
		}
	})
}

// What a client makes of its own records must not crash anything, nor be waited for: broken ones end the session.
func FuzzBrokenRecords(f *testing.F) {
	server, client := tlsTest(f)
	f.Add(100, byte(1))
	f.Fuzz(func(t *testing.T, at int, change byte) {
		plain := []byte("some text that is to come out, or nothing")
		s, b := fedSession(t, server, client, plain)
		if at < 0 || at >= len(b) || change == 0 {
			return
		}
		b[at] ^= change
		s.in = b
		var got []byte
		for buf := make([]byte, 100); ; {
			n, err := s.tls.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if len(got) >= len(plain) || !bytes.HasPrefix(plain, got) {
			t.Fatalf("byte %d changed, and %q came out", at, got)
		}
	})
}
