package swarm

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/internal/wsio"
	"github.com/millracehq/millrace/loadtest/internal/metric"
)

// client is one simulated client; it survives its connections. It holds no pointer: the collector never looks at it.
type client struct {
	conn       loop.Conn // zero: not connected
	began      int64     // ns: dial of this connection
	lost       int64     // ns: when the last connection was lost; 0: none was
	byeDelay   int32     // ms the server asked to stay away
	behind     int32     // what it waits for since it has read again; see behindGap
	awaited    uint32    // answers to sub that are still to come
	unanswered uint32    // commands in pending
	state      clientState
	tries      uint8 // connects in a row that failed
	never      bool  // the server said not to come back
	refused    bool  // a sub was answered by err, for good
	again      bool  // a sub was answered "not now"; of one that polls: its next poll is in Swarm.polls
	resolved   bool  // was ready once, or never will be
	cut        bool  // was cut off by Config.Cut, and is not back
	role       role
}

// role says what a client is for.
type role uint8

const (
	roleMember  role = iota // subscribes, and may publish
	roleStops               // of the group that stops reading
	roleWriter              // of a virtual user that publishes or requests: it subscribes to nothing
	roleSession             // of a virtual user whose iterations are sessions
	roles
)

func (c *client) stops() bool { return c.role == roleStops }

// members are the clients that are subscribed for the whole run.
func (s *Swarm) members() []client { return s.clients[:s.cfg.Connections] }

// readyMembers is how many of them are connected and subscribed.
func (s *Swarm) readyMembers() int { return s.ready[roleMember] + s.ready[roleStops] }

type clientState uint8

const (
	clientAway        clientState = iota // waits for its dial, or has given up
	clientDialing                        // TCP connect is under way
	clientHandshaking                    // request sent
	clientGreeted                        // upgraded; hello is to come
	clientSubscribing                    // sub sent
	clientPartial                        // some subscription was refused; it stays, but does not count as ready
	clientReady                          // every subscription is there
	clientLeaving                        // Close sent: the run is over
)

const (
	dialsPerTurn = 64
	backoffMin   = 100 * time.Millisecond
	backoffMax   = 5 * time.Second

	// lingerTime keeps the loop in its own wait when load is steady: fewer wake-ups of netpoll's poller.
	lingerTime = 10 * time.Millisecond
	// maxMessage is the largest message taken from a server, bytes.
	maxMessage = 1 << 20
)

// reasonGone is the loop's reason for connections that the swarm itself gave up; why was counted before.
const reasonGone = loop.ReasonUser

// dialDue begins the connects that are due, as far as Config.Handshakes lets it.
func (s *Swarm) dialDue(now int64) (more bool) {
	for range dialsPerTurn {
		if s.underway >= s.cfg.Handshakes {
			return false // the end of one brings a turn
		}
		i, ok := s.dials.take(now)
		if !ok {
			return false
		}
		s.dial(int32(i))
	}
	return true
}

func (s *Swarm) dial(i int32) {
	c := &s.clients[i]
	c.began = s.loop.Clock()
	c.byeDelay, c.refused = 0, false
	clear(s.subscriptions(i))
	s.enterState(c, clientDialing)
	s.metrics.Sessions.Add(1)
	var local netip.AddrPort
	if n := len(s.cfg.Locals); n > 0 {
		local = netip.AddrPortFrom(s.cfg.Locals[s.local%n], 0)
		s.local++
	}
	conn, err := s.loop.Dial(local, s.remote(i))
	if err != nil {
		s.leave(i, dialReason(err))
		return
	}
	c.conn = conn
	*s.owners.At(conn.Seat) = i + 1
	s.loop.Arm(conn, s.patience())
	if c.stops() {
		s.setReceiveBuffer(conn, s.cfg.Stop.ReceiveBuffer)
	}
}

// dialReason says why a connect could not even begin; an error that has no words here has its own name, such as EPERM.
func dialReason(err error) string {
	errno, _ := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EAGAIN:
		return "no free port"
	case unix.EMFILE, unix.ENFILE:
		return "no free descriptor"
	case unix.ENETUNREACH, unix.EHOSTUNREACH:
		return "no route"
	case unix.ENOBUFS, unix.ENOMEM:
		return "no memory"
	case unix.ECONNREFUSED:
		return "refused"
	case unix.ETIMEDOUT:
		return "timeout"
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return "dial"
}

