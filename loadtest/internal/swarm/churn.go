package swarm

import (
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// Churn has clients come and go in the steady phase, in turn, without those that publish or stop reading. Whoever goes comes back and
// resumes, so that everything that is published meanwhile must reach it all the same.
type Churn struct {
	LeaveRate float64       // clients a second that close their connection with a closing handshake, as a page does that is left
	Away      time.Duration // for which each stays away
	RenewRate float64       // subscriptions a second that are ended by unsub and begun anew
}

// churn is what of it is under way.
type churn struct {
	left, renewed int64             // how many have been due
	next          int32             // client whose turn it is
	absent        map[int32]absence // clients that are not ready by their own wish
}

// absence of a client.
type absence struct {
	since int64 // ns: when it was due to come back, or when it sent its unsub
	ended int   // number of the client's subscription that it has ended, from 1; 0: it has left
}

// leaveAt is when the n-th client leaves; renewAt when the n-th subscription is renewed.
func (s *Swarm) leaveAt(n int64) int64 { return s.inSteady(n, s.cfg.Churn.LeaveRate) }
func (s *Swarm) renewAt(n int64) int64 { return s.inSteady(n, s.cfg.Churn.RenewRate) }

// inSteady is when the n-th of so many a second is due in the steady phase.
func (s *Swarm) inSteady(n int64, rate float64) int64 {
	return s.starts[PhaseSteady] + int64(float64(n)*1e9/rate)
}

// churnDue has those leave and renew who are due by now, at most a turn's worth.
func (s *Swarm) churnDue(now int64) (more bool) {
	due := func(rate float64, at func(int64) int64, n *int64, act func(int32)) bool {
		for range commandsPerTurn {
			if rate == 0 || at(*n) > now || at(*n) >= s.until {
				return false
			}
			*n++
			if !s.mine(int(*n)) {
				continue
			}
			if i, ok := s.nextChurner(); ok {
				act(i)
			}
		}
		return true
	}
	more = due(s.cfg.Churn.LeaveRate, s.leaveAt, &s.churn.left, s.walkOut)
	return due(s.cfg.Churn.RenewRate, s.renewAt, &s.churn.renewed, s.renew) || more
}

// nextChurner is the next client that may go; false when there is none.
func (s *Swarm) nextChurner() (i int32, ok bool) {
	for range s.members() {
		i = s.churn.next
		s.churn.next = (i + 1) % int32(len(s.members()))
		if c := &s.clients[i]; c.state == clientReady && !c.stops() && !s.plan.publishes(i) {
			return i, true
		}
	}
	return 0, false
}

// walkOut begins the closing handshake of a client.
func (s *Swarm) walkOut(i int32) {
	c := &s.clients[i]
	s.churn.absent[i] = absence{}
	s.metrics.ChurnLeft.Add(1)
	s.enterState(c, clientLeaving)
	s.loop.Arm(c.conn, s.patience())
	s.out = wsio.AppendMasked(s.out[:0], ws.OpClose, wsio.AppendClose(nil, ws.StatusNormalClosure, ""), newMask())
	s.push(c.conn, 1)
}

// walkedOut takes the server's Close: it reports whether a client that left had waited for it.
func (s *Swarm) walkedOut(i int32, code ws.StatusCode) bool {
	if _, ok := s.churn.absent[i]; !ok || s.clients[i].state != clientLeaving || s.phase >= PhaseClose || code != ws.StatusNormalClosure {
		return false
	}
	conn := s.clients[i].conn
	s.disconnect(i)
	s.loop.Close(conn, reasonGone)
	back := s.loop.Clock() + int64(s.cfg.Churn.Away)
	s.churn.absent[i] = absence{since: back}
	s.dials.add(back, uint64(i))
	return true
}

// renew ends one subscription of a client; it is begun anew once that is answered.
func (s *Swarm) renew(i int32) {
	c := &s.clients[i]
	j := int(s.churn.renewed) % s.plan.perClient
	s.churn.absent[i] = absence{since: s.loop.Clock(), ended: j + 1}
	s.enterState(c, clientSubscribing)
	c.awaited = 0
	s.loop.Arm(c.conn, s.patience())
	b := append(s.scratch[:0], "unsub "...)
	b = strconv.AppendInt(b, int64(s.plan.perClient+j+1), 10) // behind the REFs of sub
	b = append(append(b, ' '), s.cfg.Channels[s.plan.channel(int(i)*s.plan.perClient+j)]...)
	if s.send(i, b) == loop.Full {
		s.giveUp(i, "1006")
	}
}

// unsubscribed takes the answer to the unsub of a client's j-th subscription, from 0; refused says that it was err.
func (s *Swarm) unsubscribed(i int32, j int, refused bool) {
	a := s.churn.absent[i]
	if a.ended != j+1 || s.clients[i].awaited > 0 || s.clients[i].state != clientSubscribing {
		return
	}
	if !refused {
		s.subscriptions(i)[j] = false
	}
	s.subscribe(i)
}

// patience is how long a client waits for answers, in seconds of [loop.Loop.Arm]; the first of these may end at once.
func (s *Swarm) patience() int { return int(s.cfg.ConnectTimeout/time.Second) + 1 }

// present takes note that client i is ready.
func (s *Swarm) present(i int32) {
	a, ok := s.churn.absent[i]
	if !ok {
		return
	}
	delete(s.churn.absent, i)
	took := s.metrics.ChurnBack
	if a.ended > 0 {
		took = s.metrics.ChurnRenewed
	}
	took.Record(s.loop.Clock() - a.since)
}

// astray takes note that client i was lost while it was absent by its own wish.
func (s *Swarm) astray(i int32) {
	if _, ok := s.churn.absent[i]; ok && s.phase < PhaseClose {
		delete(s.churn.absent, i)
		s.metrics.ChurnFailed.Add(1)
	}
}
