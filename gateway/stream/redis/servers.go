package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// Server is one Redis that takes writes.
type Server struct {
	Addr       string // host:port
	RunID      string // changes with each start of the server; "" where it does not say
	Partitions []int  // whose streams it holds, ascending
}

// Servers asks every master for its run ID (INFO server): one for a single Redis, or behind sentinels; in a Cluster one
// for each master that holds a partition, as far as the client knows, all asked at the same time. What a server answers
// is returned also beside an error, which is then of the others.
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	masters, err := c.masters(ctx)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(masters))
	var wg sync.WaitGroup
	for i := range masters {
		m := &masters[i]
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, c.timeout)
			defer cancel()
			if m.RunID, errs[i] = runID(ctx, m.client); errs[i] != nil {
				errs[i] = fmt.Errorf("redis at %s: %w", m.Addr, errs[i])
				c.failed(ctx, errs[i])
			}
		})
	}
	wg.Wait()
	var servers []Server
	for i := range masters {
		if errs[i] == nil {
			servers = append(servers, masters[i].Server)
		}
	}
	if len(servers) == 1 && c.cluster == nil {
		if addr := c.master.Load(); addr != nil {
			servers[0].Addr = *addr // the question may have been the first to find out
		}
	}
	return servers, errors.Join(errs...)
}

// master is a server and the client that reaches it.
type master struct {
	Server
	client infoClient
}

type infoClient interface {
	Ping(ctx context.Context) *goredis.StatusCmd
	Info(ctx context.Context, section ...string) *goredis.StringCmd
}

func (c *Client) masters(ctx context.Context) ([]master, error) {
	if c.cluster == nil {
		m := master{Server: Server{Addr: c.addr, Partitions: make([]int, c.partitions)}, client: c.rdb}
		for p := range m.Partitions {
			m.Partitions[p] = p
		}
		return []master{m}, nil
	}
	var list []master
	place := make(map[*goredis.Client]int)
	for p := range c.partitions {
		client, err := c.cluster.MasterForKey(ctx, c.keys.In(p))
		if err != nil {
			c.failed(ctx, err)
			return nil, err
		}
		i, ok := place[client]
		if !ok {
			i = len(list)
			place[client] = i
			list = append(list, master{Server: Server{Addr: client.Options().Addr}, client: client})
		}
		list[i].Partitions = append(list[i].Partitions, p)
	}
	return list, nil
}

// runID is "" when the server has no such thing to say.
func runID(ctx context.Context, client infoClient) (string, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil && ofAll(err) {
		return "", err
	}
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", nil
}

// Ping asks for a sign of life (PING); in a Cluster it is enough that one master gives it and that the Cluster does not
// say that it is down as a whole.
func (c *Client) Ping(ctx context.Context) error {
	if c.cluster == nil {
		return c.rdb.Ping(ctx).Err()
	}
	masters, err := c.masters(ctx)
	if err != nil {
		return err
	}
	errs := make(chan error, len(masters))
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	for _, m := range masters {
		go func() { errs <- alive(ctx, m.client.(*goredis.Client)) }()
	}
	defer cancel()
	for range masters {
		if err = <-errs; err == nil {
			return nil
		}
		c.failed(ctx, err)
	}
	return err
}

// alive is asked of a Cluster's server.
func alive(ctx context.Context, client *goredis.Client) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err == nil && !strings.Contains(info, "cluster_state:ok") {
		return fmt.Errorf("the Cluster is down, says %s", client.Options().Addr)
	}
	return err
}