// owner is the client that c belongs to now.
func (s *Swarm) owner(c loop.Conn) (i int32, ok bool) {
	i = *s.owners.At(c.Seat) - 1
	return i, i >= 0 && s.clients[i].conn == c
}

// Open implements loop.Handler.
func (s *Swarm) Open(c loop.Conn) {
	i, ok := s.owner(c)
	if !ok {
		return
	}
	if s.pollsOnly(i) {
		s.enterState(&s.clients[i], clientSubscribing)
		s.poll(i)
		return
	}
	extra := ""
	if s.cfg.Token != "" {
		extra = "Authorization: Bearer " + s.cfg.Token + "\r\n"
	}
	s.enterState(&s.clients[i], clientHandshaking)
	s.out = wsio.AppendRequest(s.out[:0], s.cfg.Host, s.cfg.URI, s.key(i), "millrace.v1", extra)
	s.loop.SendCopy(c, s.out)
}

// enterState moves a client on and keeps count.
func (s *Swarm) enterState(c *client, to clientState) {
	s.count(c, -1)
	defer s.count(c, +1)
	c.state = to
}

func (s *Swarm) count(c *client, n int) {
	switch c.state {
	case clientAway, clientPartial:
	case clientDialing, clientHandshaking, clientGreeted, clientSubscribing:
		s.underway += n
	case clientReady:
		s.ready[c.role] += n
	case clientLeaving:
		s.leaving += n
	}
}

// key is the handshake's nonce: nothing depends on it being secret, so it is made again instead of kept.
func (s *Swarm) key(i int32) (key [16]byte) {
	binary.NativeEndian.PutUint32(key[:], s.run)
	binary.NativeEndian.PutUint32(key[4:], uint32(i))
	return key
}

// Drained implements loop.Handler: a client that had to wait with what it sends does not send more for it.
func (s *Swarm) Drained(loop.Conn) {}

// Timer implements loop.Handler: the client took too long to become ready.
func (s *Swarm) Timer(c loop.Conn) {
	if i, ok := s.owner(c); ok {
		s.giveUp(i, "timeout")
	}
}

// Closed implements loop.Handler.
func (s *Swarm) Closed(c loop.Conn, why loop.Reason) {
	i, ok := s.owner(c)
	if !ok {
		return
	}
	switch {
	case s.clients[i].state >= clientSubscribing:
		s.leave(i, "1006") // RFC 6455 section 7.1.5: no Close frame came
	case why == loop.ReasonTLS:
		s.leave(i, "tls")
	case why == loop.ReasonRefused:
		s.leave(i, "refused")
	default:
		s.leave(i, "cut off")
	}
}

// giveUp ends a connection from our side.
func (s *Swarm) giveUp(i int32, label string) {
	conn := s.clients[i].conn
	s.leave(i, label)
	s.loop.Close(conn, reasonGone)
}

// leave takes note that client i has no connection any more. label is a close code if it had come to its hello, else why it
// did not.
func (s *Swarm) leave(i int32, label string) {
	c := &s.clients[i]
	if c.state >= clientGreeted && !s.pollsOnly(i) {
		s.metrics.Session.RecordParts(s.loop.Clock()-c.began, metric.Label{Scenarios: s.scenarioOf(i)}, true)
		s.checkSession(i, label)
	}
	wish := c.state == clientLeaving && c.role == roleSession
	switch {
	case s.phase >= PhaseClose, wish: // the run or the session is over: it was our wish, or does not matter any more
	case c.state >= clientSubscribing && s.cutByServer(i, label):
	case c.state >= clientSubscribing && c.stops():
		s.metrics.StoppedClosed.Add(label, 1)
	case c.state >= clientSubscribing:
		s.metrics.Closed.Add(label, 1)
	default:
		s.metrics.ConnectFailed.Add(label, 1)
		s.failures++
	}
	s.astray(i)
	s.disconnect(i)
	v, user := s.vuOf(i)
	if user && c.role == roleSession {
		s.sessionLeft(v, wish && label != "timeout" && !c.refused)
		return
	}
	if user {
		defer s.lostConnection(v)
	}
	if !s.cfg.Reconnect || c.never || s.phase >= PhaseClose {
		s.resolve(c)
		return
	}
	s.dials.add(s.loop.Clock()+int64(c.backoff()), uint64(i))
	c.tries = min(c.tries+1, 10)
}

