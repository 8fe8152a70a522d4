package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"

	"github.com/millracehq/millrace/gateway/internal/certificate"
)

// certificateLook is how often the files of the certificate are looked at.
const certificateLook = 5 * time.Second

// prefixes are the trusted proxies: addresses, or ranges in CIDR notation.
func (c Config) prefixes() (ranges []netip.Prefix, err error) {
	for _, text := range c.ProxyProtocol {
		p, perr := netip.ParsePrefix(text)
		if perr != nil {
			a, aerr := netip.ParseAddr(text)
			if aerr != nil || a.Zone() != "" {
				return nil, fmt.Errorf("proxy_protocol: %q is neither an address nor a range like 10.0.0.0/8", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		ranges = append(ranges, p.Masked())
	}
	return ranges, nil
}

// loadCertificate reads the certificate, if one is set.
func (g *Gateway) loadCertificate() (*tls.Config, error) {
	if g.cfg.TLSCert == "" {
		return nil, nil //nolint:nilnil // no TLS
	}
	var err error
	if g.certificate, err = certificate.Load(g.cfg.TLSCert, g.cfg.TLSKey); err != nil {
		return nil, err
	}
	return g.certificate.Config(), nil
}

// watchCertificate reads the certificate again when its files change. It returns when ctx is done.
func (g *Gateway) watchCertificate(ctx context.Context) {
	tick := time.NewTicker(certificateLook)
	defer tick.Stop()
	g.certificate.Watch(ctx, tick.C, g.cfg.Logger)
}

// ReloadCertificate reads the certificate again now, and says in the log what came of it. Without TLS it does nothing. With
// an error, the certificate is what it was, and nobody is disconnected in either case.
func (g *Gateway) ReloadCertificate() error {
	if g.certificate == nil {
		return nil
	}
	err := g.certificate.Reload()
	g.certificate.Log(err, g.cfg.Logger)
	return err
}

func (g *Gateway) registerTLSMetrics() {
	shakes := g.loops[0].Handshakes // of all loops: they share them
	for result, of := range map[string]func() uint64{
		"done":    func() uint64 { return shakes().Done },
		"failed":  func() uint64 { return shakes().Failed },
		"evicted": func() uint64 { return shakes().Evicted },
		"refused": func() uint64 { return shakes().Refused },
	} {
		g.gauge(fmt.Sprintf("millrace_tls_handshakes_total{result=%q}", result), func() float64 { return float64(of()) })
	}
	g.gauge("millrace_tls_handshakes", func() float64 { return float64(shakes().Running) })
	g.gauge("millrace_tls_resumed_total", func() float64 { return float64(shakes().Resumed) })
	if g.certificate == nil {
		return
	}
	g.gauge("millrace_tls_certificate_expires_seconds", func() float64 { return float64(g.certificate.NotAfter().Unix()) })
	g.gauge("millrace_tls_certificate_reloads_total", func() float64 { done, _ := g.certificate.Reloads(); return float64(done) })
	g.gauge("millrace_tls_certificate_reloads_failed_total", func() float64 { _, failed := g.certificate.Reloads(); return float64(failed) })
}
