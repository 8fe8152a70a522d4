package swarm

import (
	"strconv"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// commandsPerTurn is how many commands go out before what has come in has its turn.
const commandsPerTurn = 64

// publishDue sends the publications that are due by now, at most a turn's worth.
func (s *Swarm) publishDue(now int64) (more bool) {
	for range commandsPerTurn {
		if s.next >= s.plan.total || s.dueAt(s.next) > now {
			return false
		}
		if feed, _ := s.plan.feed(s.next); s.mineFeed(feed) {
			s.publish(s.next)
		}
		s.next++
	}
	return true
}

// dueAt is when publication k is due.
func (s *Swarm) dueAt(k int64) int64 {
	return s.starts[PhaseWarmup] + s.plan.due(k)
}

func (s *Swarm) publish(k int64) {
	feed, _ := s.plan.feed(k)
	i := s.plan.publisher(feed)
	s.fan.sent(k, s.reach[s.plan.channelOf(feed)])
	s.begun++
	place, ok := s.pending.add(command{k: k, due: s.dueAt(k), client: i, kind: commandPublish})
	if !ok {
		s.notPublished(k)
		return
	}
	s.clients[i].unanswered++
	switch {
	case s.clients[i].state == clientReady:
		s.sendPublication(place)
		c := &s.pending.all[place]
		s.metrics.SendLag.RecordParts(c.first-c.due, s.label(k, i), k >= s.plan.warm)
	case s.repeats():
		s.pending.all[place].kind = commandResend
	default:
		s.fail(place)
	}
}

// label is what publication k of client i belongs to.
func (s *Swarm) label(k int64, i int32) metric.Label {
	l := metric.Label{Scenarios: s.scenarioOf(i), Phase: labelWarmup}
	if k >= s.plan.warm {
		l.Phase = labelSteady
	}
	return l
}

// publisherOf is the client that publishes a feed.
func (s *Swarm) publisherOf(feed uint32) int32 {
	if w := int(feed) - s.plan.feeds; w >= 0 {
		return s.clientOf(s.writers[w])
	}
	return s.plan.publisher(feed)
}

// sentOf is how many numbers of a feed have been published.
func (s *Swarm) sentOf(feed uint32) uint32 {
	switch w := int(feed) - s.plan.feeds; {
	case w < 0 && s.peerNext != nil:
		return s.plan.before(feed, s.peerNext[int(s.plan.publisher(feed))%s.cfg.Part.Of])
	case w < 0:
		return s.plan.before(feed, s.next)
	case w < len(s.writers):
		return s.vus[s.writers[w]].sent
	}
	return 0
}

// repeats says whether publications are kept until they are acknowledged, over connections.
func (s *Swarm) repeats() bool { return s.cfg.IDs && s.cfg.Reconnect }

// sendPublication sends a publication for the first time or again.
func (s *Swarm) sendPublication(place uint32) {
	c := &s.pending.all[place]
	feed, seq := s.plan.feed(c.k)
	c.kind = commandPublish
	c.last = s.loop.Clock()
	if c.first == 0 {
		c.first = c.last
		if c.k >= s.plan.warm {
			s.metrics.Published.Add(1)
		}
	} else {
		s.metrics.Resent.Add(1)
		s.resent[c.k] = true
	}
	b := s.head("pub ", place, s.cfg.Channels[s.plan.channelOf(feed)])
	if s.cfg.IDs {
		b = s.appendID(append(b, ' '), c.k)
	}
	b = append(b, '\n')
	b = stamp{run: s.run, feed: feed, seq: seq, due: c.due - s.cfg.Part.Offset, lag: c.first - c.due, again: c.last != c.first}.append(b)
	b = append(b, s.padding[StampSize:]...)
	if s.send(c.client, b) == loop.Full {
		s.again(place, 0)
	}
}

// head begins a command: its verb, REF and channel.
func (s *Swarm) head(verb string, place uint32, channel string) []byte {
	b := append(s.scratch[:0], verb...)
	b = strconv.AppendUint(b, s.pending.ref(place), 10)
	b = append(b, ' ')
	return append(b, channel...)
}

func (s *Swarm) send(i int32, text []byte) loop.Result {
	s.scratch = text
	s.out = appendText(s.out[:0], text)
	return s.push(s.clients[i].conn, 1)
}

// push sends the frames that are in s.out.
func (s *Swarm) push(c loop.Conn, frames int) loop.Result {
	if s.phase == PhaseSteady {
		s.metrics.MsgsSent.Add(int64(frames))
	}
	return s.loop.SendCopy(c, s.out)
}

// requestDue sends the requests that are due by now, at most a turn's worth. They go round all clients.
func (s *Swarm) requestDue(now int64) (more bool) {
	for range commandsPerTurn {
		due := s.requestAt(s.nextReq)
		if due > now || due >= s.until {
			return false
		}
		i := int32(s.nextReq % int64(s.cfg.Connections))
		s.nextReq++
		if _, absent := s.churn.absent[i]; absent || s.clients[i].stops() || !s.mineClient(i) {
			continue
		}
		s.metrics.RequestsDue.Add(1)
		if s.clients[i].state != clientReady {
			continue // never answered, which is what reqs_failed counts
		}
		if place, ok := s.pending.add(command{due: due, client: i, kind: commandRequest}); ok {
			s.clients[i].unanswered++
			s.send(i, append(append(s.head("req ", place, s.cfg.RequestChannel), '\n'), s.padding...))
		}
	}
	return true
}

// requestAt is when request n is due, from the beginning of the steady phase.
func (s *Swarm) requestAt(n int64) int64 {
	return s.inSteady(n, s.cfg.RequestRate)
}
