package gateway

import (
	"context"

	"github.com/millracehq/millrace/gateway/internal/route"
)

// slowest asks every loop for its n slowest connections and returns the n slowest of all. It fails when ctx ends before
// the loops have answered.
func (g *Gateway) slowest(ctx context.Context, n int) (any, error) {
	answers := make(chan []route.Slow, len(g.loops))
	asked := 0
	for i, l := range g.loops {
		if l.Post(func() { answers <- g.routers[i].Slowest(n) }) {
			asked++
		}
	}
	all := []route.Slow{} // in JSON an empty list, not null
	for range asked {
		select {
		case list := <-answers:
			all = append(all, list...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return route.SortSlow(all, n), nil
}
