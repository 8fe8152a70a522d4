package swarm

import (
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
)

// Phase is a part of the run. They come in this order, each once; a run that is cut short skips some.
type Phase uint8

// The phases.
const (
	phaseIdle    Phase = iota // Start has not been called
	PhaseConnect              // until every client is subscribed, or will not be
	PhaseSettle               // nothing happens, so that the server gets over the connects
	PhaseWarmup               // load, which no threshold looks at
	PhaseSteady               // load that counts
	PhaseDrain                // no more load; what is under way is waited for
	PhaseClose                // closing handshakes
	PhaseDone
)

// String is the phase's name in reports and phase files.
func (p Phase) String() string {
	return [...]string{"idle", "connect", "settle", "warmup", "steady", "drain", "close", "done"}[p]
}

// Mark is the beginning of a phase, or an event in it.
type Mark struct {
	Phase Phase
	Event string // one of those in eventNames: cut, stop reading, read again; empty: the phase begins
	Nanos int64  // CLOCK_MONOTONIC
	At    time.Time
}

const (
	connectGrace  = 30 * time.Second // after the last first dial is due
	closeGrace    = 3 * time.Second
	closesPerTurn = 256
	hopeless      = 100 // connects that failed, none having succeeded: nobody is there
)

func (s *Swarm) begin() {
	now := s.loop.Clock()
	n := 0
	for i := range s.clients {
		c := &s.clients[i]
		if v, ok := s.vuOf(int32(i)); ok && (c.role == roleSession || int(s.vus[v].number) >= s.workOf(v).ready) {
			c.resolved = true // it is dialled when it is wanted
			continue
		}
		if s.mineClient(int32(i)) {
			s.dials.add(now+int64(float64(n)*1e9/s.cfg.ConnectRate), uint64(i))
			s.unresolved++
		} else {
			c.resolved = true
		}
		n++
	}
	s.enter(PhaseConnect, now+int64(float64(n)*1e9/s.cfg.ConnectRate)+int64(connectGrace))
}

// enter begins a phase that ends by itself at until.
func (s *Swarm) enter(p Phase, until int64) {
	s.phase, s.until = p, until
	s.starts[p] = s.mark(p, "")
}

// mark tells whoever listens to Marks.
func (s *Swarm) mark(p Phase, event string) (now int64) {
	now = s.loop.Clock()
	s.marks <- Mark{Phase: p, Event: event, Nanos: now, At: time.Now()}
	return now
}

// Turn implements loop.Handler: everything that is due by the clock.
func (s *Swarm) Turn() (more bool) {
	if s.phase == phaseIdle || s.phase == PhaseDone {
		return false
	}
	now := s.loop.Clock()
	if s.phase < PhaseClose {
		more = s.dialDue(now)
		more = s.resendDue(now) || more
		s.subscribeDue(now)
		s.readAgainDue(now)
		more = s.pollDue(now) || more
	}
	more = s.step(now) || more
	if !more {
		s.sleep()
	}
	return more
}

// step does what the phase has to do, and ends it when its time is over.
func (s *Swarm) step(now int64) (more bool) {
	if s.held {
		return false
	}
	switch s.phase {
	case PhaseConnect:
		gaveUp := s.readyMembers()+s.ready[roleWriter] == 0 && s.failures >= min(hopeless, len(s.clients)) && !s.cfg.Reconnect
		if s.unresolved == 0 || now >= s.until || gaveUp {
			s.rollCall()
		}
	case PhaseSettle:
		if now >= s.until {
			s.enter(PhaseWarmup, now+int64(s.cfg.Warmup))
		}
	case PhaseWarmup, PhaseSteady:
		more = s.load(now)
	case PhaseDrain:
		arrived := !s.several() && s.pending.open == 0 && s.outstanding == 0 && len(s.unacked) == 0 && len(s.churn.absent) == 0 && s.stoppedHaveAll()
		if arrived || now >= s.until {
			s.conclude()
		}
	case PhaseClose:
		more = s.closeSome()
		if !more && s.leaving == 0 || now >= s.until {
			s.enter(PhaseDone, 0)
			close(s.marks)
			close(s.done)
		}
	case phaseIdle, PhaseDone:
	}
	return more
}

// rollCall notes who is subscribed when the load begins: they, and nobody else, must get everything.
func (s *Swarm) rollCall() {
	for sub, ok := range s.subscribed {
		if i := sub / s.plan.perClient; ok && s.clients[i].state == clientReady {
			s.roll[sub] = true
			if s.clients[i].stops() {
				s.stoppedSubs = append(s.stoppedSubs, sub)
			} else {
				s.reach[s.plan.channel(sub)]++
			}
		}
	}
	s.readyAtRoll, s.writersAtRoll = s.readyMembers(), s.ready[roleWriter]
	r := Roll{Reach: slices.Clone(s.reach), Members: s.readyAtRoll, Writers: s.writersAtRoll, Failures: s.failures}
	if s.several() {
		s.hold()
		s.cfg.Part.Joined(r)
		return
	}
	if r.Nobody(s.cfg.Connections) {
		s.conclude()
		return
	}
	s.enter(PhaseSettle, s.loop.Clock()+int64(s.cfg.Settle))
}

