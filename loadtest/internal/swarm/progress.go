package swarm

import "time"

// Progress is where a run stands.
type Progress struct {
	Phase                     Phase
	PhaseStart, PhaseEnd, Now int64 // ns
	SteadyStart               int64 // ns; 0: not yet
	Ready, Failures           int
	Published, Received       int64 // steady phase
	Loads                     []LoadProgress
}

// LoadProgress is where a load stands.
type LoadProgress struct {
	State     string // waiting, running, stopping, over
	Elapsed   time.Duration
	Busy      int // virtual users with an iteration under way
	VUs       int // virtual users that there are
	Wanted    int // virtual users that loop; closed
	Begun     int64
	Rate      float64 // iterations due per second; open
	Complete  int64   // iterations that came to their end
	Interrupt int64
}

func (w *work) progress(now int64) LoadProgress {
	p := LoadProgress{
		State: [...]string{"waiting", "running", "stopping", "over"}[w.state], Busy: w.busy, VUs: w.ready, Wanted: w.users, Begun: w.taken - w.dropped,
		Complete: w.complete + w.failed, Interrupt: w.interrupted,
	}
	if w.state != workWaiting {
		p.Elapsed = min(time.Duration(now-w.begun), w.Length())
		p.Rate = w.rate(p.Elapsed)
	}
	return p
}

// Progress may be called on the loop only (see Do).
func (s *Swarm) Progress() Progress {
	p := Progress{
		Phase: s.phase, PhaseStart: s.starts[s.phase], PhaseEnd: s.until, Now: s.loop.Clock(),
		SteadyStart: s.starts[PhaseSteady],
		Ready:       s.readyMembers(), Failures: s.failures,
		Published: s.metrics.Published.Count(), Received: s.metrics.Received.Count(),
	}
	for _, w := range s.work {
		p.Loads = append(p.Loads, w.progress(p.Now))
	}
	return p
}
