package gateway

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/route"
	"github.com/millracehq/millrace/internal/auth"
)

// keys are those for credentials that do not change by themselves.
func (c Config) keys() (keys []*auth.Key, err error) {
	if c.JWTSecret != "" {
		key, err := auth.Secret([]byte(c.JWTSecret))
		if err != nil {
			return nil, fmt.Errorf("jwt_secret: %w", err)
		}
		keys = append(keys, key)
	}
	if c.JWTKey != "" {
		text, err := readFile(c.JWTKey)
		if err != nil {
			return nil, fmt.Errorf("jwt_key: %w", err)
		}
		public, err := auth.ParsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("jwt_key: %s: %w", c.JWTKey, err)
		}
		keys = append(keys, public...)
	}
	return keys, nil
}

// readFile reads at most 1 MiB: more is no key, but perhaps a device.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// source is of those that do; nil when there is none.
func (c Config) source() (*auth.Source, error) {
	if c.JWKS == "" || c.Auth != "jwt" {
		return nil, nil //nolint:nilnil // no source is no fault
	}
	s, err := auth.NewSource(auth.SourceConfig{Location: c.JWKS, Plain: c.Insecure, Logger: c.Logger})
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	return s, nil
}

// rules are what of c can change while a gateway runs. c has its defaults.
func (c Config) rules(node string, source *auth.Source) (*route.Rules, error) {
	r := &route.Rules{
		Hello: c.hello(node), Namespaces: map[string]route.Namespace{}, Authorize: route.Authorize(c.Authorize),
		MaxSubscriptions: c.MaxSubscriptions, MaxRequests: c.MaxRequests,
		Rates:     limit.Rates{Frames: limit.NewRate(c.MaxFrameRate, 1), Bytes: limit.NewRate(c.MaxByteRate, c.MaxFrame)},
		Bounds:    limit.Bounds{Connections: c.MaxConnections, Address: c.MaxPerAddress, User: c.MaxPerUser, Accepts: limit.NewRate(c.MaxAcceptRate, 1)},
		Forwarded: strings.EqualFold(c.ForwardedHeader, "forwarded"),
	}
	for name, ns := range c.Namespaces {
		var err error
		if r.Namespaces[name], err = ns.route(); err != nil {
			return nil, err
		}
	}
	var err error
	if r.Proxies, err = limit.ParseProxies(c.TrustedProxies); err != nil {
		return nil, err
	}
	if c.Auth != "jwt" {
		return r, nil
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	r.Verifier = auth.NewVerifier(auth.Config{Keys: keys, Source: source, Issuer: c.JWTIssuer, Audience: c.JWTAudience, Leeway: c.JWTLeeway})
	return r, nil
}

// keyring is the source of keys that is in use, and how to end it. It is guarded by Gateway.changing.
type keyring struct {
	source *auth.Source
	stop   context.CancelFunc
}

// keep has a source fetch until ctx is done, or another one takes its place.
func (g *Gateway) keep(ctx context.Context, s *auth.Source) {
	if g.keyring.stop != nil {
		g.keyring.stop()
	}
	g.keyring = keyring{source: s}
	if s == nil {
		return
	}
	ctx, g.keyring.stop = context.WithCancel(ctx)
	g.fetching.Go(func() { s.Run(ctx) })
}
