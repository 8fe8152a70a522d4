package faulty

import (
	"fmt"
	"strconv"

	"github.com/gobwas/ws"
)

// Values of Faults.Resume.
const (
	ResumeGap     = "gap"     // a gap instead of what was missed
	ResumeLoses   = "loses"   // the first that was missed does not come
	ResumeDoubles = "doubles" // the last that was not missed comes again
)

// Values of Faults.Slow: what happens when slowOutbox frames wait for a connection. The first three are what a good server may do.
const (
	SlowClose  = "close"       // bye, and Close with 4001
	SlowOldest = "drop-oldest" // the older half goes, with a gap
	SlowLatest = "latest"      // from then on all but the newest go, with a gap
	SlowSilent = "silent"      // the newest is not delivered, and nobody says so
)

const (
	slowOutbox = 48
	slowBuffer = 16 << 10 // SO_SNDBUF, so that it shows soon
)

// resume delivers the history of a channel from a position on.
func (s *Server) resume(c *conn, name string, ch *channel, from int) {
	switch missed := len(ch.history) - from; {
	case s.faults.Resume == ResumeGap:
		c.text("gap", name, "p"+strconv.Itoa(len(ch.history)))
		return
	case s.faults.Resume == ResumeLoses && missed > 0:
		from++
	case s.faults.Resume == ResumeDoubles && from > 0:
		from--
	}
	var all []byte // as one, so that it does not count as a slow reader's
	for i, body := range ch.history[from:] {
		all = append(all, message(name, from+i+1, string(body))...)
	}
	if len(all) > 0 {
		c.push(all)
	}
}

func message(channel string, position int, body string) []byte {
	return ws.MustCompileFrame(ws.NewTextFrame(fmt.Appendf(nil, "msg %s p%d\n%s", channel, position, body)))
}

// slow makes a delivery to a connection that does not read, and reports whether it was one. Connections have one subscription
// where this is used.
func (s *Server) slow(c *conn, channel string, position int, frame []byte) bool {
	c.behind = len(c.out) >= slowOutbox || c.behind && len(c.out) > 0
	if s.faults.Slow == "" || !c.behind || s.faults.Slow != SlowLatest && len(c.out) < slowOutbox {
		return false
	}
	waiting := make([][]byte, 0, slowOutbox)
	for len(waiting) < slowOutbox && len(c.out) > 0 {
		waiting = append(waiting, <-c.out)
	}
	gap := ws.MustCompileFrame(ws.NewTextFrame([]byte("gap " + channel + " p" + strconv.Itoa(position))))
	switch s.faults.Slow {
	case SlowClose:
		c.text("bye", "4001", "50", "too slow")
		c.push(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(4001, "too slow"))))
		c.push(nil)
		for _, ch := range s.channels {
			delete(ch.subs, c)
		}
		return true
	case SlowOldest:
		waiting = append([][]byte{gap}, append(waiting[len(waiting)/2:], frame)...)
	case SlowLatest:
		waiting = [][]byte{gap, frame}
	}
	for _, b := range waiting {
		c.push(b)
	}
	return true
}
