package swarm

import (
	"time"

	"github.com/millracehq/millrace/internal/loop"
)

// vu is one virtual user: it does the iterations of a load, one after the other.
//
//	parked ─ wanted ─▶ waiting for its connection ─▶ free ─▶ busy ─┬▶ free …
//	                                                              ├▶ pausing ─▶ free
//	                                                              └▶ parked, gone
type vu struct {
	due     int64  // ns: of the iteration under way, or when it began
	current int64  // publication or request that the iteration waits for
	done    int64  // iterations
	feed    uint32 // of those that publish: which of them it is
	sent    uint32 // of those that publish: numbers of its feed
	timer   uint32 // rises when its timers become void
	leaveBy int64  // ns: when it is interrupted, once it is not wanted any more
	work    int32
	number  int32 // in its load
	state   vuState
	listed  bool // it is in the list of free ones
	stop    bool // it is not wanted any more
}

type vuState uint8

const (
	vuParked  vuState = iota // not wanted now
	vuWaiting                // for its connection
	vuFree                   // waits for an iteration
	vuBusy                   // has one under way
	vuPausing                // until its timer
	vuGone                   // has done all of its iterations, or lost its connection for good
)

func (s *Swarm) clientOf(v int32) int32 { return int32(s.cfg.Connections) + v }

// vuOf is the virtual user that a client is of.
func (s *Swarm) vuOf(i int32) (v int32, ok bool) {
	v = i - int32(s.cfg.Connections)
	return v, v >= 0
}

func (s *Swarm) workOf(v int32) *work { return s.work[s.vus[v].work] }

// want has a virtual user loop.
func (s *Swarm) want(v int32) {
	u := &s.vus[v]
	u.stop = false
	if u.state == vuParked {
		s.rest(v)
	}
}

// unwant has it end its loop, at the latest after grace; 0: the load looks after that.
func (s *Swarm) unwant(v int32, grace time.Duration) {
	u := &s.vus[v]
	u.stop = true
	switch u.state {
	case vuFree, vuWaiting, vuPausing:
		u.state = vuParked
		u.timer++
	case vuBusy:
		i, w := s.clientOf(v), s.workOf(v)
		if w.Exec == ExecSession && w.Hold == 0 && s.clients[i].state == clientReady { // else it closes when it has come so far
			s.endSession(i)
		} else if grace > 0 {
			u.leaveBy = s.loop.Clock() + int64(grace)
			s.setTimer(v, u.leaveBy, timerGrace)
		}
	case vuParked, vuGone:
	}
}

// rest is what a virtual user does that has no iteration: it waits for one, or for what it needs for one.
func (s *Swarm) rest(v int32) {
	u := &s.vus[v]
	w := s.workOf(v)
	c := &s.clients[s.clientOf(v)]
	switch {
	case w.Each > 0 && u.done >= w.Each, w.Exec != ExecSession && c.state == clientAway && c.resolved && !s.cfg.Reconnect, c.never:
		s.dismiss(v)
	case u.stop:
		u.state = vuParked
	case w.Exec != ExecSession && c.state != clientReady, w.Exec == ExecSession && c.state != clientAway:
		u.state = vuWaiting
	default:
		u.state = vuFree
		if !u.listed {
			u.listed = true
			w.free = append(w.free, v)
		}
	}
}

// dismiss takes note that a virtual user does nothing any more.
func (s *Swarm) dismiss(v int32) {
	if u := &s.vus[v]; u.state != vuGone {
		u.state = vuGone
		s.workOf(v).gone++
	}
}

func (s *Swarm) takeFree(w *work) (v int32, ok bool) {
	for n := len(w.free); n > 0; n = len(w.free) {
		v = w.free[n-1]
		w.free = w.free[:n-1]
		s.vus[v].listed = false
		if s.vus[v].state == vuFree {
			return v, true
		}
	}
	return 0, false
}

// iterate begins an iteration.
func (s *Swarm) iterate(v int32, due int64) {
	u, w := &s.vus[v], s.workOf(v)
	u.state, u.due = vuBusy, due
	w.busy++
	switch w.Exec {
	case ExecPublish:
		s.publishFor(v)
	case ExecRequest:
		s.requestFor(v)
	case ExecSession:
		s.beginSession(v)
	}
}

