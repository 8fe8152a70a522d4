package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// dial makes the client of go-redis; it connects when it is first used. What go-redis would do by itself and is turned
// off: to send again what may have been stored, to read from replicas, and to name itself to Redis, which a narrow ACL
// forbids.
func (c *Client) dial(a *address, tlsConfig *tls.Config, conns int) {
	c.server = goredis.Options{
		Username:              a.user,
		Password:              a.password,
		DB:                    a.db,
		TLSConfig:             tlsConfig,
		Protocol:              2, // replies of streams have one shape, and no push messages come between
		MaxRetries:            -1,
		DialerRetries:         1,
		PipelinePoolSize:      -1,
		DisableIdentity:       true,
		ContextTimeoutEnabled: true,
		PoolSize:              conns,
		ReadTimeout:           c.timeout,
		WriteTimeout:          c.timeout,
		DialTimeout:           c.timeout,
	}
	o := &c.server
	switch a.kind {
	case single:
		c.single = true
		opts := c.server
		opts.Addr = a.hosts[0]
		c.rdb = goredis.NewClient(&opts)
	case sentinel:
		c.rdb = goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: a.master, SentinelAddrs: a.hosts, SentinelUsername: a.sentinelUser, SentinelPassword: a.sentinelPassword,
			Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig, Protocol: o.Protocol,
			MaxRetries: o.MaxRetries, DialerRetries: o.DialerRetries, PipelinePoolSize: o.PipelinePoolSize, DisableIdentity: true,
			ContextTimeoutEnabled: true, PoolSize: o.PoolSize, ReadTimeout: c.timeout, WriteTimeout: c.timeout, DialTimeout: c.timeout,
			OnConnect: refuseReplica,
		})
		c.rdb.AddHook(&sentinelHook{c, a.master})
	case cluster:
		o.PoolSize += c.partitions // each partition may be waited on by a Read of its own, and one server may have all
		c.cluster = goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs:    a.hosts,
			Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, Protocol: o.Protocol,
			MaxRedirects: 3, MaxRetries: o.MaxRetries, DialerRetries: o.DialerRetries, PipelinePoolSize: o.PipelinePoolSize, DisableIdentity: true,
			ContextTimeoutEnabled: true, PoolSize: o.PoolSize, ReadTimeout: c.timeout, WriteTimeout: c.timeout, DialTimeout: c.timeout,
			ClusterStateReloadInterval: stateFor,
			DisableRoutingPolicies:     true, // they ask any server what each command is, be it one that has frozen
		})
		c.rdb = c.cluster
		c.rdb.AddHook(&clusterHook{c})
	}
}

// stateFor is how old the map of slots may grow while nothing fails; MOVED and broken connections renew it too.
const stateFor = 5 * time.Second

// refuseReplica ends a new connection to what the sentinels called the master and is a replica: word of a failover reaches
// them at different times. A write would be refused there; a read would wait on it, unnoticed. Sentinels say "sentinel".
func refuseReplica(ctx context.Context, cn *goredis.Conn) error {
	role, err := cn.Do(ctx, "ROLE").Slice()
	if err != nil {
		return err
	}
	if len(role) > 0 && role[0] == "slave" {
		return errReplica
	}
	return nil
}

var errReplica = errors.New("the sentinels have named a replica as the master: a failover is under way")

// sentinelHook is around the dialling of the master.
type sentinelHook struct {
	c      *Client
	master string
}

// DialHook says what a failed question to the sentinels means. Their answers must not be found in the error chain: they
// would pass for answers to the command, "nil", which is the name that they do not know, for "nothing new".
func (h *sentinelHook) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err == nil {
			master := conn.RemoteAddr().String()
			h.c.master.Store(&master)
			return conn, nil
		}
		if errors.Is(err, goredis.Nil) {
			return nil, fmt.Errorf("the sentinels know no master named %q", h.master)
		}
		if code(err) != "" {
			return nil, fmt.Errorf("%v", err) //nolint:errorlint // on purpose, see above
		}
		return nil, err
	}
}

// ProcessHook does nothing.
func (h *sentinelHook) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

// ProcessPipelineHook does nothing.
func (h *sentinelHook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// clusterHook is around every call that go-redis routes. go-redis sends again what failed, up to three times: that is how
// it follows MOVED, and it cannot be had without. So what goes through here must be fit to be sent again, and the time of
// one answer bounds all attempts together. Append does not go through here.
type clusterHook struct{ c *Client }

// DialHook does nothing.
func (h *clusterHook) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessHook bounds a command.
func (h *clusterHook) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, h.c.timeout)
		defer cancel()
		err := next(ctx, cmd)
		h.c.failed(ctx, err)
		return err
	}
}

// ProcessPipelineHook bounds a pipeline.
func (h *clusterHook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, h.c.timeout)
		defer cancel()
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			h.c.failed(ctx, cmd.Err())
		}
		return err
	}
}

// failed has the map of slots renewed, in the background, when a server may have been replaced: go-redis does so only when
// somebody answers MOVED, which the dead do not.
func (c *Client) failed(ctx context.Context, err error) {
	if c.cluster != nil && err != nil && ofAll(err) {
		c.cluster.ReloadState(ctx)
	}
}

// redirects are clients of servers that others have named by MOVED or ASK: the map of slots may not have them yet.
type redirects struct {
	mu      sync.Mutex
	clients map[string]*goredis.Client // Guarded by mu. By host:port.
	closed  bool                       // Guarded by mu.
}

func (r *redirects) client(opts goredis.Options, addr string) (*goredis.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, goredis.ErrClosed
	}
	client := r.clients[addr]
	if client == nil {
		opts.Addr = addr
		client = goredis.NewClient(&opts)
		if r.clients == nil {
			r.clients = make(map[string]*goredis.Client)
		}
		r.clients[addr] = client
	}
	return client, nil
}

func (r *redirects) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, client := range r.clients {
		_ = client.Close()
	}
}
