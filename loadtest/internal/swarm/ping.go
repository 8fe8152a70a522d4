package swarm

import (
	"encoding/binary"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// pingSize is the payload of a ping: when it was due, ns of CLOCK_MONOTONIC.
const pingSize = 8

// pingAt is when ping n is due: they go round all clients, evenly.
func (s *Swarm) pingAt(n int64) int64 {
	return s.starts[PhaseSteady] + int64(float64(n)*float64(s.cfg.Ping)/float64(len(s.clients)))
}

// pingDue sends the pings that are due by now.
func (s *Swarm) pingDue(now int64) {
	if s.cfg.Ping == 0 {
		return
	}
	for ; s.pingAt(s.nextPing) <= now; s.nextPing++ {
		c := &s.clients[s.nextPing%int64(len(s.clients))]
		if c.state != clientReady || c.stops() {
			continue
		}
		var payload [pingSize]byte
		binary.NativeEndian.PutUint64(payload[:], uint64(s.pingAt(s.nextPing)))
		s.out = wsio.AppendMasked(s.out[:0], ws.OpPing, payload[:], newMask())
		s.push(c.conn, 1)
	}
}

// pong takes the answer to a ping; one that nobody asked for is allowed (RFC 6455 section 5.5.3) and says nothing.
func (s *Swarm) pong(i int32, payload []byte, now int64) {
	if s.cfg.Ping == 0 || len(payload) != pingSize {
		return
	}
	due := int64(binary.NativeEndian.Uint64(payload))
	if due >= s.starts[PhaseSteady] && due <= now {
		s.metrics.Ping.RecordParts(now-due, metric.Label{Scenarios: s.scenarioOf(i), Phase: labelSteady}, true)
	}
}
