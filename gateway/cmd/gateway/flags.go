package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// flags binds the flags to s; what s already holds, from the file, is their default.
func (s *settings) flags(out io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(out)
	c := &s.cfg
	text := func(v *string, name, usage string) { fs.StringVar(v, name, *v, usage) }
	number := func(v *int, name, usage string) { fs.IntVar(v, name, *v, usage) }
	text(&s.file, "config", "YAML `FILE` with the same settings and the namespaces")
	text(&c.Listen, "listen", "`HOST:PORT` of the WebSocket, which is at /ws (default 127.0.0.1:8080)")
	text(&c.Admin, "admin", "`HOST:PORT` of /metrics /healthz /readyz /debug/pprof (default 127.0.0.1:9090)")
	text(&c.Redis, "redis", "`URL` of Redis: redis:// rediss:// redis+sentinel:// redis+cluster:// (default redis://127.0.0.1:6379/0)")
	text(&c.Prefix, "prefix", "of all keys in Redis (default millrace)")
	number(&c.Partitions, "partitions", "of the installation; all programs must agree (default 64)")
	text(&c.Node, "node", "`NAME` of this gateway; a part that makes it unique is added (default: the host's name)")
	text(&c.TLSCert, "tls-cert", "PEM `FILE`: the certificate and what is between it and a root; read again when it changes (default: no TLS)")
	text(&c.TLSKey, "tls-key", "PEM `FILE`: its key")
	fs.Func("proxy-protocol", "`RANGES`, with commas: connections come from these addresses alone, each with a PROXY header (default: none)", func(v string) error {
		c.ProxyProtocol = strings.Split(v, ",")
		return nil
	})
	text(&c.Auth, "auth", "`MODE`: none (everybody may do everything) or jwt (default none)")
	text(&c.JWTSecret, "jwt-secret", "`SECRET` for HS256, at least 32 bytes; better set by its environment variable")
	text(&c.JWTKey, "jwt-key", "`FILE` of public keys in PEM, for RS256, ES256 and EdDSA")
	text(&c.JWKS, "jwks", "`FILE` or URL of a key set (JWKS), for the same")
	text(&c.JWTIssuer, "jwt-issuer", "what iss of a token must be (default: anything)")
	text(&c.JWTAudience, "jwt-audience", "what aud of a token must be, or hold (default: anything)")
	duration(fs, &c.JWTLeeway, "jwt-leeway", "how far nbf of a token may be ahead (default 2s)")
	text(&c.Authorize, "authorize", "`WHO` decides about connections: token, or backend, which is asked besides (default token)")
	fs.BoolVar(&c.Insecure, "insecure", c.Insecure, "allow --auth none on an address that is not loopback, and http:// for --jwks")
	number(&c.Loops, "loops", "event loops (default half the cores, at least 3)")
	number(&c.MaxConnections, "max-connections", "of this gateway (default: the descriptor limit less 200)")
	number(&c.MaxPerAddress, "max-connections-per-address", "of one IPv4 address, or one /64 of IPv6 (default: no limit)")
	number(&c.MaxPerUser, "max-connections-per-user", "of one user at this gateway (default: no limit)")
	number(&c.MaxAcceptRate, "max-accept-rate", "handshakes a second (default: no limit)")
	number(&c.MaxFrameRate, "max-frame-rate", "frames a second of one connection (default: no limit)")
	number(&c.MaxByteRate, "max-byte-rate", "bytes of frames a second of one connection (default: no limit)")
	fs.Var((*list)(&c.TrustedProxies), "trusted-proxies", "`RANGES`, with commas: who may say what a client's address is (default: nobody)")
	text(&c.ForwardedHeader, "forwarded-header", "in which they say it: x-forwarded-for or forwarded (default x-forwarded-for)")
	number(&c.MaxFrame, "max-frame", "bytes of one frame (default 65536)")
	number(&c.MaxSubscriptions, "max-subscriptions", "of one connection (default 1000)")
	number(&c.MaxRequests, "max-requests", "unanswered requests of one connection (default 1000)")
	duration(fs, &c.Heartbeat, "heartbeat", "pings to quiet connections (default 25s)")
	duration(fs, &c.RequestTimeout, "request-timeout", "until a request is answered 408 (default 10s)")
	number(&c.OutboxBytes, "outbox-bytes", "unsent bytes of one connection before it counts as slow (default 1 MiB)")
	fs.Int64Var(&c.TotalOutboxBytes, "total-outbox-bytes", c.TotalOutboxBytes, "unsent bytes of all connections (default 256 MiB)")
	number(&c.RingBytes, "ring-bytes", "bytes of publications that wait for Redis (default 16 MiB)")
	number(&c.AcceptRate, "accept-rate", "connections a second that this gateway takes in when others drain (default 1000)")
	duration(fs, &c.DrainTimeout, "drain-timeout", "how long a drain may take in all (default 20s)")
	duration(fs, &c.LostAfter, "lost-after", "without Redis, until all connections are sent away (default 30s)")
	duration(fs, &c.RedisWait, "redis-wait", "how long to wait for Redis at the start (default 10s)")
	number(&c.DurableReplicas, "durable-replicas", "replicas of Redis that must have a publication before it is acknowledged (default 0)")
	duration(fs, &c.History, "history", "for how long publications can be resumed from (default 5m, and 10,000 entries a partition)")
	number(&c.WindowBytes, "window-bytes", "of publications kept in memory for those who resume (default 64 MiB)")
	fs.Int64Var(&c.Backlog, "backlog", c.Backlog, "entries that may wait for backends before publications are refused (default 1,000,000)")
	fs.Func("origins", "`LIST` of web pages that may connect, as https://app.example,https://*.example (default all)", func(v string) error {
		c.Origins = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
	fs.BoolVar(&c.Compression, "compression", c.Compression, "agree on permessage-deflate with clients that offer it; publications are compressed once for all (default false)")
	number(&c.CompressionLevel, "compression-level", "1 (fast) to 9 (small) (default 1)")
	number(&c.CompressionThreshold, "compression-threshold", "bytes of a publication's frame from which on it is compressed (default 512)")
	fs.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fs.StringVar(&s.logFormat, "log-format", "text", "text or json")
	fs.BoolVar(&s.version, "version", false, "print the version and exit")
	return fs
}

// list is a flag of several values with commas between them.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = nil
	if text != "" {
		*l = strings.Split(text, ",")
	}
	return nil
}

func usage(fs *flag.FlagSet, w io.Writer) {
	_, _ = fmt.Fprint(w, `gateway: WebSocket connections in front, Redis streams behind.

  gateway [--config FILE] [flags]

Without a configuration file there are two namespaces: channels echo:… go to the
backend, channels direct:… straight to their subscribers. Each setting is a flag,
a variable (--max-frame is MILLRACE_MAX_FRAME) and a key of the file (max_frame);
the flag wins over the variable, and the variable over the file. SIGHUP reads the
file again.

`)
	fs.SetOutput(w)
	fs.PrintDefaults()
}
