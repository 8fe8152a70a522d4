package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Config says where the streams are. Everything but URL has a default.
type Config struct {
	URL        string        // redis://[user:password@]host:port/db or rediss://
	Prefix     string        // of all keys; default "millrace"
	Partitions int           // must equal what the installation was made with; default 64
	Conns      int           // most connections to Redis at a time; default 4
	Timeout    time.Duration // for one answer of Redis, blocking reads not counted; default 3s
}

// Client is one installation of the streams. All methods may be called concurrently.
type Client struct {
	// Immutable after New.
	rdb        *goredis.Client
	keys       stream.Keys
	partitions int
	addr       string
}

// ErrMismatch says that the installation has another version or partition count than this program.
var ErrMismatch = errors.New("the streams in Redis do not fit this program")

// silent takes go-redis's own log lines, which would go to standard error: all that fails is returned as an error.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// New checks the configuration; it does not connect yet. See [Client.Connect].
func New(cfg Config) (*Client, error) {
	opts, err := goredis.ParseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("redis address: %w (want redis://host:port/db)", err)
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = stream.DefaultPartitions
	}
	if cfg.Partitions < 1 || cfg.Partitions > stream.MaxPartitions {
		return nil, fmt.Errorf("partitions: %d is not in 1 to %d", cfg.Partitions, stream.MaxPartitions)
	}
	goredis.SetLogger(silent{})
	opts.Protocol = 2 // replies of streams have one shape, and no push messages come between
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.PipelinePoolSize = -1
	opts.DisableIdentity = true
	opts.ContextTimeoutEnabled = true
	opts.PoolSize = cmpOr(cfg.Conns, 4)
	opts.ReadTimeout = cmpOr(cfg.Timeout, 3*time.Second)
	opts.WriteTimeout = opts.ReadTimeout
	opts.DialTimeout = opts.ReadTimeout
	return &Client{
		rdb:        goredis.NewClient(opts),
		keys:       stream.Keys{Prefix: cfg.Prefix},
		partitions: cfg.Partitions,
		addr:       opts.Addr,
	}, nil
}

func cmpOr[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Keys names the installation's keys.
func (c *Client) Keys() stream.Keys { return c.keys }

// Partitions is the partition count N.
func (c *Client) Partitions() int { return c.partitions }

// Addr is host:port of Redis, for messages.
func (c *Client) Addr() string { return c.addr }

// Close closes all connections; calls under way fail.
func (c *Client) Close() error { return c.rdb.Close() }

// Ping asks for a sign of life (PING).
func (c *Client) Ping(ctx context.Context) error { return c.rdb.Ping(ctx).Err() }

// Connect reaches Redis, writes the meta hash where there is none yet, and compares it: [ErrMismatch] names both
// numbers. While Redis does not answer it tries again until wait is over.
func (c *Client) Connect(ctx context.Context, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		err := c.checkMeta(ctx)
		if err == nil || errors.Is(err, ErrMismatch) || ctx.Err() != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redis at %s does not answer: %w (is it running there? set --redis to its address)", c.addr, err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
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
