package gateway

import (
	"context"

	"github.com/millracehq/millrace/gateway/stream"
)

// control tells all gateways to end what a user has: one subscription (revoke), or all connections (kick).
func (g *Gateway) control(ctx context.Context, p *stream.Publication) (entry string, err error) {
	id, err := g.relay.Control(ctx, p)
	if err != nil {
		return "", err
	}
	return id.String(), nil
}
