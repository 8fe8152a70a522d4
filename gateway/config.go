package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/internal/route"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/strict"
	"github.com/millracehq/millrace/internal/wsio"
)

// Config of a Gateway, and the keys of its YAML file. The zero value of a field is the default named behind it.
type Config struct {
	Listen     string `yaml:"listen"`     // HOST:PORT of the WebSocket; default 127.0.0.1:8080
	Admin      string `yaml:"admin"`      // HOST:PORT of metrics and health; default 127.0.0.1:9090
	Redis      string `yaml:"redis"`      // default redis://127.0.0.1:6379/0
	Prefix     string `yaml:"prefix"`     // of all keys in Redis; default millrace
	Partitions int    `yaml:"partitions"` // must be that of the installation; default 64
	Node       string `yaml:"node"`       // name of this gateway; default: the host's name. A part that makes it unique is added

	TLSCert       string   `yaml:"tls_cert"`       // PEM file: the certificate and what is between it and a root; default: no TLS
	TLSKey        string   `yaml:"tls_key"`        // PEM file: its key
	ProxyProtocol []string `yaml:"proxy_protocol"` // ranges of addresses from which connections come, each with a PROXY header; default: none

	Auth        string        `yaml:"auth"`         // none or jwt; default none
	JWTSecret   string        `yaml:"jwt_secret"`   // for HS256, at least 32 bytes
	JWTKey      string        `yaml:"jwt_key"`      // file of public keys in PEM, for RS256, ES256 and EdDSA
	JWKS        string        `yaml:"jwks"`         // file or URL of a key set
	JWTIssuer   string        `yaml:"jwt_issuer"`   // must be iss; default: any
	JWTAudience string        `yaml:"jwt_audience"` // must be in aud; default: any
	JWTLeeway   time.Duration `yaml:"jwt_leeway"`   // how far nbf may be ahead; default 2s
	Authorize   string        `yaml:"authorize"`    // of connections: token (default), or backend, which is asked besides
	Insecure    bool          `yaml:"insecure"`     // allows auth none on an address that is not loopback, and http:// for jwks

	Loops            int           `yaml:"loops"`                       // event loops; default half the cores, at least 3
	MaxConnections   int           `yaml:"max_connections"`             // of this gateway; default: the descriptor limit less 200
	MaxPerAddress    int           `yaml:"max_connections_per_address"` // of an IPv4 address or a /64 of IPv6; default: no limit
	MaxPerUser       int           `yaml:"max_connections_per_user"`    // on this gateway; default: no limit
	MaxAcceptRate    int           `yaml:"max_accept_rate"`             // handshakes a second; default: no limit
	MaxFrameRate     int           `yaml:"max_frame_rate"`              // frames a second of one connection; default: no limit
	MaxByteRate      int           `yaml:"max_byte_rate"`               // bytes of frames a second of one connection; default: no limit
	MaxFrame         int           `yaml:"max_frame"`                   // bytes of one frame; default 65536
	MaxSubscriptions int           `yaml:"max_subscriptions"`           // of one connection; default 1000
	MaxRequests      int           `yaml:"max_requests"`                // unanswered ones of one connection; default 1000
	Heartbeat        time.Duration `yaml:"heartbeat"`                   // default 25s
	RequestTimeout   time.Duration `yaml:"request_timeout"`             // default 10s
	OutboxBytes      int           `yaml:"outbox_bytes"`                // unsent bytes of one connection; default 1 MiB
	TotalOutboxBytes int64         `yaml:"total_outbox_bytes"`          // unsent bytes of all; default 256 MiB
	RingBytes        int           `yaml:"ring_bytes"`                  // bytes of publications that wait for Redis; default 16 MiB
	AcceptRate       int           `yaml:"accept_rate"`                 // connections a second that this gateway takes in when others drain; default 1000
	DrainTimeout     time.Duration `yaml:"drain_timeout"`               // how long a drain may take in all; default 20s
	LostAfter        time.Duration `yaml:"lost_after"`                  // without Redis, until all connections are sent away; default 30s
	RedisWait        time.Duration `yaml:"redis_wait"`                  // how long to wait for Redis at the start; default 10s
	DurableReplicas  int           `yaml:"durable_replicas"`            // replicas of Redis that must have a publication before it is acknowledged; default 0
	History          time.Duration `yaml:"history"`                     // for how long publications can be resumed from; default 5m, and 10,000 entries a partition
	WindowBytes      int           `yaml:"window_bytes"`                // of publications kept in memory for those who resume; default 64 MiB
	Backlog          int64         `yaml:"backlog"`                     // entries that may wait for backends before publications are refused; default 1,000,000

	TrustedProxies  []string `yaml:"trusted_proxies"`  // addresses and ranges of those who say what a client's address is; default: nobody
	ForwardedHeader string   `yaml:"forwarded_header"` // in which they say it: x-forwarded-for (default) or forwarded

	Origins              []string `yaml:"origins"`               // of web pages that may connect, as https://app.example or https://*.example; default all
	Compression          bool     `yaml:"compression"`           // agree on permessage-deflate with clients that offer it; default false
	CompressionLevel     int      `yaml:"compression_level"`     // 1 (fast) to 9 (small); default 1
	CompressionThreshold int      `yaml:"compression_threshold"` // bytes of a publication's frame from which on it is compressed; default 512

	Namespaces map[string]Namespace `yaml:"namespaces"` // default: echo, board and workspace to the backend, direct

	Logger *slog.Logger `yaml:"-"` // default: none
}

