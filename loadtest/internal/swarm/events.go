package swarm

// What happens at set times of the steady phase, as ids in Swarm.events and by name in marks.
const (
	eventCut uint64 = iota
	eventStop
	eventReadAgain
)

var eventNames = [...]string{"cut", "stop reading", "read again"}

// planEvents notes what the steady phase that has just begun will bring.
func (s *Swarm) planEvents() {
	from := s.starts[PhaseSteady]
	if s.cfg.Cut.Share > 0 {
		s.events.add(from+int64(s.cfg.Cut.At), eventCut)
	}
	if stop := s.cfg.Stop; stop.Connections > 0 {
		s.events.add(from+int64(stop.At), eventStop)
		s.events.add(from+int64(stop.Until), eventReadAgain)
	}
}

func (s *Swarm) eventsDue(now int64) {
	for {
		event, ok := s.events.take(now)
		if !ok {
			return
		}
		switch event {
		case eventCut:
			s.cutOff()
		case eventStop:
			s.stopReading()
		case eventReadAgain:
			s.beginReadAgain()
		}
		s.mark(s.phase, eventNames[event])
	}
}
