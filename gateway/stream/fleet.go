package stream

import (
	"encoding/json"
	"fmt"
	"time"
)

// GatewayTTL is how long a gateway counts as living after its last heartbeat; one that beats every 2.5 s may miss three.
const GatewayTTL = 10 * time.Second

// Gateway is what a gateway tells the others about itself with each heartbeat: a value of the hash [Keys.Gateways], under its node's
// name. It is for gateways alone and not part of the backend contract.
type Gateway struct {
	AcceptRate  int   `json:"accept_rate"` // connections that it takes in, per second
	Connections int   `json:"connections"` // that it has
	At          int64 `json:"at"`          // when it said so, by the clock of Redis, Unix milliseconds
}

// Encode is the value in the hash, one small JSON object.
func (g Gateway) Encode() string {
	b, err := json.Marshal(g)
	if err != nil {
		panic("BUG: three numbers are not JSON: " + err.Error())
	}
	return string(b)
}

// DecodeGateway is the way back; unknown members are passed over. Its errors wrap [ErrEntry].
func DecodeGateway(text string) (g Gateway, err error) {
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		return Gateway{}, fmt.Errorf("%w: gateway %.80q: %w", ErrEntry, text, err)
	}
	return g, nil
}

// Lives reports whether the gateway counts at now, Unix milliseconds by the clock of Redis.
func (g Gateway) Lives(now int64) bool { return now-g.At <= GatewayTTL.Milliseconds() }