// Namespace is what holds for the channels of one name: the part before the first ':'. The name "*" stands for all that are
// not listed.
type Namespace struct {
	Publish        string   `yaml:"publish"`          // backend (default), direct or deny
	Authorize      string   `yaml:"authorize"`        // token (default), backend or anyone
	MaxBody        int      `yaml:"max_body"`         // bytes; default: what a frame holds
	MaxPublishRate int      `yaml:"max_publish_rate"` // publications a second on one channel, at this gateway; default: no limit
	Compress       *bool    `yaml:"compress"`         // whether publications are compressed, where Config.Compression is on; default true
	Slow           string   `yaml:"slow"`             // what a subscriber that reads too slowly gets: close (default), drop-oldest or latest
	Notify         []string `yaml:"notify"`           // what the backend is told of: open, close, sub, unsub, auth; default: nothing
}

// DefaultNamespaces are those of a gateway without a configuration file.
func DefaultNamespaces() map[string]Namespace {
	return map[string]Namespace{"echo": {Publish: "backend"}, "direct": {Publish: "direct"}}
}

// maxByteRate bounds rates that have no other bound.
const maxByteRate = 1 << 30

// maxAcceptRate bounds Config.AcceptRate, and what is believed of others.
const maxAcceptRate = 1_000_000

