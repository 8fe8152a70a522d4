package swarm

import (
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// work is a load under way.
//
//	waiting ── Start ──▶ running ── its time is over, or its iterations are done ──▶ stopping ── nobody is busy, or Graceful ──▶ over
type work struct {
	Load
	label metric.Label
	first int32 // virtual user; they follow one another
	state workState
	begun int64   // ns
	taken int64   // iterations begun, and dropped
	users int     // virtual users that are wanted now; closed
	ready int     // virtual users that there are; open: those that have not been called up yet come behind
	busy  int     // virtual users with an iteration under way
	gone  int     // virtual users that will never do another
	free  []int32 // virtual users; what is not vuFree any more is passed over

	complete, failed, interrupted, dropped int64
	limited                                bool // Shared counts, if it is 0 too
	warned                                 bool
}

type workState uint8

const (
	workWaiting workState = iota
	workRunning
	workStopping
	workOver
)

// stopAt is when nothing new begins any more.
func (w *work) stopAt() int64 { return w.begun + int64(w.Length()) }

// newWork makes the loads and their virtual users; users number from 0, and publishing ones have numbers of their own besides.
func (s *Swarm) newWork() {
	for n, l := range s.cfg.Loads {
		w := &work{
			Load: l, first: int32(len(s.vus)), ready: l.Ready,
			label: metric.Label{Scenarios: 1 << (n + 1), Phase: labelSteady},
		}
		w.limited, w.Shared = l.Shared > 0, s.shareOf(l.Shared)
		w.gone = l.VUs
		s.work = append(s.work, w)
		for i := range l.VUs {
			u := vu{work: int32(n), number: int32(i)}
			if l.Exec == ExecPublish {
				u.feed = uint32(len(s.writers))
				s.writers = append(s.writers, int32(len(s.vus)))
			}
			if s.mine(len(s.vus)) {
				w.gone--
			}
			s.vus = append(s.vus, u)
		}
	}
}

// workDue does what the loads have to do by now.
func (s *Swarm) workDue(now int64) (more bool) {
	s.vuTimersDue(now)
	began := false
	for _, w := range s.work {
		switch w.state {
		case workWaiting:
			if w.begun = s.starts[PhaseSteady] + int64(w.Start); now < w.begun {
				continue
			}
			w.state = workRunning
			s.beginWork(w)
			more = s.runWork(w, now) || more
			began = true
		case workRunning:
			more = s.runWork(w, now) || more
		case workStopping:
			if now >= w.stopAt()+int64(w.Graceful) {
				s.interruptAll(w)
			}
		case workOver:
		}
		if w.state == workStopping && w.busy == 0 {
			w.state = workOver
		}
	}
	if began {
		s.readGauges() // of loads that are shorter than a second too
	}
	return more
}

// beginWork sets the virtual users of an open load free; those of a closed one wait until they are wanted.
func (s *Swarm) beginWork(w *work) {
	if w.Open {
		for i := range w.ready {
			if v := w.first + int32(i); s.mine(int(v)) {
				s.rest(v)
			}
		}
	}
}

func (s *Swarm) runWork(w *work, now int64) (more bool) {
	if w.Open {
		more = s.arrive(w, now)
	} else {
		more = s.loopUsers(w, now)
	}
	if !more && now >= w.stopAt() || w.exhausted() {
		s.stopWork(w)
		return true
	}
	return more
}

// exhausted says that there is nothing left to do, whatever time is left.
func (w *work) exhausted() bool {
	return w.limited && w.taken >= w.Shared || w.gone == w.VUs
}

// arrive begins the iterations that are due, each as late as it is: when nobody is free it is dropped, as k6 does, and told.
func (s *Swarm) arrive(w *work, now int64) (more bool) {
	for range commandsPerTurn {
		after, ok := w.due(w.taken)
		due := w.begun + int64(after)
		if !ok || due > now {
			return false
		}
		n := w.taken
		w.taken++
		if !s.mine(int(n)) {
			continue
		}
		v, ok := s.takeFree(w)
		if !ok {
			v, ok = s.callUp(w, now)
		}
		if ok {
			s.iterate(v, due)
			continue
		}
		w.dropped++
		s.metrics.Dropped.Add(w.Name, 1)
		if !w.warned {
			w.warned = true
			s.cfg.Logger.Warn("no virtual user is free: iterations are dropped; raise maxVUs, or the server is too slow", "scenario", w.Name, "vus", w.VUs)
		}
	}
	return true
}

// callUp has one virtual user more. It is free at once if it needs no connection to begin with.
func (s *Swarm) callUp(w *work, now int64) (v int32, free bool) {
	for v = w.first + int32(w.ready); w.ready < w.VUs && !s.mine(int(v)); v++ {
		w.ready++
	}
	if w.ready == w.VUs {
		return 0, false
	}
	w.ready++
	if w.Exec == ExecSession {
		return v, true
	}
	s.vus[v].state = vuWaiting
	s.dials.add(now, uint64(s.clientOf(v)))
	return 0, false
}

// loopUsers lets as many virtual users loop as are wanted now.
func (s *Swarm) loopUsers(w *work, now int64) (more bool) {
	users, _ := w.wanted(time.Duration(now - w.begun))
	for ; w.users < users; w.users++ {
		if v := w.first + int32(w.users); s.mine(int(v)) {
			s.want(v)
		}
	}
	for ; w.users > users; w.users-- {
		s.unwant(w.first+int32(w.users-1), w.RampDown)
	}
	for range commandsPerTurn {
		if w.exhausted() {
			return false
		}
		v, ok := s.takeFree(w)
		if !ok {
			return false
		}
		w.taken++
		s.iterate(v, now)
	}
	return true
}

// stopWork ends a load: nothing begins any more, and what is under way may go on for Graceful.
func (s *Swarm) stopWork(w *work) {
	w.state = workStopping
	for i := range w.VUs {
		s.unwant(w.first+int32(i), 0)
	}
}

// interruptAll ends what is still under way.
func (s *Swarm) interruptAll(w *work) {
	for i := range w.VUs {
		s.interrupt(w.first + int32(i))
	}
}

// cutWorkShort ends all loads now.
func (s *Swarm) cutWorkShort() {
	for _, w := range s.work {
		if w.state == workRunning {
			s.stopWork(w)
		}
		s.interruptAll(w)
		w.state = workOver
	}
}

// workOver says whether all loads have come to their end.
func (s *Swarm) workOver() bool {
	for _, w := range s.work {
		if w.state != workOver {
			return false
		}
	}
	return true
}

// workNext is when a load has to do something next.
func (w *work) next(now int64, steady int64) int64 {
	switch w.state {
	case workWaiting:
		return steady + int64(w.Start)
	case workRunning:
		if !w.Open {
			_, change := w.wanted(time.Duration(now - w.begun))
			return min(w.begun+int64(change), w.stopAt())
		}
		if after, ok := w.due(w.taken); ok {
			return w.begun + int64(after)
		}
		return w.stopAt()
	case workStopping:
		return w.stopAt() + int64(w.Graceful)
	case workOver:
	}
	return now + int64(time.Hour)
}