// load publishes and requests. The steady phase begins by the clock, but ends only when everything that was due has been sent:
// a generator that is behind shows it in msg_send_lag, not by sending less.
func (s *Swarm) load(now int64) (more bool) {
	if s.phase == PhaseWarmup && now >= s.until {
		s.enter(PhaseSteady, s.until+int64(s.cfg.Duration))
		stats := s.loop.Stats()
		s.bytes = [2]uint64{stats.BytesOut, stats.BytesIn}
		s.planEvents()
	}
	more = s.publishDue(now)
	if s.phase != PhaseSteady {
		return more
	}
	s.eventsDue(now)
	more = s.churnDue(now) || more
	if s.cfg.RequestRate > 0 {
		more = s.requestDue(now) || more
	}
	more = s.workDue(now) || more
	s.pingDue(now)
	if tick := s.loop.Tick(); tick != s.gaugeTick {
		s.gaugeTick = tick
		s.readGauges()
		s.countBytes()
	}
	if !more && (now >= s.until || s.onlyWork()) && s.workOver() {
		s.endLoad()
	}
	return more
}

// onlyWork says that the steady phase is as long as its loads are.
func (s *Swarm) onlyWork() bool {
	c := &s.cfg
	return len(s.work) > 0 && c.Rate == 0 && c.RequestRate == 0 && c.Cut.Share == 0 && c.Stop.Connections == 0 && c.Churn.LeaveRate == 0 && c.Churn.RenewRate == 0
}

func (s *Swarm) readGauges() {
	s.metrics.Connections.Set(float64(s.readyMembers() + s.ready[roleSession]))
	users, most := s.readyMembers(), int(s.shareOf(int64(s.cfg.Connections)))
	if len(s.work) > 0 {
		users, most = 0, 0
		for _, w := range s.work {
			users += w.busy
			most += int(s.shareOf(int64(w.ready)))
		}
	}
	s.metrics.VUs.Set(float64(users))
	s.metrics.VUsMax.Set(float64(most))
}

func (s *Swarm) endLoad() {
	s.readyAtEnd = s.readyMembers() + len(s.churn.absent)
	s.cutWorkShort()
	if s.phase == PhaseSteady {
		s.readGauges()
		s.countBytes()
	}
	s.beginReadAgain()
	s.enter(PhaseDrain, s.loop.Clock()+int64(s.cfg.Drain))
}

func (s *Swarm) countBytes() {
	stats := s.loop.Stats()
	s.metrics.BytesSent.Set(int64(stats.BytesOut - s.bytes[0]))
	s.metrics.BytesReceived.Set(int64(stats.BytesIn - s.bytes[1]))
}

// cutShort ends the load now.
func (s *Swarm) cutShort() {
	switch {
	case s.told: // it is over already
	case s.phase < PhaseWarmup:
		s.conclude()
	case s.phase < PhaseDrain:
		s.endLoad()
	}
}

// conclude makes up the accounts and begins to close.
func (s *Swarm) conclude() {
	if s.several() && !s.told {
		s.told = true
		s.hold()
		s.cfg.Part.Drained(s.closingAccount())
		return
	}
	s.finish()
}

func (s *Swarm) finish() {
	s.audit()
	s.enter(PhaseClose, s.loop.Clock()+int64(closeGrace))
}

// sleep asks for a turn when the next thing is due.
func (s *Swarm) sleep() {
	at := s.until
	if s.held {
		at = s.loop.Clock() + int64(time.Hour)
	}
	if s.phase == PhaseSteady && at <= s.loop.Clock() { // only the loads go on
		at = s.loop.Clock() + int64(time.Hour)
	}
	earlier := func(t int64, ok bool) {
		if ok {
			at = min(at, t)
		}
	}
	if s.phase < PhaseClose {
		if s.underway < s.cfg.Handshakes {
			earlier(s.dials.next())
		}
		earlier(s.resends.next())
		earlier(s.resubs.next())
		earlier(s.rereads.next())
		earlier(s.polls.next())
	}
	if s.phase == PhaseWarmup || s.phase == PhaseSteady {
		earlier(s.dueAt(s.next), s.next < s.plan.total)
		if s.phase == PhaseSteady {
			earlier(s.events.next())
			inPhase := func(at int64, ok bool) { earlier(at, ok && at < s.until) } // the loads may go on behind it
			inPhase(s.leaveAt(s.churn.left), s.cfg.Churn.LeaveRate > 0)
			inPhase(s.renewAt(s.churn.renewed), s.cfg.Churn.RenewRate > 0)
			earlier(s.vuTimers.next())
			now := s.loop.Clock()
			for _, w := range s.work {
				earlier(w.next(now, s.starts[PhaseSteady]), w.state != workOver)
			}
			if s.cfg.Ping > 0 {
				earlier(s.pingAt(s.nextPing), true)
			}
			if s.cfg.RequestRate > 0 {
				inPhase(s.requestAt(s.nextReq), true)
			}
		}
	}
	s.loop.WakeAt(at)
}

// closeSome begins some closing handshakes.
func (s *Swarm) closeSome() (more bool) {
	for range closesPerTurn {
		if s.closing == len(s.clients) {
			return false
		}
		i, c := int32(s.closing), &s.clients[s.closing]
		s.closing++
		switch {
		case c.conn == (loop.Conn{}), c.state == clientLeaving:
			continue
		case s.pollsOnly(i): // there is no closing handshake
			s.giveUp(i, "")
			continue
		}
		s.out = wsio.AppendMasked(s.out[:0], ws.OpClose, wsio.AppendClose(nil, ws.StatusNormalClosure, ""), newMask())
		s.push(c.conn, 1)
		s.enterState(c, clientLeaving)
	}
	return true
}
