package swarm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
	"github.com/millracehq/millrace/loadtest/internal/ledger"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// Data implements loop.Handler.
func (s *Swarm) Data(c loop.Conn, b []byte) (consumed int) {
	i, ok := s.owner(c)
	if !ok {
		return len(b)
	}
	now := s.loop.Clock()
	if s.pollsOnly(i) {
		return s.polled(i, b, now)
	}
	if s.clients[i].state == clientHandshaking {
		n, err := wsio.ParseResponse(b, s.key(i))
		if err != nil {
			s.check(eventConnect, s.scenarioOf(i), millis(now-s.clients[i].began), handshakeStatus(err), 0)
			s.giveUp(i, handshakeReason(err))
			return len(b)
		}
		if n == 0 {
			return 0
		}
		consumed = n
		s.enterState(&s.clients[i], clientGreeted)
		s.metrics.Connecting.RecordParts(now-s.clients[i].began, metric.Label{Scenarios: s.scenarioOf(i)}, true)
		s.check(eventConnect, s.scenarioOf(i), millis(now-s.clients[i].began), statusUpgraded, 0)
	}
	for s.clients[i].conn == c {
		h, ok, err := wsio.ParseHeader(b[consumed:])
		if err == nil && ok {
			err = h.Check(false, false, 0, maxMessage)
		}
		if err != nil || ok && !h.Fin { // a gateway never sends a message in fragments
			s.giveUp(i, "1002")
			return len(b)
		}
		if !ok || len(b)-consumed < h.Size+h.Length {
			return consumed
		}
		payload := b[consumed+h.Size : consumed+h.Size+h.Length]
		consumed += h.Size + h.Length
		s.frame(i, h.OpCode, payload, now)
	}
	return len(b)
}

// statusUpgraded is the HTTP status of a handshake that went well.
const statusUpgraded = 101

// handshakeStatus is the HTTP status of one that did not, 0 when there was none.
func handshakeStatus(err error) float64 {
	if status, ok := errors.AsType[*wsio.StatusError](err); ok {
		return float64(status.Status)
	}
	return 0
}

func handshakeReason(err error) string {
	if status, ok := errors.AsType[*wsio.StatusError](err); ok {
		return "status " + strconv.Itoa(status.Status)
	}
	return "bad handshake"
}

func (s *Swarm) frame(i int32, op ws.OpCode, payload []byte, now int64) {
	conn := s.clients[i].conn
	switch op {
	case ws.OpPing:
		s.out = wsio.AppendMasked(s.out[:0], ws.OpPong, payload, newMask())
		s.push(conn, 1)
	case ws.OpPong:
		s.pong(i, payload, now)
	case ws.OpClose:
		code, _, err := wsio.ParseClose(payload)
		label := strconv.Itoa(int(code))
		if err != nil {
			label = "1002"
		}
		if s.walkedOut(i, code) {
			return
		}
		if code >= 4100 && code < 4200 {
			s.clients[i].never = true
		}
		if s.clients[i].state != clientLeaving { // else it is the answer to ours
			s.out = wsio.AppendMasked(s.out[:0], ws.OpClose, payload, newMask())
			s.push(conn, 1)
		}
		s.leave(i, label)
		s.loop.CloseAfterFlush(conn)
	case ws.OpText, ws.OpBinary:
		if s.phase == PhaseSteady {
			s.metrics.MsgsReceived.Add(1)
		}
		s.message(i, payload, now)
	}
}

func newMask() (mask [4]byte) {
	binary.NativeEndian.PutUint32(mask[:], rand.Uint32())
	return mask
}

// appendText appends a masked text message.
func appendText(dst, payload []byte) []byte {
	return wsio.AppendMasked(dst, ws.OpText, payload, newMask())
}

// token cuts the first token off a head.
func token(head []byte) (first, rest []byte) {
	if at := bytes.IndexByte(head, ' '); at >= 0 {
		return head[:at], head[at+1:]
	}
	return head, nil
}

// message takes one frame of millrace.v1.
func (s *Swarm) message(i int32, b []byte, now int64) {
	head, body := b, []byte(nil)
	if at := bytes.IndexByte(b, '\n'); at >= 0 {
		head, body = b[:at], b[at+1:]
	}
	verb, rest := token(head)
	switch string(verb) {
	case "msg":
		channel, rest := token(rest)
		position, _ := token(rest)
		s.publication(i, channel, position, body, now)
	case "ok":
		ref, rest := token(rest)
		position, _ := token(rest)
		s.ok(i, number(ref), position, now)
	case "res":
		ref, _ := token(rest)
		s.answered(number(ref), len(body), now)
	case "err":
		ref, rest := token(rest)
		code, text := token(rest)
		s.err(i, number(ref), code, text)
	case "gap":
		channel, rest := token(rest)
		position, _ := token(rest)
		s.gap(i, channel, position)
	case "hello":
		if s.clients[i].state == clientGreeted {
			s.subscribe(i)
		}
	case "bye":
		code, rest := token(rest)
		delay, _ := token(rest)
		s.clients[i].byeDelay = int32(min(number(delay), 1<<30))
		s.clients[i].never = len(code) == 4 && string(code[:2]) == "41"
	case "revoke":
		_, rest := token(rest)
		code, _ := token(rest)
		s.metrics.Errs.Add(codeLabel(code), 1)
	case "join", "leave", "pong": // not asked for, and harmless
	default:
		s.metrics.Damaged.Add(1)
	}
}