// finished ends the iteration of a virtual user; good is false when it did not do what it was to do.
func (s *Swarm) finished(v int32, good bool) {
	u, w := &s.vus[v], s.workOf(v)
	if u.state != vuBusy {
		return // it was interrupted
	}
	now := s.loop.Clock()
	w.busy--
	u.done++
	u.timer++
	if good {
		w.complete++
	} else {
		w.failed++
	}
	s.metrics.Iterations.Add(w.Name, 1)
	s.metrics.Iteration.RecordParts(now-u.due, w.label, true)
	at := now
	if !w.Open {
		at = u.due + int64(w.AtWork)
		if !good {
			at = max(at, now+int64(backoffMin)) // a server that refuses everything is not stormed
		}
	}
	if at > now && !u.stop {
		u.state = vuPausing
		s.setTimer(v, at, timerNext)
		return
	}
	s.rest(v)
}

// answeredFor ends the iteration that waited for command k, if it still does.
func (s *Swarm) answeredFor(c *command, good bool) {
	if v, ok := s.vuOf(c.client); ok && s.vus[v].current == c.k {
		s.finished(v, good)
	}
}

// interrupt ends an iteration that has had its time.
func (s *Swarm) interrupt(v int32) {
	u, w := &s.vus[v], s.workOf(v)
	if u.state != vuBusy {
		return
	}
	w.busy--
	w.interrupted++
	u.state, u.current = vuParked, -1
	u.timer++
	if w.Exec == ExecSession {
		s.endSession(s.clientOf(v))
	}
}

// lostConnection takes note that the client of a virtual user that waits or is free has none any more.
func (s *Swarm) lostConnection(v int32) {
	if u := &s.vus[v]; u.state == vuFree || u.state == vuWaiting {
		s.rest(v)
	}
}

// connected takes note that the client of a virtual user is ready.
func (s *Swarm) connected(v int32) {
	u, w := &s.vus[v], s.workOf(v)
	switch {
	case w.Exec == ExecSession && u.state == vuBusy:
		s.holdSession(v)
	case w.Exec == ExecSession: // it was interrupted while it connected
		s.endSession(s.clientOf(v))
	case u.state == vuWaiting:
		s.rest(v)
	}
}

// What a timer of a virtual user is for: the highest bit of its number in the agenda.
const (
	timerNext  uint64 = 0       // the end of a session's hold, or of a pause
	timerGrace uint64 = 1 << 31 // the end of its time to finish
)

func (s *Swarm) setTimer(v int32, at int64, what uint64) {
	s.vuTimers.add(at, uint64(s.vus[v].timer)<<32|what|uint64(uint32(v)))
}

func (s *Swarm) vuTimersDue(now int64) {
	for {
		id, ok := s.vuTimers.take(now)
		if !ok {
			return
		}
		v := int32(uint32(id &^ timerGrace))
		u := &s.vus[v]
		switch grace := id&timerGrace != 0; {
		case u.timer != uint32(id>>32):
		case grace && u.stop && now >= u.leaveBy:
			s.interrupt(v)
		case grace:
		case u.state == vuPausing:
			s.rest(v)
		case u.state == vuBusy:
			s.endSession(s.clientOf(v)) // its hold is over
		}
	}
}

// publishFor publishes for a virtual user.
func (s *Swarm) publishFor(v int32) {
	u, w := &s.vus[v], s.workOf(v)
	k := s.plan.publication(uint32(s.plan.feeds)+u.feed, u.sent)
	u.current = k
	u.sent++
	s.published++
	f, n := s.fanOf(k)
	f.sent(n, s.reach[s.plan.channelOf(u.feed)])
	place, ok := s.pending.add(command{k: k, due: u.due, client: s.clientOf(v), kind: commandPublish})
	if !ok {
		s.notPublished(k)
		s.finished(v, false)
		return
	}
	s.clients[s.clientOf(v)].unanswered++
	s.sendPublication(place)
	if c := &s.pending.all[place]; w.Open {
		s.metrics.SendLag.RecordParts(c.first-c.due, w.label, true)
	}
}

// requestFor sends a request for a virtual user.
func (s *Swarm) requestFor(v int32) {
	u, i := &s.vus[v], s.clientOf(v)
	s.nextVURequest++
	u.current = -2 - s.nextVURequest // not the number of a publication
	s.metrics.RequestsDue.Add(1)
	place, ok := s.pending.add(command{k: u.current, due: u.due, client: i, kind: commandRequest})
	if !ok {
		s.finished(v, false)
		return
	}
	s.clients[i].unanswered++
	if s.send(i, append(append(s.head("req ", place, s.cfg.RequestChannel), '\n'), s.padding...)) == loop.Full {
		s.remove(place, false)
	}
}

// scenarioBase is the bit of what belongs to no load of Config.Loads.
const scenarioBase = 1 << 0

// scenarioOf is the bit of what a client belongs to.
func (s *Swarm) scenarioOf(i int32) uint64 {
	if v, ok := s.vuOf(i); ok {
		return s.workOf(v).label.Scenarios
	}
	return scenarioBase
}
