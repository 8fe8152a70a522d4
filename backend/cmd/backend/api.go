package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/api"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
	"github.com/millracehq/millrace/internal/auth"
)

// tokens says which tokens the HTTP API takes. The names are those of the gateway's settings.
type tokens struct {
	secret, key, jwks, issuer, audience string
	demo                                bool
}

func (t *tokens) flags(f *flag.FlagSet) {
	f.StringVar(&t.secret, "jwt-secret", "", "`SECRET` for HS256, at least 32 bytes; better set by its environment variable")
	f.StringVar(&t.key, "jwt-key", "", "`FILE` of public keys in PEM, for RS256, ES256 and EdDSA")
	f.StringVar(&t.jwks, "jwks", "", "`FILE` or URL of a key set (JWKS), for the same")
	f.StringVar(&t.issuer, "jwt-issuer", "", "`NAME` that iss of a token must be; by default anything")
	f.StringVar(&t.audience, "jwt-audience", "", "`NAME` that aud of a token must be, or hold; by default anything")
	f.BoolVar(&t.demo, "demo-sign-in", false, "give everybody who names a user a token of that user: to try things on this machine")
}

// any reports whether there is something to verify tokens with.
func (t *tokens) any() bool { return t.secret != "" || t.key != "" || t.jwks != "" }

func (t *tokens) check(database, listen string) error {
	if !t.demo {
		return nil
	}
	host, _, _ := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	switch {
	case database == "":
		return errors.New("--demo-sign-in: there is nothing to sign in to without --database")
	case t.secret == "":
		return errors.New("--demo-sign-in: set MILLRACE_JWT_SECRET, with which tokens are signed, to 32 bytes or more, for gateways and backends the same")
	case host != "localhost" && (ip == nil || !ip.IsLoopback()):
		return fmt.Errorf("--demo-sign-in lets everybody be anybody: --listen %s must be a loopback address", listen)
	}
	return nil
}

// verifier checks tokens, with keys that are fetched until stop is called.
func (t *tokens) verifier(ctx context.Context, log *slog.Logger) (v *auth.Verifier, stop func(), err error) {
	cfg := auth.Config{Issuer: t.issuer, Audience: t.audience}
	if t.secret != "" {
		key, err := auth.Secret([]byte(t.secret))
		if err != nil {
			return nil, nil, err
		}
		cfg.Keys = append(cfg.Keys, key)
	}
	if t.key != "" {
		text, err := os.ReadFile(t.key)
		if err != nil {
			return nil, nil, fmt.Errorf("--jwt-key: %w", err)
		}
		keys, err := auth.ParsePEM(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--jwt-key: %s: %w", t.key, err)
		}
		cfg.Keys = append(cfg.Keys, keys...)
	}
	var fetching sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	if t.jwks != "" {
		if cfg.Source, err = auth.NewSource(auth.SourceConfig{Location: t.jwks, Logger: log}); err != nil {
			cancel()
			return nil, nil, fmt.Errorf("--jwks: %w", err)
		}
		fetching.Go(func() {
			cfg.Source.Fetch(ctx)
			cfg.Source.Run(ctx)
		})
	}
	return auth.NewVerifier(cfg), func() { cancel(); fetching.Wait() }, nil
}

// newAPI is the HTTP API; stop ends what belongs to it.
func newAPI(ctx context.Context, t *tokens, w worker.Config, boards store.Store, set *metrics.Set, log *slog.Logger) (a *api.API, stop func(), err error) {
	verifier, stopFetching, err := t.verifier(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	client, err := redis.New(redis.Config{URL: w.Redis, Prefix: w.Prefix, Partitions: w.Partitions, Conns: 1})
	if err != nil {
		stopFetching()
		return nil, nil, err
	}
	cfg := api.Config{Store: boards, Verifier: verifier, Metrics: set, Logger: log, Revoke: func(ctx context.Context, channel, user string) error {
		p := stream.Publication{Kind: stream.KindRevoke, Channel: channel, User: user}
		return client.Append(ctx, []stream.Add{{Key: client.Keys().Out(p.Partition(client.Partitions())), Values: p.Values()}})[0]
	}}
	if t.demo {
		cfg.Demo = &api.Demo{Secret: []byte(t.secret), Issuer: t.issuer, Audience: t.audience}
		log.Warn("everybody who reaches this address can sign in as anybody (--demo-sign-in)")
	}
	return api.New(cfg), func() { stopFetching(); client.Close() }, nil
}