// ParseConfig reads a YAML file over cfg. An unknown key is an error that names its line.
func ParseConfig(text []byte, cfg *Config) error {
	if err := strict.YAML(text, cfg); err != nil {
		return fmt.Errorf("%s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return nil
}

func (c Config) withDefaults() Config {
	def(&c.Listen, "127.0.0.1:8080")
	def(&c.Admin, "127.0.0.1:9090")
	def(&c.Redis, "redis://127.0.0.1:6379/0")
	def(&c.Prefix, stream.DefaultPrefix)
	def(&c.Partitions, stream.DefaultPartitions)
	def(&c.Auth, "none")
	def(&c.Authorize, "token")
	def(&c.JWTLeeway, 2*time.Second)
	def(&c.ForwardedHeader, "x-forwarded-for")
	def(&c.Loops, max(3, runtime.NumCPU()/2))
	def(&c.MaxFrame, 64<<10)
	def(&c.MaxSubscriptions, 1000)
	def(&c.MaxRequests, 1000)
	def(&c.Heartbeat, 25*time.Second)
	def(&c.RequestTimeout, 10*time.Second)
	def(&c.OutboxBytes, 1<<20)
	def(&c.TotalOutboxBytes, 256<<20)
	def(&c.RingBytes, 16<<20)
	def(&c.AcceptRate, 1000)
	def(&c.DrainTimeout, 20*time.Second)
	def(&c.LostAfter, 30*time.Second)
	def(&c.RedisWait, 10*time.Second)
	def(&c.History, 5*time.Minute)
	def(&c.WindowBytes, 64<<20)
	def(&c.Backlog, 1_000_000)
	def(&c.CompressionLevel, 1)
	def(&c.CompressionThreshold, 512)
	if len(c.Namespaces) == 0 {
		c.Namespaces = DefaultNamespaces()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Validate reports all that is wrong at once. Defaults count as set.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, addr := range map[string]string{"listen": c.Listen, "admin": c.Admin} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("%s: %q is not HOST:PORT", name, addr)
		}
	}
	switch c.Auth {
	case "none":
		if !c.Insecure && !loopback(c.Listen) {
			bad("auth none lets everybody do everything, and %s can be reached from outside: use --auth jwt, listen on 127.0.0.1, or say --insecure", c.Listen)
		}
	case "jwt":
		if c.JWTSecret == "" && c.JWTKey == "" && c.JWKS == "" {
			bad("auth jwt: there is nothing to verify tokens with: set a JWT secret (--jwt-secret or MILLRACE_JWT_SECRET), --jwt-key or --jwks")
		}
		if _, err := c.keys(); err != nil {
			errs = append(errs, err)
		}
		if _, err := c.source(); err != nil {
			errs = append(errs, err)
		}
	default:
		bad("auth: %q is neither none nor jwt", c.Auth)
	}
	if c.Authorize != "token" && c.Authorize != "backend" {
		bad("authorize: %q is neither token nor backend", c.Authorize)
	}
	if c.JWTLeeway < 0 || c.JWTLeeway > 5*time.Minute {
		bad("jwt_leeway: %v is not in 0 to 5m", c.JWTLeeway)
	}
	if _, err := limit.ParseProxies(c.TrustedProxies); err != nil {
		bad("trusted_proxies: %w", err)
	}
	if h := strings.ToLower(c.ForwardedHeader); h != "x-forwarded-for" && h != "forwarded" {
		bad("forwarded_header: %q is neither x-forwarded-for nor forwarded", c.ForwardedHeader)
	}
	if c.MaxFrameRate > limit.MaxFrameRate {
		bad("max_frame_rate: %d is over %d", c.MaxFrameRate, limit.MaxFrameRate)
	}
	if c.MaxByteRate > maxByteRate {
		bad("max_byte_rate: %d is over %d", c.MaxByteRate, maxByteRate)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("tls_cert and tls_key: set both or neither")
	}
	if _, err := c.prefixes(); err != nil {
		bad("%w", err)
	}
	if c.Partitions < 1 || c.Partitions > stream.MaxPartitions {
		bad("partitions: %d is not in 1 to %d", c.Partitions, stream.MaxPartitions)
	}
	if c.Loops < 1 || c.Loops > 64 {
		bad("loops: %d is not in 1 to 64", c.Loops)
	}
	if c.MaxFrame < 1024 || c.MaxFrame > 16<<20 {
		bad("max_frame: %d is not in 1024 to %d", c.MaxFrame, 16<<20)
	}
	for name, d := range map[string]time.Duration{"heartbeat": c.Heartbeat, "request_timeout": c.RequestTimeout, "drain_timeout": c.DrainTimeout} {
		if d < time.Second || d > time.Hour {
			bad("%s: %v is not in 1s to 1h", name, d)
		}
	}
	if c.History < time.Second || c.History > 24*time.Hour {
		bad("history: %v is not in 1s to 24h", c.History)
	}
	if c.LostAfter < 5*time.Second || c.LostAfter > 24*time.Hour {
		bad("lost_after: %v is not in 5s to 24h", c.LostAfter)
	}
	if c.AcceptRate < 1 || c.AcceptRate > maxAcceptRate {
		bad("accept_rate: %d is not in 1 to %d", c.AcceptRate, maxAcceptRate)
	}
	if _, err := wsio.ParseOrigins(c.Origins); err != nil {
		bad("origins: %w", err)
	}
	if c.CompressionLevel < 1 || c.CompressionLevel > 9 {
		bad("compression_level: %d is not in 1 to 9; compression: false turns it off", c.CompressionLevel)
	}
	for name, n := range map[string]int{
		"compression_threshold": c.CompressionThreshold,
		"max_connections":       c.MaxConnections, "max_subscriptions": c.MaxSubscriptions, "max_requests": c.MaxRequests,
		"outbox_bytes": c.OutboxBytes, "total_outbox_bytes": int(c.TotalOutboxBytes), "ring_bytes": c.RingBytes,
		"window_bytes": c.WindowBytes, "backlog": int(c.Backlog), "durable_replicas": c.DurableReplicas,
		"max_connections_per_address": c.MaxPerAddress, "max_connections_per_user": c.MaxPerUser, "max_accept_rate": c.MaxAcceptRate,
		"max_frame_rate": c.MaxFrameRate, "max_byte_rate": c.MaxByteRate,
	} {
		if n < 0 {
			bad("%s: %d is negative", name, n)
		}
	}
	for name, ns := range c.Namespaces {
		if _, err := ns.route(); err != nil {
			bad("namespaces: %s: %w", name, err)
		}
	}
	return errors.Join(errs...)
}

func (n Namespace) route() (route.Namespace, error) {
	def(&n.Publish, "backend")
	def(&n.Authorize, "token")
	out := route.Namespace{
		Publish: route.Publish(n.Publish), Authorize: route.Authorize(n.Authorize), MaxBody: n.MaxBody, Rate: limit.NewRate(n.MaxPublishRate, 1),
	}
	switch out.Publish {
	case route.ToBackend, route.Direct, route.Deny:
	default:
		return out, fmt.Errorf("publish: %q is not backend, direct or deny", n.Publish)
	}
	slow, known := policies[n.Slow]
	if !known {
		return out, fmt.Errorf("slow: %q is not close, drop-oldest or latest", n.Slow)
	}
	out.Slow = slow
	switch out.Authorize {
	case route.ByToken, route.ByBackend, route.ByNobody:
	default:
		return out, fmt.Errorf("authorize: %q is not token, backend or anyone", n.Authorize)
	}
	for _, what := range n.Notify {
		bit, known := route.Notices[stream.Kind(what)]
		if !known {
			return out, fmt.Errorf("notify: %q is not open, close, sub, unsub or auth", what)
		}
		out.Notify |= bit
	}
	if n.MaxPublishRate < 0 || n.MaxPublishRate > maxByteRate {
		return out, fmt.Errorf("max_publish_rate: %d is not in 0 to %d", n.MaxPublishRate, maxByteRate)
	}
	if n.MaxBody < 0 {
		return out, fmt.Errorf("max_body: %d is negative", n.MaxBody)
	}
	return out, nil
}

// compression is what the relay needs to know.
func (c Config) compression() relay.Compression {
	if !c.Compression {
		return relay.Compression{}
	}
	wants := func(ns Namespace) bool { return ns.Compress == nil || *ns.Compress }
	return relay.Compression{Level: c.CompressionLevel, Threshold: c.CompressionThreshold, Wanted: func(channel string) bool {
		name, _, _ := strings.Cut(channel, ":")
		if ns, ok := c.Namespaces[name]; ok {
			return wants(ns)
		}
		return wants(c.Namespaces["*"])
	}}
}

var policies = map[string]hub.Policy{"": hub.Close, "close": hub.Close, "drop-oldest": hub.DropOldest, "latest": hub.Latest}

// hello is the JSON of the hello frame.
func (c Config) hello(node string) []byte {
	type namespace struct {
		MaxBody        int `json:"max_body,omitempty"`
		MaxPublishRate int `json:"max_publish_rate,omitempty"`
	}
	limited := map[string]namespace{}
	for name, ns := range c.Namespaces {
		if of := (namespace{ns.MaxBody, ns.MaxPublishRate}); of != (namespace{}) {
			limited[name] = of
		}
	}
	b, err := json.Marshal(struct {
		Node             string               `json:"node"`
		Heartbeat        int64                `json:"heartbeat_ms"`
		MaxFrame         int                  `json:"max_frame"`
		MaxSubscriptions int                  `json:"max_subscriptions"`
		MaxRequests      int                  `json:"max_requests"`
		MaxFrameRate     int                  `json:"max_frame_rate,omitempty"`
		MaxByteRate      int                  `json:"max_byte_rate,omitempty"`
		MaxPerUser       int                  `json:"max_connections_per_user,omitempty"`
		Namespaces       map[string]namespace `json:"namespaces,omitempty"`
	}{node, c.Heartbeat.Milliseconds(), c.MaxFrame, c.MaxSubscriptions, c.MaxRequests, c.MaxFrameRate, c.MaxByteRate, c.MaxPerUser, limited})
	if err != nil {
		panic("BUG: hello is not JSON: " + err.Error())
	}
	return b
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
