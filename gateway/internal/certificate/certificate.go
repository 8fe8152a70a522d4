// Package certificate keeps the certificate with which a gateway speaks TLS, read from two PEM files, and replaces it while connections
// stay: each handshake uses the one that is there then, and a connection has no more need of it afterwards.
//
// It refuses a pair that does not fit together or has expired, and keeps the one it has.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Pair is a certificate and its key. All methods may be called concurrently.
type Pair struct {
	// Immutable after Load.
	certFile, keyFile string

	now     atomic.Pointer[tls.Certificate]
	reloads atomic.Uint64
	failed  atomic.Uint64

	mu   sync.Mutex
	seen stamp // Guarded by mu. The files as they were at the last Reload.
}

// stamp tells two states of the files apart. Certificates are often replaced by a link that points elsewhere, so the time alone is not enough.
type stamp [2]struct {
	time int64
	size int64
	file os.FileInfo
}

// Load reads the pair from two PEM files: the certificate with what is between it and a root, and its key.
func Load(certFile, keyFile string) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile}
	return p, p.load()
}

func (p *Pair) load() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, _ = p.look() // what is wrong is said by reading them
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", p.certFile, p.keyFile, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return fmt.Errorf("TLS certificate %s: %w", p.certFile, err)
		}
	}
	if until := cert.Leaf.NotAfter; time.Now().After(until) {
		return fmt.Errorf("TLS certificate %s has expired on %s", p.certFile, until.UTC().Format(time.RFC3339))
	}
	p.now.Store(&cert)
	return nil
}

// Reload reads the files again. With an error, the certificate is what it was.
func (p *Pair) Reload() error {
	if err := p.load(); err != nil {
		p.failed.Add(1)
		return fmt.Errorf("%w; the one from before stays in use, until %s", err, p.NotAfter().UTC().Format(time.RFC3339))
	}
	p.reloads.Add(1)
	return nil
}

// Config is for the server side: TLS 1.2 and 1.3, HTTP/1.1 (RFC 6455 has no other), session tickets with keys that change
// daily. There is no early data, and crypto/tls refuses renegotiation.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.now.Load(), nil },
	}
}

// NotAfter is when the certificate expires.
func (p *Pair) NotAfter() time.Time { return p.now.Load().Leaf.NotAfter }

// Reloads is how many times the certificate was read again, and how many times that failed.
func (p *Pair) Reloads() (done, failed uint64) { return p.reloads.Load(), p.failed.Load() }

// Watch looks at the files each time that tick fires, and reloads when they have changed and are as they were at the look before: who replaces
// two files does not do it at once. It returns when ctx is done.
func (p *Pair) Watch(ctx context.Context, tick <-chan time.Time, log *slog.Logger) {
	var last stamp
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		found, err := p.look()
		if err != nil {
			continue // on its way, or gone: the one in use stays
		}
		settled := same(found, last)
		last = found
		if !settled || same(found, p.stamp()) {
			continue
		}
		p.Log(p.Reload(), log)
	}
}

// Log says what has become of a Reload.
func (p *Pair) Log(err error, log *slog.Logger) {
	if err != nil {
		log.Error("certificate not replaced", "err", err)
		return
	}
	log.Info("certificate replaced", "file", p.certFile, "expires", p.NotAfter().UTC().Format(time.RFC3339))
}

func (p *Pair) stamp() stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

func (p *Pair) look() (s stamp, err error) {
	for i, name := range []string{p.certFile, p.keyFile} {
		info, e := os.Stat(name)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		s[i].time, s[i].size, s[i].file = info.ModTime().UnixNano(), info.Size(), info
	}
	return s, err
}

func same(a, b stamp) bool {
	for i := range a {
		if a[i].time != b[i].time || a[i].size != b[i].size || a[i].file == nil || b[i].file == nil || !os.SameFile(a[i].file, b[i].file) {
			return false
		}
	}
	return true
}
