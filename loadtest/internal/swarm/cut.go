package swarm

import (
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// Cut is a reconnect storm: connections are reset at one moment of the steady phase, and their clients come back.
type Cut struct {
	Share      float64       // of the clients, spread evenly; 0: none are cut
	At         time.Duration // from the beginning of the steady phase
	Spread     time.Duration // each comes back at a random time within it; 0: all at once
	Publishers bool          // those that publish are cut too
	Server     bool          // whoever listens to Marks sees to it that the server ends them all; here it is only counted
}

// catchUp is what a client that was cut off must still receive: so many deliveries of publications below before, and of those that virtual
// users had sent by then.
type catchUp struct{ before, sentBy, left int64 }

// cutOff resets connections, all in one turn. What they have received and not read is lost, as when a network goes.
func (s *Swarm) cutOff() {
	now := s.loop.Clock()
	s.cutAt = now
	if s.cfg.Cut.Server {
		s.storming = true
		return
	}
	share := s.cfg.Cut.Share
	for i := range s.members() {
		c := &s.clients[i]
		if int(float64(i+1)*share) == int(float64(i)*share) || c.state != clientReady || s.plan.publishes(int32(i)) && !s.cfg.Cut.Publishers {
			continue
		}
		conn := c.conn
		_ = unix.SetsockoptLinger(s.loop.Descriptor(conn), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // close sends RST
		s.disconnect(int32(i))
		s.loop.Close(conn, reasonGone)
		c.cut = true
		at := now
		if spread := s.cfg.Cut.Spread; spread > 0 {
			at += rand.Int64N(int64(spread))
		}
		s.dials.add(at, uint64(i))
		s.metrics.Cut.Add("reset", 1)
	}
}

// cutByServer takes note of the first connection that client i loses after the server was told to end them, and reports whether it was that.
func (s *Swarm) cutByServer(i int32, code string) bool {
	if !s.storming || int(i) >= len(s.cutOnce) || s.cutOnce[i] {
		return false
	}
	s.cutOnce[i], s.clients[i].cut = true, true
	s.metrics.Cut.Add(code, 1)
	return true
}

// beginCatchUp notes what a client that is back must receive until it has all that was published by now.
func (s *Swarm) beginCatchUp(i int32) {
	c := catchUp{before: s.next, sentBy: s.loop.Clock()}
	for j := range s.plan.perClient {
		sub := int(i)*s.plan.perClient + j
		for lane := range s.plan.lanes {
			feed := s.plan.feedOf(lane, s.plan.channel(sub))
			s.ledger.Missing(s.plan.line(sub, feed), s.sentOf(feed), func(first, last uint32, announced bool) {
				if s.roll[sub] && !announced {
					c.left += int64(last-first) + 1
				}
			})
		}
	}
	if c.left == 0 {
		s.metrics.CaughtUp.Record(s.loop.Clock() - s.cutAt)
		return
	}
	s.catching[i] = c
}

// catchesUp enters the delivery of publication k to a client that may be catching up.
func (s *Swarm) catchesUp(i int32, k int64, st stamp, now int64) {
	c, ok := s.catching[i]
	after := k >= c.before
	if k >= s.plan.total {
		after = st.sent() > c.sentBy
	}
	if !ok || after {
		return
	}
	if c.left--; c.left > 0 {
		s.catching[i] = c
		return
	}
	delete(s.catching, i)
	s.metrics.CaughtUp.Record(now - s.cutAt)
}
