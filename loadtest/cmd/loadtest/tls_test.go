package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millracehq/millrace/loadtest"
	"github.com/millracehq/millrace/loadtest/internal/faulty"
)

// newTLS puts TLS before a server, and writes its certificate to a file.
func newTLS(t *testing.T, s *faulty.Server) (url, authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	authority = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { forward(c, s.Addr()) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Close() // ends what is forwarded
		serving.Wait()
	})
	return "wss://" + l.Addr().String() + "/ws", authority
}

func forward(c net.Conn, addr string) {
	defer c.Close()
	far, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(far, c)
		far.Close()
		close(done)
	}()
	_, _ = io.Copy(c, far)
	c.Close()
	<-done
}

// TestTLS runs over TLS, with a certificate that is known, one that is not, and one that nobody asks about.
func TestTLS(t *testing.T) {
	s := newFaulty(t, faulty.Faults{})
	url, authority := newTLS(t, s)
	file := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(file, []byte(patient), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"run", "-q", file, "-e", "URL=" + url, "-d", "500ms", "-e", "DRAIN=60s", "--no-thresholds"}
	wantExit(t, execute(t, args...), loadtest.ExitStart, "--insecure-skip-tls-verify")
	o := execute(t, append(args, "--insecure-skip-tls-verify")...)
	wantExit(t, o, loadtest.ExitOK, "")
	wantOut(t, o, "20 of 20 connections opened and subscribed")
	agent, _ := startAgent(t)
	remote := append(args, "--agents", agent)
	wantExit(t, execute(t, remote...), loadtest.ExitStart, "--insecure-skip-tls-verify")
	wantExit(t, execute(t, append(remote, "--insecure-skip-tls-verify")...), loadtest.ExitOK, "")
	t.Setenv("SSL_CERT_FILE", authority)
	wantExit(t, execute(t, args...), loadtest.ExitOK, "")
	plain := strings.Replace(s.URL, "ws://", "wss://", 1)
	wantExit(t, execute(t, append(args, "--url", plain)...), loadtest.ExitStart, "url: TLS with 127.0.0.1:")
}
