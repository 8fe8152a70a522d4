package swarm

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/internal/loop"
	"github.com/millracehq/millrace/loadtest/internal/ledger"
)

// Stop is a group of clients that stop reading in the steady phase and read again later. They publish nothing, and their
// deliveries count in metrics of their own. While they do not read they answer no ping.
type Stop struct {
	Connections   int           // clients, spread evenly over those that do not publish; 0: none
	At, Until     time.Duration // from the beginning of the steady phase
	ReceiveBuffer int           // SO_RCVBUF in bytes, so that it shows soon; 0: the kernel's own
}

const (
	// readAgainSpread is the longest time over which they begin to read again: all at once, what waits for them would hold up this
	// program, which the other clients' latency would show.
	readAgainSpread = 2 * time.Second
	// readAgainAfter is how long they wait once the newest publications are noted, so that those have reached their outboxes.
	readAgainAfter = 100 * time.Millisecond
	// normalBuffer is what Linux gives a connection to begin with, bytes.
	normalBuffer = 128 << 10
)

// What a client that has read again waits for, in client.behind; above 0: the first publication behind a gap of subscription behind-1.
const (
	behindNothing int32 = 0
	behindGap     int32 = -1
)

// chooseStopped marks the clients that will stop reading.
func (s *Swarm) chooseStopped() {
	n := len(s.members())
	for j := range s.cfg.Stop.Connections {
		i := j * n / s.cfg.Stop.Connections
		for s.clients[i].stops() || s.plan.publishes(int32(i)) {
			i = (i + 1) % n
		}
		s.clients[i].role = roleStops
	}
}

// setReceiveBuffer sets SO_RCVBUF in bytes; 0 leaves it to the kernel.
func (s *Swarm) setReceiveBuffer(c loop.Conn, size int) {
	if fd := s.loop.Descriptor(c); size > 0 && fd >= 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size/2) // the kernel doubles it
	}
}

func (s *Swarm) stopReading() {
	s.stopped = true
	for i := range s.clients {
		if c := &s.clients[i]; c.stops() {
			s.loop.Pause(c.conn)
		}
	}
}

// beginReadAgain notes the newest publication of each channel, and when each client that has stopped reads again.
func (s *Swarm) beginReadAgain() {
	if !s.stopped {
		return
	}
	s.stopped = false
	copy(s.newestThen, s.newest)
	stop := s.cfg.Stop
	spread := min(readAgainSpread, max(s.cfg.Duration-stop.Until, 0)/2)
	at := s.loop.Clock() + int64(readAgainAfter)
	for i := range s.clients {
		if s.clients[i].stops() {
			s.rereads.add(at, uint64(i))
			at += int64(spread) / int64(stop.Connections)
		}
	}
}

// readAgainDue has clients read again whose time has come.
func (s *Swarm) readAgainDue(now int64) {
	for {
		i, ok := s.rereads.take(now)
		if !ok {
			return
		}
		c := &s.clients[i]
		c.behind = behindGap
		s.setReceiveBuffer(c.conn, max(s.cfg.Stop.ReceiveBuffer, normalBuffer))
		s.loop.Resume(c.conn)
	}
}

// receiveStopped enters a delivery to a client of the group.
func (s *Swarm) receiveStopped(i int32, sub int, k int64, outcome ledger.Outcome) {
	m := s.metrics.StoppedMsgs
	switch outcome {
	case ledger.Duplicate:
		m.Add("duplicate", 1)
		return
	case ledger.Late:
		m.Add("reordered", 1)
	case ledger.InOrder, ledger.Announced:
	}
	m.Add("received", 1)
	c := &s.clients[i]
	if c.behind != int32(sub)+1 {
		return
	}
	c.behind = behindNothing
	is := "newest"
	switch channel := s.plan.channel(sub); {
	case k < s.newestThen[channel]:
		is = "older"
	case k > s.newest[channel]:
		is = "later"
	}
	s.metrics.StoppedFirst.Add(is, 1)
}

// missStopped enters one publication that a subscription of the group never had.
func (s *Swarm) missStopped(k int64, announced bool) {
	what := "lost"
	switch {
	case s.unacked[k]:
		what = "unsure"
	case announced:
		what = "announced"
	}
	s.metrics.StoppedMsgs.Add(what, 1)
}

// stoppedHaveAll says whether the clients of the group have come as far as everybody: holes may remain, but nothing is under way.
func (s *Swarm) stoppedHaveAll() bool {
	for _, sub := range s.stoppedSubs {
		for lane := range s.plan.lanes {
			feed := s.plan.feedOf(lane, s.plan.channel(sub))
			if s.ledger.Next(s.plan.line(sub, feed)) < s.sentOf(feed) {
				return false
			}
		}
	}
	return true
}
