package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Config says where the streams are. Everything but URL has a default.
type Config struct {
	// URL is one of
	//
	//	redis://[user:password@]host:port[/db]
	//	redis+sentinel://[user:password@]host:port[,host:port…]/master-name[/db]    the hosts are sentinels
	//	redis+cluster://[user:password@]host:port[,host:port…]                      some servers of the Cluster
	//
	// with rediss instead of redis for TLS. Options behind ? are ca=FILE, cert=FILE, key=FILE, server_name=NAME and
	// insecure_skip_verify=true for TLS, sentinel_user=NAME and sentinel_password=PASSWORD where sentinels have their own.
	URL            string
	Prefix         string        // of all keys; default "millrace"
	Partitions     int           // must equal what the installation was made with; default 64
	Conns          int           // most connections to Redis at a time, in a Cluster beside one for each partition and to each server; default 4
	Timeout        time.Duration // for one answer of Redis; default 3s
	Replicas       int           // how many replicas must have what [Client.Append] writes; default 0
	ReplicaTimeout time.Duration // how long Append waits for them, less than Timeout; default 1s
}

// Client is one installation of the streams. All methods may be called concurrently.
type Client struct {
	// Immutable after New.
	rdb            goredis.UniversalClient
	cluster        *goredis.ClusterClient // rdb, where it is a Cluster; else nil
	single         bool                   // it is one server, and no sentinels
	server         goredis.Options        // how any server is reached, but for its address
	keys           stream.Keys
	partitions     int
	addr           string
	timeout        time.Duration
	replicas       int
	replicaTimeout time.Duration

	// Atomic.
	master atomic.Pointer[string] // host:port that was dialled last, by word of the sentinels

	redirects redirects
}

// ErrMismatch says that the installation has another version or partition count than this program.
var ErrMismatch = errors.New("the streams in Redis do not fit this program")

// silent takes go-redis's own log lines, which would go to standard error: all that fails is returned as an error.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// New checks the configuration; it does not connect yet. See [Client.Connect].
func New(cfg Config) (*Client, error) {
	a, err := parseAddress(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("redis address: %w", err)
	}
	var tlsConfig *tls.Config
	if a.tls {
		if tlsConfig, err = a.tlsOptions.config(); err != nil {
			return nil, fmt.Errorf("redis address: %w", err)
		}
	}
	cfg.Partitions = cmp.Or(cfg.Partitions, stream.DefaultPartitions)
	if cfg.Partitions < 1 || cfg.Partitions > stream.MaxPartitions {
		return nil, fmt.Errorf("partitions: %d is not in 1 to %d", cfg.Partitions, stream.MaxPartitions)
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 3*time.Second)
	cfg.ReplicaTimeout = cmp.Or(cfg.ReplicaTimeout, min(time.Second, cfg.Timeout/2))
	if cfg.Replicas < 0 {
		return nil, fmt.Errorf("replicas: %d is negative", cfg.Replicas)
	}
	if cfg.ReplicaTimeout < time.Millisecond || cfg.ReplicaTimeout >= cfg.Timeout { // WAIT 0 is for ever
		return nil, fmt.Errorf("replica timeout: %v is not from 1ms to below the timeout, %v", cfg.ReplicaTimeout, cfg.Timeout)
	}
	goredis.SetLogger(silent{})
	c := &Client{
		keys:           stream.Keys{Prefix: cfg.Prefix},
		partitions:     cfg.Partitions,
		addr:           a.String(),
		timeout:        cfg.Timeout,
		replicas:       cfg.Replicas,
		replicaTimeout: cfg.ReplicaTimeout,
	}
	c.dial(&a, tlsConfig, cmp.Or(cfg.Conns, 4))
	return c, nil
}

// Keys names the installation's keys.
func (c *Client) Keys() stream.Keys { return c.keys }

// Partitions is the partition count N.
func (c *Client) Partitions() int { return c.partitions }

// Addr says for messages where Redis is: host:port, or the address of the sentinels or the Cluster, without credentials.
func (c *Client) Addr() string { return c.addr }

// Cluster reports whether Redis is a Cluster: then one [Client.Read] may name the streams of one partition only.
func (c *Client) Cluster() bool { return c.cluster != nil }

// Close closes all connections; calls under way fail.
func (c *Client) Close() error {
	c.redirects.close()
	return c.rdb.Close()
}

// Connect reaches Redis, writes the meta hash where there is none yet, and compares it: [ErrMismatch] names both
// numbers. While Redis does not answer it tries again until wait is over, ever more slowly and not at the same time as
// others do. What waiting cannot mend, wrong credentials or certificates, it returns at once.
func (c *Client) Connect(ctx context.Context, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := c.checkMeta(ctx)
		if err == nil || errors.Is(err, ErrMismatch) || ctx.Err() != nil {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 || hopeless(err) {
			return fmt.Errorf("redis at %s: %w (%s)", c.addr, err, c.advice(err))
		}
		select {
		case <-time.After(min(left, pause/2+rand.N(pause))):
		case <-ctx.Done():
		}
	}
}

func (c *Client) checkMeta(ctx context.Context) error {
	var all *goredis.MapStringStringCmd
	_, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.HSetNX(ctx, c.keys.Meta(), "version", stream.Version)
		p.HSetNX(ctx, c.keys.Meta(), "partitions", c.partitions)
		all = p.HGetAll(ctx, c.keys.Meta())
		return nil
	})
	if err != nil {
		return err
	}
	meta := all.Val()
	if v := meta["version"]; v != strconv.Itoa(stream.Version) {
		return fmt.Errorf("%w: %s says version %s, this program speaks version %d", ErrMismatch, c.keys.Meta(), v, stream.Version)
	}
	if n := meta["partitions"]; n != strconv.Itoa(c.partitions) {
		return fmt.Errorf("%w: %s says %s partitions, this program is set to %d", ErrMismatch, c.keys.Meta(), n, c.partitions)
	}
	return nil
}
