package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsOptions are the options of an address that concern TLS.
type tlsOptions struct {
	ca         string // PEM file of authorities; default: the system's
	cert, key  string // PEM files of this program's own certificate
	serverName string // what the server's certificate must be for; default: the host that is dialled
	insecure   string // "true": any certificate will do
}

// config reads the files. Without a server name go-redis takes that of the host which it dials.
func (o *tlsOptions) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.serverName}
	switch o.insecure {
	case "":
	case "true":
		cfg.InsecureSkipVerify = true
	default:
		return nil, errors.New("option insecure_skip_verify: write true, or leave it out")
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("option ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("option ca: %s holds no certificate in PEM", o.ca)
		}
	}
	if (o.cert == "") != (o.key == "") {
		return nil, errors.New("options cert and key: give both, or none")
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("options cert and key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