// disconnect parts client i from its connection.
func (s *Swarm) disconnect(i int32) {
	c := &s.clients[i]
	if c.role == roleSession && c.state >= clientSubscribing && c.state != clientLeaving && s.phase < PhaseClose {
		s.closeAccounts(i)
	} else if c.state == clientReady && c.role != roleSession {
		c.lost = s.loop.Clock()
	}
	s.enterState(c, clientAway)
	c.conn = loop.Conn{}
	s.orphan(i)
}

// backoff is how long to stay away: as long as the server asked, else doubling with each failure, half of it by chance.
func (c *client) backoff() time.Duration {
	if c.byeDelay > 0 {
		return time.Duration(c.byeDelay) * time.Millisecond
	}
	d := min(backoffMin<<c.tries, backoffMax)
	return d/2 + rand.N(d/2)
}

func (s *Swarm) resolve(c *client) {
	if !c.resolved {
		c.resolved = true
		s.unresolved--
	}
}

// subscriptions says which of a client's subscriptions are there.
func (s *Swarm) subscriptions(i int32) []bool {
	return s.subscribed[int(i)*s.plan.perClient:][:s.plan.perClient]
}

// subscribe asks for all subscriptions that a client does not have, at once: each from its last position, if there is one.
func (s *Swarm) subscribe(i int32) {
	c := &s.clients[i]
	s.enterState(c, clientSubscribing)
	c.awaited, c.again = 0, false
	if c.role == roleWriter || s.cfg.Poll.Every > 0 { // those that subscribe are others
		s.becomeReady(i)
		return
	}
	s.out = s.out[:0]
	for j, there := range s.subscriptions(i) {
		if there {
			continue
		}
		c.awaited++
		sub := int(i)*s.plan.perClient + j
		head := append(s.scratch[:0], "sub "...)
		head = strconv.AppendInt(head, int64(j+1), 10)
		head = append(head, ' ')
		head = append(head, s.cfg.Channels[s.plan.channel(sub)]...)
		if p := s.positions.get(sub); len(p) > 0 {
			head = append(append(head, ' '), p...)
		}
		s.scratch = head
		s.out = appendText(s.out, head)
	}
	if c.awaited == 0 {
		s.becomeReady(i)
	} else if s.push(c.conn, int(c.awaited)) == loop.Full {
		s.giveUp(i, "1006")
	}
}

// subscribeDue asks again where a sub was answered "not now".
func (s *Swarm) subscribeDue(now int64) {
	for {
		i, ok := s.resubs.take(now)
		if !ok {
			return
		}
		if c := &s.clients[i]; c.state == clientSubscribing && c.again && c.awaited == 0 {
			s.subscribe(int32(i))
		}
	}
}

// subscribeAnswered takes the answer to the j-th subscription; code is empty for ok.
func (s *Swarm) subscribeAnswered(i int32, j int, code string) {
	c := &s.clients[i]
	if c.state != clientSubscribing || j >= s.plan.perClient || c.awaited == 0 {
		return
	}
	switch {
	case code == "":
		s.subscriptions(i)[j] = true
		if c.role == roleSession {
			s.joinSession(int(i)*s.plan.perClient + j)
		}
	case notNow(code):
		c.again = true
	default:
		c.refused = true
	}
	if c.awaited--; c.awaited > 0 {
		return
	}
	switch {
	case c.again:
		s.resubs.add(s.loop.Clock()+int64(c.backoff()), uint64(i))
		c.tries = min(c.tries+1, 10)
	case !c.refused:
		s.becomeReady(i)
	default: // it stays, and counts as not ready
		s.loop.Arm(c.conn, 0)
		s.enterState(c, clientPartial)
		s.resolve(c)
		if c.role == roleSession {
			s.endSession(i)
		}
	}
}

func (s *Swarm) becomeReady(i int32) {
	c := &s.clients[i]
	s.loop.Arm(c.conn, 0)
	c.tries = 0
	s.enterState(c, clientReady)
	if c.lost != 0 {
		s.metrics.Reconnect.Record(s.loop.Clock() - c.lost)
		c.lost = 0
	}
	if c.cut {
		c.cut = false
		s.beginCatchUp(i)
	}
	s.present(i)
	s.resolve(c)
	s.resendAll(i)
	if v, ok := s.vuOf(i); ok {
		s.connected(v)
	}
}
