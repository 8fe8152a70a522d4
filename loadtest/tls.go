package loadtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// maxTLSHandshakes is how many TLS handshakes an event loop has under way; beyond, it ends those that wait longest.
const maxTLSHandshakes = 1000

// clientTLS is the TLS of all clients of a wss:// target, after one connection has been tried, so that a certificate that does not hold is told by its
// own words, once. A server that is not there is no error here: that is for the run to find.
func (s *Scenario) clientTLS(ctx context.Context, host string, remote netip.AddrPort) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, InsecureSkipVerify: s.InsecureSkipTLSVerify} //nolint:gosec // as asked for
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", remote.String())
	if err != nil {
		return cfg, nil //nolint:nilerr // see above
	}
	defer raw.Close()
	err = tls.Client(raw, cfg).HandshakeContext(ctx)
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, fmt.Errorf("url: the certificate of %s is not to be trusted: %w (set SSL_CERT_FILE to a file with its authority, or use --insecure-skip-tls-verify)", host, cert.Err)
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return nil, fmt.Errorf("url: %s does not speak TLS (%s): use ws://", remote, record.Msg)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok || err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("url: TLS with %s: %w", remote, err)
	}
	return cfg, nil
}
