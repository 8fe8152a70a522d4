package swarm

import (
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
	"github.com/millracehq/millrace/loadtest/internal/ledger"
)

// A session is an iteration that connects, subscribes, holds and closes. Its subscriptions are not in the roll call, since they come and go.
// What it must have is what lies between its deliveries: numbers that were sent after its sub was answered, and before its last one.

// beginSession dials: when it is due, as far as Config.Handshakes lets it.
func (s *Swarm) beginSession(v int32) {
	i := s.clientOf(v)
	for j := range s.plan.perClient {
		s.positions.set(int(i)*s.plan.perClient+j, nil) // nothing is resumed
	}
	s.dials.add(s.vus[v].due, uint64(i))
}

// joinsLater is the beginning of a session's account of a feed of another part: nobody knows here what has been sent of it, so that it begins
// with the first delivery.
const joinsLater = 1<<32 - 1

// joinSession starts the accounts of a subscription of a session.
func (s *Swarm) joinSession(sub int) {
	for lane := range s.plan.lanes {
		feed := s.plan.feedOf(lane, s.plan.channel(sub))
		line := s.plan.line(sub, feed)
		delete(s.gaps, line)
		s.ledger.Begin(line, s.sentOf(feed))
		s.joined[line-s.firstSessionLine] = s.sentOf(feed)
		if !s.mineFeed(feed) {
			s.joined[line-s.firstSessionLine] = joinsLater
		}
	}
}

// holdSession has a session that is subscribed end when it has lasted as long as it is to.
func (s *Swarm) holdSession(v int32) {
	switch w := s.workOf(v); {
	case w.Hold > 0:
		s.setTimer(v, s.loop.Clock()+int64(w.Hold), timerNext)
	case s.vus[v].stop, w.limited, w.Each > 0:
		s.endSession(s.clientOf(v))
	}
}

// endSession begins the closing handshake of a session; one that is not subscribed yet ends at once.
func (s *Swarm) endSession(i int32) {
	c := &s.clients[i]
	switch c.state {
	case clientReady, clientPartial:
		s.out = wsio.AppendMasked(s.out[:0], ws.OpClose, wsio.AppendClose(nil, ws.StatusNormalClosure, ""), newMask())
		s.push(c.conn, 1)
		s.closeAccounts(i)
		s.enterState(c, clientLeaving)
		s.loop.Arm(c.conn, int(closeGrace/time.Second)+1)
	case clientDialing, clientHandshaking, clientGreeted, clientSubscribing:
		s.giveUp(i, "interrupted")
	case clientAway, clientLeaving: // it has not been dialled yet, or is closing already
	}
}

// sessionLeft takes note that the connection of a session is gone; good is false when that was not its own wish.
func (s *Swarm) sessionLeft(v int32, good bool) {
	if s.vus[v].state == vuBusy {
		s.finished(v, good)
		return
	}
	s.lostConnection(v)
}

// closeAccounts makes up the accounts of a session that ends.
func (s *Swarm) closeAccounts(i int32) {
	for j, there := range s.subscriptions(i) {
		if !there {
			continue
		}
		sub := int(i)*s.plan.perClient + j
		for lane := range s.plan.lanes {
			feed := s.plan.feedOf(lane, s.plan.channel(sub))
			line := s.plan.line(sub, feed)
			s.ledger.Missing(line, s.ledger.Next(line), func(first, last uint32, announced bool) {
				for seq := first; seq <= last; seq++ {
					s.missSession(s.plan.publication(feed, seq), announced)
				}
			})
		}
	}
	clear(s.subscriptions(i))
}

func (s *Swarm) missSession(k int64, announced bool) {
	if k < s.plan.warm {
		return
	}
	switch {
	case s.unacked[k]:
		s.metrics.Unsure.Add(1)
		return
	case announced:
		s.metrics.Announced.Add(1)
	default:
		s.metrics.Lost.Add(1)
	}
	s.sessionExpected++
}

// receiveSession enters a delivery to a session.
func (s *Swarm) receiveSession(i int32, sub int, st stamp, k, now int64) {
	line := s.plan.line(sub, st.feed)
	if joined := &s.joined[line-s.firstSessionLine]; *joined == joinsLater {
		*joined = st.seq
		s.ledger.Begin(line, st.seq)
	} else if st.seq < *joined {
		return // it was under way when the session began
	}
	s.endGap(line, st.seq)
	outcome := s.ledger.Receive(line, st.seq)
	if outcome == ledger.Late && (st.again || s.resent[k]) {
		outcome = ledger.InOrder
	}
	if k < s.plan.warm {
		return
	}
	if outcome != ledger.Duplicate {
		s.sessionExpected++
	}
	s.deliver(i, st, k, outcome, now)
}
