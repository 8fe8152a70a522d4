package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// Beat says that the gateway node lives (TIME, then HSET and HGETALL) and returns the others that do, by node. g.At is set here:
// all ages are by the clock of Redis, so that the gateways' own may differ. Entries of the long dead are removed.
func (c *Client) Beat(ctx context.Context, node string, g stream.Gateway) (others map[string]stream.Gateway, err error) {
	return c.fleet(ctx, node, func(p goredis.Pipeliner, now int64) {
		g.At = now
		p.HSet(ctx, c.keys.Gateways(), node, g.Encode())
	})
}

// Leave takes the gateway node off (HDEL) and returns the others that live, by node. It need not have been on.
func (c *Client) Leave(ctx context.Context, node string) (others map[string]stream.Gateway, err error) {
	return c.fleet(ctx, node, func(p goredis.Pipeliner, _ int64) { p.HDel(ctx, c.keys.Gateways(), node) })
}

// forgetFactor is how many lives of a heartbeat an entry is kept for: what crashed leaves nothing behind for long.
const forgetFactor = 6

// fleet lets change have its say and reads the hash behind it, in one round trip after the one that asks for the time.
func (c *Client) fleet(ctx context.Context, node string, change func(p goredis.Pipeliner, now int64)) (map[string]stream.Gateway, error) {
	clock, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return nil, err
	}
	now := clock.UnixMilli()
	var all *goredis.MapStringStringCmd
	if _, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		change(p, now)
		all = p.HGetAll(ctx, c.keys.Gateways())
		return nil
	}); err != nil {
		return nil, err
	}
	others := map[string]stream.Gateway{}
	var forget []string
	for name, text := range all.Val() {
		g, err := stream.DecodeGateway(text)
		switch {
		case name == node:
		case err != nil || now-g.At > forgetFactor*stream.GatewayTTL.Milliseconds():
			forget = append(forget, name)
		case g.Lives(now):
			others[name] = g
		}
	}
	if len(forget) > 0 {
		_ = c.rdb.HDel(ctx, c.keys.Gateways(), forget...).Err() // the next heartbeat of anybody tries again
	}
	return others, nil
}