// codeLabel is a code as a tag; whatever is none is "bad", so that a server cannot make up tags without end.
func codeLabel(code []byte) string {
	if n := len(code); n < 3 || n > 4 || number(code) == 0 {
		return "bad"
	}
	return string(code)
}

// number reads a REF or another decimal; 0 when it is none, which no REF is.
func number(b []byte) (n uint64) {
	if len(b) > 18 {
		return 0
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// publication enters a delivery.
func (s *Swarm) publication(i int32, channel, position, body []byte, now int64) {
	if s.phase >= PhaseClose {
		return // the accounts are made up
	}
	m := s.metrics
	st, ok := parseStamp(body)
	if !ok || st.run != s.run {
		m.Foreign.Add(1)
		return
	}
	if !s.exists(st) || !bytes.Equal(body[StampSize:], s.padding[StampSize:]) {
		m.Damaged.Add(1)
		return
	}
	st.due += s.cfg.Part.Offset
	if c := &s.clients[i]; c.role == roleSession && c.state == clientLeaving {
		return // its accounts are made up
	}
	number := s.plan.channelOf(st.feed)
	sub, subscribes := s.plan.subscription(i, number)
	if !subscribes || string(channel) != s.cfg.Channels[number] || !s.subscribed[sub] {
		m.Misrouted.Add(1)
		return
	}
	s.positions.set(sub, position)
	k := s.plan.publication(st.feed, st.seq)
	if s.clients[i].role == roleSession {
		s.receiveSession(i, sub, st, k, now)
		return
	}
	if !s.roll[sub] {
		return
	}
	steady := k >= s.plan.warm
	line := s.plan.line(sub, st.feed)
	s.endGap(line, st.seq)
	outcome := s.ledger.Receive(line, st.seq)
	if outcome == ledger.Late && (st.again || s.resent[k]) {
		outcome = ledger.InOrder // it was sent again after later ones: the order is the swarm's own
	}
	if len(s.catching) > 0 && outcome != ledger.Duplicate {
		s.catchesUp(i, k, st, now)
	}
	if s.clients[i].stops() {
		s.receiveStopped(i, sub, k, outcome)
		return
	}
	s.newest[number] = max(s.newest[number], k)
	switch {
	case steady:
		s.deliver(i, st, k, outcome, now)
	case outcome == ledger.Duplicate:
		s.warmup.Duplicate++
	default:
		s.warmup.Received++
		s.time(i, st, k, labelWarmup, now)
		if outcome == ledger.Late {
			s.warmup.Reordered++
		}
	}
	if outcome != ledger.Duplicate {
		s.outstanding--
	}
}

// deliver counts a delivery of the steady phase.
func (s *Swarm) deliver(i int32, st stamp, k int64, outcome ledger.Outcome, now int64) {
	m := s.metrics
	if outcome == ledger.Duplicate {
		m.Duplicate.Add(1)
		return
	}
	if outcome == ledger.Late {
		m.Reordered.Add(1)
	}
	m.Received.Add(1)
	s.time(i, st, k, labelSteady, now)
}

// time enters how long a delivery took. In the warm-up only the parts of the metrics that ask for it get it.
func (s *Swarm) time(i int32, st stamp, k int64, phase uint8, now int64) {
	m, label, steady := s.metrics, metric.Label{Scenarios: s.scenarioOf(s.publisherOf(st.feed)), Phase: phase}, phase == labelSteady
	m.Latency.RecordParts(now-st.due, label, steady)
	m.Service.RecordParts(now-st.sent(), label, steady)
	if steady {
		s.check(eventMsg, label.Scenarios, millis(now-st.due), millis(now-st.sent()), float64(s.cfg.Payload))
	}
	if s.clients[i].role == roleSession {
		return // nobody counts on it
	}
	f, n := s.fanOf(k)
	if !s.mineFeed(st.feed) {
		f.heard(n, s.reach[s.plan.channelOf(st.feed)])
	}
	if f.received(n) {
		m.LastSubscriber.RecordParts(now-st.due, label, steady)
	}
}

// gap takes the announcement that publications are missing: none that is sent after this can be meant.
func (s *Swarm) gap(i int32, channel, position []byte) {
	c := &s.clients[i]
	if c.stops() {
		s.metrics.StoppedGaps.Add(1)
	} else {
		s.metrics.Gaps.Add(1)
	}
	for j := range s.plan.perClient {
		sub := int(i)*s.plan.perClient + j
		if s.cfg.Channels[s.plan.channel(sub)] != string(channel) {
			continue
		}
		s.positions.set(sub, position)
		if c.behind == behindGap {
			c.behind = int32(sub) + 1
		}
		for lane := range s.plan.lanes {
			feed := s.plan.feedOf(lane, s.plan.channel(sub))
			if line := s.plan.line(sub, feed); s.mineFeed(feed) {
				s.ledger.Announce(line, s.sentOf(feed))
			} else {
				s.gaps[line] = feed
			}
		}
	}
}
