package redis

import (
	"context"
	"sync"
	"time"
)

// sendCluster sends each server the calls of its slots, all at the same time, and those that a server has no more to
// where it says: it has not done them. go-redis would also send again what may have been done.
func (c *Client) sendCluster(ctx context.Context, calls [][]any) []result {
	out := make([]result, len(calls))
	groups := make(map[server][]int)
	for i, args := range calls {
		key, _ := args[3].(string) // the first of KEYS
		client, err := c.cluster.MasterForKey(ctx, key)
		if err != nil {
			out[i].err = err
			c.failed(ctx, err)
			continue
		}
		to := server{client: client}
		groups[to] = append(groups[to], i)
	}
	for round := 1; len(groups) > 0; round++ {
		var wg sync.WaitGroup
		for to, which := range groups {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, c.timeout)
				defer cancel()
				for k, r := range sendServer(ctx, to.client, calls, which, to.asking) {
					out[which[k]] = r
				}
			})
		}
		wg.Wait()
		next := make(map[server][]int)
		for from, which := range groups {
			for _, i := range which {
				if to, ok := c.redirect(ctx, from, out[i].err); ok && round < rounds {
					next[to] = append(next[to], i)
				} else {
					c.failed(ctx, out[i].err)
				}
			}
		}
		groups = next
		if round > 1 && len(groups) > 0 { // the servers do not agree yet
			select {
			case <-time.After(time.Duration(round) * 10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return out
}
