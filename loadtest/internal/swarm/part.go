package swarm

// Part is a swarm's share of a run that several processes do together: each has the whole plan, and does what falls to it. Clients and virtual users go round the
// parts; everything is numbered for all of them. Three things are told across parts, through the functions here: who listens, when the load
// begins, and in the end what became of each publication.
type Part struct {
	Index, Of int
	Run       uint32 // the same in all
	Offset    int64  // ns: what CLOCK_MONOTONIC here is ahead of the clock that all use in stamps
	Joined    func(Roll)
	Drained   func(Closing)
}

// Roll is who is there when the load is to begin. A part goes on with Begin.
type Roll struct {
	Reach    []int64 // subscribers by channel
	Members  int     // clients that are subscribed
	Writers  int     // virtual users that are connected
	Failures int     // connects
}

// Nobody says that there is nobody to make the load, of a run with so many clients.
func (r Roll) Nobody(connections int) bool {
	return r.Members == 0 && (connections > 0 || r.Writers == 0 && r.Failures > 0)
}

// Closing is what one part has published, when the drain is over. The run goes on with Conclude.
type Closing struct {
	Next    int64            // publication, of the common schedule
	Sent    map[int32]uint32 // by virtual user
	Unacked []int64          // publications
}

// several says whether the run has other parts.
func (s *Swarm) several() bool { return s.cfg.Part.Of > 1 }

// mine says whether the n-th client or virtual user falls to this part.
func (s *Swarm) mine(n int) bool { return !s.several() || n%s.cfg.Part.Of == s.cfg.Part.Index }

// mineClient says whether a client falls to this part.
func (s *Swarm) mineClient(i int32) bool {
	if v, ok := s.vuOf(i); ok {
		return s.mine(int(v))
	}
	return s.mine(int(i))
}

// mineFeed says whether this part knows all that is published of a feed; nothing ever is of those behind the last virtual user's.
func (s *Swarm) mineFeed(feed uint32) bool {
	return !s.several() || int(feed) >= s.plan.feeds+s.plan.writers || s.mineClient(s.publisherOf(feed))
}

// exists says whether what a stamp names can have been published. How far other parts are by now is not known.
func (s *Swarm) exists(st stamp) bool {
	switch w := int(st.feed) - s.plan.feeds; {
	case w >= s.plan.writers:
		return false
	case s.mineFeed(st.feed):
		return st.seq < s.sentOf(st.feed)
	default:
		return w >= 0 || s.plan.publication(st.feed, st.seq) < s.plan.total
	}
}

// endGap ends the gap that was announced on a line of another part's feed: what came before number seq was meant. How far the publisher was when
// it was announced is not known here, but the next delivery is behind it.
func (s *Swarm) endGap(line int, seq uint32) {
	if len(s.gaps) == 0 {
		return
	}
	if _, open := s.gaps[line]; open {
		delete(s.gaps, line)
		s.ledger.Announce(line, seq)
	}
}

// shareOf is the part's share of a number of iterations.
func (s *Swarm) shareOf(n int64) int64 {
	if !s.several() {
		return n
	}
	of := int64(s.cfg.Part.Of)
	share := n / of
	if int64(s.cfg.Part.Index) < n%of {
		share++
	}
	return share
}

// hold stops the phase until the other parts have come as far.
func (s *Swarm) hold() { s.held = true }

// Begin goes on behind the roll call: reach is that of all parts together, and the load begins after Config.Settle. It may be called from anywhere.
func (s *Swarm) Begin(reach []int64) {
	s.Do(func() {
		if s.phase != PhaseConnect || !s.held || s.told {
			return
		}
		s.held = false
		s.reachAll = reach
		s.enter(PhaseSettle, s.loop.Clock()+int64(s.cfg.Settle))
	})
}

// closing is what this part tells the others.
func (s *Swarm) closingAccount() Closing {
	c := Closing{Next: s.next, Sent: make(map[int32]uint32)}
	for v := range s.vus {
		if n := s.vus[v].sent; n > 0 {
			c.Sent[int32(v)] = n
		}
	}
	s.noteUnanswered()
	for k := range s.unacked {
		c.Unacked = append(c.Unacked, k)
	}
	return c
}

// Conclude makes up the accounts with what all parts have published, this one's among them; nil when the others are gone.
func (s *Swarm) Conclude(all []Closing) {
	s.Do(func() {
		if !s.held || s.phase >= PhaseClose {
			return
		}
		s.held = false
		for _, c := range all {
			s.peerNext = append(s.peerNext, c.Next)
			for v, n := range c.Sent {
				if v >= 0 && int(v) < len(s.vus) {
					s.vus[v].sent = n
				}
			}
			for _, k := range c.Unacked {
				s.unacked[k] = true
			}
		}
		s.finish()
	})
}
