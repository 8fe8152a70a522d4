package swarm

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"github.com/millracehq/millrace/internal/loop"
)

// Poll has all clients that do not publish ask for news over HTTP instead of subscribing: the baseline that push is compared with.
// Each has one channel and one connection, which it keeps.
//
//	GET URI?channel=CHANNEL&after=POSITION      after is left out the first time
//
//	body = POSITION LF *( LENGTH LF publication )      where to poll behind, then what came after the POSITION asked for, oldest first
type Poll struct {
	Remote netip.AddrPort
	Host   string // of the request
	URI    string // of the request, without a query
	Every  time.Duration
}

// pollsOnly says whether client i polls.
func (s *Swarm) pollsOnly(i int32) bool {
	return s.cfg.Poll.Every > 0 && int(i) < s.cfg.Connections && !s.plan.publishes(i)
}

// remote is what client i connects to.
func (s *Swarm) remote(i int32) netip.AddrPort {
	if s.pollsOnly(i) {
		return s.cfg.Poll.Remote
	}
	return s.cfg.Remote
}

// poll asks once.
func (s *Swarm) poll(i int32) {
	sub := int(i) * s.plan.perClient
	b := append(s.out[:0], "GET "...)
	b = append(append(b, s.cfg.Poll.URI...), "?channel="...)
	b = append(b, s.cfg.Channels[s.plan.channel(sub)]...) // a channel has no byte that a query must escape
	if position := s.positions.get(sub); len(position) > 0 {
		b = append(append(b, "&after="...), position...)
	}
	b = append(append(b, " HTTP/1.1\r\nHost: "...), s.cfg.Poll.Host...)
	s.out = append(b, "\r\n\r\n"...)
	s.loop.Arm(s.clients[i].conn, s.patience())
	if s.loop.SendCopy(s.clients[i].conn, s.out) == loop.Full {
		s.giveUp(i, "1006")
	}
}

// pollDue sends the polls that are due by now, at most a turn's worth. One whose client has no connection is left out.
func (s *Swarm) pollDue(now int64) (more bool) {
	for range commandsPerTurn {
		at, ok := s.polls.next()
		if !ok || at > now {
			return false
		}
		id, _ := s.polls.take(now)
		c := &s.clients[id]
		c.again = false
		if c.state == clientReady {
			c.began = at
			s.poll(int32(id))
		}
	}
	return true
}

// polled takes the bytes that have come on a client's connection: nothing until an answer is complete.
func (s *Swarm) polled(i int32, b []byte, now int64) (consumed int) {
	c := &s.clients[i]
	a, ok, err := parseAnswer(b)
	if err != "" {
		s.giveUp(i, err)
		return len(b)
	}
	if !ok {
		return 0
	}
	s.loop.Arm(c.conn, 0)
	s.metrics.Poll.Record(now - c.began)
	next := now + rand.Int64N(int64(s.cfg.Poll.Every)) // the first time: they are not to come all together
	if c.state == clientReady {
		next = max(c.began+int64(s.cfg.Poll.Every), now)
	} else {
		s.subscriptions(i)[0] = a.status == 200
	}
	if a.status == 200 {
		s.takeNews(i, a.body, now)
	} else {
		s.metrics.PollsFailed.Add(strconv.Itoa(a.status), 1)
	}
	if c.state != clientReady {
		s.becomeReady(i)
	}
	if !c.again { // not while one from before its last connection is there
		c.again = true
		s.polls.add(next, uint64(i))
	}
	return a.size
}

// takeNews enters the publications of an answer.
func (s *Swarm) takeNews(i int32, body []byte, now int64) {
	sub := int(i) * s.plan.perClient
	position, rest, ok := bytes.Cut(body, []byte{'\n'})
	channel := []byte(s.cfg.Channels[s.plan.channel(sub)])
	for ok && len(rest) > 0 {
		var length []byte
		length, rest, ok = bytes.Cut(rest, []byte{'\n'})
		n := int(number(length))
		if !ok || n == 0 && string(length) != "0" || n > len(rest) {
			ok = false
			break
		}
		s.publication(i, channel, position, rest[:n], now)
		rest = rest[n:]
	}
	if !ok {
		s.metrics.Damaged.Add(1)
		return
	}
	s.positions.set(sub, position)
}

// pollAnswer is an HTTP response, complete.
type pollAnswer struct {
	status, size int
	body         []byte
}

// parseAnswer reads the response at the beginning of b; ok is false while it is not complete. Only responses with a Content-Length are
// understood; err says in a word or two what is wrong with others.
func parseAnswer(b []byte) (a pollAnswer, ok bool, err string) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 8<<10 {
			return a, false, "bad response"
		}
		return a, false, ""
	}
	line, fields, _ := bytes.Cut(b[:end+2], []byte("\r\n"))
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, false, "bad response"
	}
	a.status = int(number(line[9:12]))
	length := -1
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte{':'})
		if bytes.EqualFold(name, []byte("Content-Length")) {
			value = bytes.TrimSpace(value)
			if length = int(number(value)); length == 0 && string(value) != "0" {
				return a, false, "bad response"
			}
		}
	}
	if length < 0 || length > maxMessage || a.status == 0 {
		return a, false, "bad response"
	}
	if a.size = end + 4 + length; len(b) < a.size {
		return a, false, ""
	}
	a.body = b[end+4 : a.size]
	return a, true, ""
}
