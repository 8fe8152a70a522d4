package redis

import (
	"context"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// Server is one master.
type Server struct {
	Addr, RunID string
	Partitions  []int
}

func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	s := Server{Addr: c.addr}
	for p := range c.partitions {
		s.Partitions = append(s.Partitions, p)
	}
	text, err := c.rdb.Info(ctx, "server").Result()
	if goredis.HasErrorPrefix(err, "ERR") || goredis.HasErrorPrefix(err, "section") {
		return []Server{s}, nil
	}
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			s.RunID = strings.TrimSpace(id)
		}
	}
	return []Server{s}, err
}
func (c *Client) Cluster() bool { return false }
