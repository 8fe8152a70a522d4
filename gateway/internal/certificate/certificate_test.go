package certificate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files are a pair on disk that is written anew.
type files struct{ cert, key string }

func newFiles(t *testing.T) files {
	dir := t.TempDir()
	return files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
}

// pair makes PEM of a certificate and its key.
func pair(t *testing.T, serial int64, until time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f files) issue(t *testing.T, serial int64, until time.Time) {
	t.Helper()
	cert, key := pair(t, serial, until)
	write(t, f.cert, cert)
	write(t, f.key, key)
}

func serial(t *testing.T, p *Pair) int64 {
	t.Helper()
	cert, err := p.Config().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.Int64()
}

func TestReloadKeepsWhatWorks(t *testing.T) {
	f := newFiles(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	if _, err := Load(f.cert, f.key); err == nil || !strings.Contains(err.Error(), f.cert) {
		t.Fatalf("files that are not there: %v", err)
	}
	f.issue(t, 1, tomorrow)
	p, err := Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	good, key := pair(t, 2, tomorrow)
	other, _ := pair(t, 3, tomorrow)
	old, oldKey := pair(t, 4, time.Now().Add(-time.Minute))
	for _, c := range []struct {
		name, says string
		cert, key  []byte
		serial     int64
	}{
		{"cut", "PEM", good[:50], key, 1},
		{"another's key", "private key", other, key, 1},
		{"expired", "expired", old, oldKey, 1},
		{"good", "", good, key, 2},
		{"empty", "PEM", nil, nil, 2},
	} {
		write(t, f.cert, c.cert)
		write(t, f.key, c.key)
		err := p.Reload()
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "stays in use")) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := serial(t, p); got != c.serial {
			t.Errorf("%s: serial %d, want %d", c.name, got, c.serial)
		}
	}
	if done, failed := p.Reloads(); done != 1 || failed != 4 {
		t.Errorf("%d reloads, %d failed", done, failed)
	}
}

// A change is taken at the second look that sees it, a broken one is said once, and a link that points elsewhere is a change.
func TestWatch(t *testing.T) {
	f := newFiles(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	f.issue(t, 1, tomorrow)
	p, err := Load(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	tick := make(chan time.Time)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Watch(ctx, tick, slog.New(slog.NewTextHandler(&log, nil))) }()
	looks := func(n int) {
		for range n {
			tick <- time.Now()
		}
	}
	looks(3)
	cert, key := pair(t, 22, tomorrow)
	write(t, f.cert, cert)
	looks(1) // half of the change: not settled yet
	write(t, f.key, key)
	looks(4)
	if got := serial(t, p); got != 22 {
		t.Errorf("serial %d after a change", got)
	}
	write(t, f.cert, []byte("nonsense"))
	looks(5)
	if done, failed := p.Reloads(); done != 1 || failed != 1 {
		t.Errorf("%d reloads, %d failed", done, failed)
	}
	g := newFiles(t)
	g.issue(t, 333, tomorrow)
	for name, to := range map[string]string{f.cert: g.cert, f.key: g.key} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		looks(1)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	looks(4)
	if got := serial(t, p); got != 333 {
		t.Errorf("serial %d after a link", got)
	}
	stop()
	<-ended
	if text := log.String(); strings.Count(text, "certificate replaced") != 2 || strings.Count(text, "certificate not replaced") != 1 {
		t.Errorf("log:\n%s", text)
	}
}
