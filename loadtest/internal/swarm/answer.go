package swarm

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
)

const (
	retryMin = 100 * time.Millisecond // after an error that does not say when
	retryMax = 2 * time.Second
)

// ok takes the answer to a subscription or to a publication.
func (s *Swarm) ok(i int32, ref uint64, position []byte, now int64) {
	if ref < firstRef {
		j := int(ref) - 1
		if j < 0 {
			return
		}
		if j >= s.plan.perClient {
			s.unsubscribed(i, j-s.plan.perClient, false)
			return
		}
		if sub := int(i)*s.plan.perClient + j; len(s.positions.get(sub)) == 0 {
			s.positions.set(sub, position)
		}
		s.subscribeAnswered(i, j, "")
		return
	}
	place, c := s.pending.find(ref)
	if c == nil || c.kind == commandRequest {
		return
	}
	feed, _ := s.plan.feed(c.k)
	s.outstanding += s.reach[s.plan.channelOf(feed)]
	steady := c.k >= s.plan.warm
	s.metrics.Ack.RecordParts(now-c.last, s.label(c.k, c.client), steady)
	if steady {
		s.metrics.Acked.Add(1)
		s.check(eventAck, s.scenarioOf(i), millis(now-c.last), 0, 0)
	}
	s.remove(place, true)
}

// answered takes the answer to a request.
func (s *Swarm) answered(ref uint64, size int, now int64) {
	place, c := s.pending.find(ref)
	if c == nil || c.kind != commandRequest {
		return
	}
	scenario := s.scenarioOf(c.client)
	s.metrics.Request.RecordParts(now-c.due, metric.Label{Scenarios: scenario, Phase: labelSteady}, true)
	s.metrics.RequestsAnswered.Add(1)
	s.check(eventRes, scenario, millis(now-c.due), 0, float64(size))
	s.remove(place, true)
}

// err takes the refusal of any command.
func (s *Swarm) err(i int32, ref uint64, code, text []byte) {
	s.metrics.Errs.Add(codeLabel(code), 1)
	if ref > uint64(s.plan.perClient) && ref < firstRef {
		s.unsubscribed(i, int(ref)-1-s.plan.perClient, true)
		return
	}
	if ref > 0 && ref < firstRef {
		s.subscribeAnswered(i, int(ref)-1, string(code))
		return
	}
	place, c := s.pending.find(ref)
	switch {
	case c == nil:
	case c.kind == commandRequest:
		s.check(eventRes, s.scenarioOf(i), millis(s.loop.Clock()-c.due), float64(number(code)), 0)
		s.remove(place, false)
	case s.cfg.IDs && notNow(string(code)):
		s.again(place, retryAfter(text))
	default:
		if c.k >= s.plan.warm {
			s.check(eventAck, s.scenarioOf(i), millis(s.loop.Clock()-c.last), float64(number(code)), 0)
		}
		s.fail(place)
	}
}

// notNow says whether an error code asks to send the same again later: nothing was stored.
func notNow(code string) bool { return code == "503" || code == "429" }

// retryAfter reads "retry_ms=N".
func retryAfter(text []byte) time.Duration {
	_, rest, ok := bytes.Cut(text, []byte("retry_ms="))
	if !ok {
		return 0
	}
	n, _ := token(rest)
	return time.Duration(min(number(n), 60_000)) * time.Millisecond
}

// again has a publication sent once more after a while: as long as the server said, else doubling.
func (s *Swarm) again(place uint32, after time.Duration) {
	c := &s.pending.all[place]
	if after == 0 {
		after = min(retryMin<<c.tries, retryMax)
		c.tries = min(c.tries+1, 10)
	}
	c.kind = commandResend
	s.resends.add(s.loop.Clock()+int64(after), s.pending.ref(place))
}

// resendDue sends what again had put off. What has no connection waits for it.
func (s *Swarm) resendDue(now int64) (more bool) {
	for range commandsPerTurn {
		ref, ok := s.resends.take(now)
		if !ok {
			return false
		}
		place, c := s.pending.find(ref)
		if c != nil && c.kind == commandResend && s.clients[c.client].state == clientReady {
			s.sendPublication(place)
		}
	}
	return true
}

// resendAll sends everything that waited for client i to be ready, in the order in which it was due.
func (s *Swarm) resendAll(i int32) {
	if s.clients[i].unanswered == 0 {
		return
	}
	var places []uint32
	for place := range s.pending.all {
		if c := &s.pending.all[place]; c.client == i && c.kind == commandResend {
			places = append(places, uint32(place))
		}
	}
	slices.SortFunc(places, func(a, b uint32) int { return cmp.Compare(s.pending.all[a].k, s.pending.all[b].k) })
	for _, place := range places {
		s.sendPublication(place)
	}
}

// orphan settles the unanswered commands of a client that lost its connection.
func (s *Swarm) orphan(i int32) {
	if s.clients[i].unanswered == 0 {
		return
	}
	for place := range s.pending.all {
		switch c := &s.pending.all[place]; {
		case c.client != i || c.kind == commandNone:
		case c.kind == commandRequest:
			s.remove(uint32(place), false)
		case s.repeats() && !s.clients[i].never:
			c.kind = commandResend
		default:
			s.fail(uint32(place))
		}
	}
}

// fail ends a publication without an ok: it may arrive, and need not.
func (s *Swarm) fail(place uint32) {
	s.notPublished(s.pending.all[place].k)
	s.remove(place, false)
}

func (s *Swarm) notPublished(k int64) {
	s.unacked[k] = true
	if k >= s.plan.warm {
		s.metrics.Failed.Add(1)
	}
}

// remove ends a command; good is false when it came to nothing.
func (s *Swarm) remove(place uint32, good bool) {
	c := s.pending.all[place]
	s.clients[c.client].unanswered--
	s.pending.remove(place)
	s.answeredFor(&c, good)
}
