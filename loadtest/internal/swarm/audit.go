package swarm

import (
	"maps"
	"slices"
	"strconv"
)

// Missing is an acknowledged publication that somebody did not get.
type Missing struct {
	Channel     string  `json:"channel"`
	Publisher   int32   `json:"publisher"`   // client
	Number      uint32  `json:"number"`      // of this publisher's to this channel, from 0
	ID          string  `json:"id"`          // idempotency key, if keys were sent
	Subscribers int64   `json:"subscribers"` // without those that stop reading
	Lost        int64   `json:"lost"`        // subscribers without it who were not told
	Announced   int64   `json:"announced"`   // subscribers without it who were told by a gap
	Clients     []int32 `json:"clients"`     // the first few of both
}

const missingClients = 10

// audit makes up the accounts: what of the publications is missing, line by line. What was never acknowledged may be missing.
func (s *Swarm) audit() {
	if !s.told {
		s.noteUnanswered()
	}
	for line, feed := range s.gaps {
		s.ledger.Announce(line, s.sentOf(feed))
	}
	s.metrics.ChurnFailed.Add(int64(len(s.churn.absent)))
	missing := make(map[int64]*Missing)
	for sub, counted := range s.roll {
		if !counted {
			continue
		}
		for lane := range s.plan.lanes {
			feed := s.plan.feedOf(lane, s.plan.channel(sub))
			s.ledger.Missing(s.plan.line(sub, feed), s.sentOf(feed), func(first, last uint32, announced bool) {
				for seq := first; seq <= last; seq++ {
					s.miss(missing, sub, feed, seq, announced)
				}
			})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(missing)) {
		s.missing = append(s.missing, *missing[k])
	}
	m := s.metrics
	m.Expected.Set(s.expected() + s.sessionExpected)
	m.Delivery.Set(m.Expected.Count()-m.Lost.Count()-m.Announced.Count(), m.Expected.Count())
	m.RequestsFailed.Set(m.RequestsDue.Count() - m.RequestsAnswered.Count())
}

// noteUnanswered takes note of the publications that were never answered.
func (s *Swarm) noteUnanswered() {
	for place := range s.pending.all {
		if c := &s.pending.all[place]; c.kind == commandPublish || c.kind == commandResend {
			s.unacked[c.k] = true
			if c.k >= s.plan.warm {
				s.metrics.Unacked.Add(1)
			}
		}
	}
	s.ownUnacked = int64(len(s.unacked))
}

// miss enters one publication that one subscription never had.
func (s *Swarm) miss(missing map[int64]*Missing, sub int, feed, seq uint32, announced bool) {
	k := s.plan.publication(feed, seq)
	steady := k >= s.plan.warm
	stops := s.clients[sub/s.plan.perClient].stops()
	if stops {
		s.missStopped(k, announced)
	}
	if s.unacked[k] {
		if steady && !stops {
			s.metrics.Unsure.Add(1)
		}
		return
	}
	e := missing[k]
	if e == nil {
		channel := s.plan.channelOf(feed)
		e = &Missing{
			Channel: s.cfg.Channels[channel], Publisher: s.publisherOf(feed), Number: seq, Subscribers: s.reachAll[channel],
			ID: string(s.appendID(nil, k)),
		}
		missing[k] = e
	}
	if len(e.Clients) < missingClients {
		e.Clients = append(e.Clients, int32(sub/s.plan.perClient))
	}
	switch {
	case announced:
		e.Announced++
		if steady && !stops {
			s.metrics.Announced.Add(1)
		}
	default:
		e.Lost++
		switch {
		case stops:
		case steady:
			s.metrics.Lost.Add(1)
		default:
			s.warmup.Lost++
		}
	}
}

// expected is how many deliveries the acknowledged publications of the steady phase had to bring.
func (s *Swarm) expected() (n int64) {
	for feed := range uint32(s.plan.feeds) {
		numbers := int64(s.sentOf(feed)) - int64(s.plan.before(feed, s.plan.warm))
		n += max(numbers, 0) * s.reach[s.plan.channelOf(feed)]
	}
	for w, v := range s.writers {
		n += int64(s.vus[v].sent) * s.reach[s.plan.channelOf(uint32(w))]
	}
	for k := range s.unacked {
		if feed, _ := s.plan.feed(k); k >= s.plan.warm {
			n -= s.reach[s.plan.channelOf(feed)]
		}
	}
	return n
}

// appendID appends the idempotency key of publication k.
func (s *Swarm) appendID(b []byte, k int64) []byte {
	b = strconv.AppendUint(b, uint64(s.run), 16)
	b = append(b, '-')
	return strconv.AppendInt(b, k, 10)
}

// Account is what a run came to, beside its metrics.
type Account struct {
	Run       uint32
	Ready     int // clients connected and subscribed when the load began
	ReadyEnd  int // the same when it ended
	Seconds   float64
	Warmup    Counts
	Missing   []Missing
	Published int64 // publications begun, warm-up and steady
	Unacked   int64 // of those, never acknowledged
	Writers   int   // virtual users with a connection of their own when the load began
	Loads     []LoadCounts
}

// Add enters the account of another part of the run, without what is missing.
func (a *Account) Add(b Account) {
	a.Ready += b.Ready
	a.ReadyEnd += b.ReadyEnd
	a.Seconds = max(a.Seconds, b.Seconds)
	a.Warmup.Received += b.Warmup.Received
	a.Warmup.Duplicate += b.Warmup.Duplicate
	a.Warmup.Reordered += b.Warmup.Reordered
	a.Warmup.Lost += b.Warmup.Lost
	a.Published += b.Published
	a.Unacked += b.Unacked
	a.Writers += b.Writers
	for i, l := range b.Loads {
		a.Loads[i].Complete += l.Complete
		a.Loads[i].Failed += l.Failed
		a.Loads[i].Interrupted += l.Interrupted
		a.Loads[i].Dropped += l.Dropped
	}
}

// JoinMissing makes one of neighbours that are the same publication, which clients of several parts have not got.
func JoinMissing(list []Missing) []Missing {
	out := list[:0]
	for _, m := range list {
		if n := len(out); n > 0 && out[n-1].Channel == m.Channel && out[n-1].Publisher == m.Publisher && out[n-1].Number == m.Number {
			last := &out[n-1]
			last.Lost += m.Lost
			last.Announced += m.Announced
			clients := append(slices.Clone(last.Clients), m.Clients...)
			last.Clients = clients[:min(len(clients), missingClients)]
			continue
		}
		out = append(out, m)
	}
	return out
}

// LoadCounts are the iterations of a load.
type LoadCounts struct {
	Name        string `json:"name"`
	Complete    int64  `json:"complete"`    // and did what they were to do
	Failed      int64  `json:"failed"`      // came to their end otherwise
	Interrupted int64  `json:"interrupted"` // did not come to their end in time
	Dropped     int64  `json:"dropped"`     // could not begin when they were due
}

// Account may be called after Close.
func (s *Swarm) Account() Account {
	a := Account{
		Run: s.run, Ready: s.readyAtRoll, ReadyEnd: s.readyAtEnd, Warmup: s.warmup, Missing: s.missing,
		Writers: s.writersAtRoll, Published: s.begun + s.published, Unacked: s.ownUnacked,
	}
	for _, w := range s.work {
		a.Loads = append(a.Loads, LoadCounts{w.Name, w.complete, w.failed, w.interrupted, w.dropped})
	}
	if from := s.starts[PhaseSteady]; from != 0 {
		a.Seconds = float64(s.starts[PhaseDrain]-from) / 1e9
	}
	return a
}
