package loop

import "sync/atomic"

// counts are the loop's own; they are copied for others once a second and whenever the loop is idle.
type counts struct {
	Accepted, Refused, Panics       uint64
	Reads, Sends, BytesIn, BytesOut uint64
	Turns                           uint64
	ProxyRefused                    uint64
}

// Stats is a copy of a loop's numbers, at most a second old.
type Stats struct {
	Conns    int    // open now
	Accepted uint64 // since start
	Refused  uint64 // closed at once, being over MaxConns
	Panics   uint64 // of the handler
	Reads    uint64 // system calls
	Sends    uint64 // system calls
	BytesIn  uint64
	BytesOut uint64
	Turns    uint64
	Unsent   int64 // bytes in the outboxes of all loops that share the budget
	Unread   int64 // bytes in buffers for incomplete frames
	Inbox    int   // posted functions that wait

	ProxyRefused uint64 // closed for want of a PROXY header, a good one, or trust in its sender
}

type published struct {
	conns, unread                                           atomic.Int64
	accepted, refused, panics, reads, sends, in, out, turns atomic.Uint64
	proxyRefused                                            atomic.Uint64
}

func (l *Loop) publish() {
	s, c := &l.stats, &l.counts
	s.conns.Store(int64(l.open))
	s.unread.Store(int64(l.tails.bytes))
	s.accepted.Store(c.Accepted)
	s.refused.Store(c.Refused)
	s.panics.Store(c.Panics)
	s.reads.Store(c.Reads)
	s.sends.Store(c.Sends)
	s.in.Store(c.BytesIn)
	s.out.Store(c.BytesOut)
	s.turns.Store(c.Turns)
	s.proxyRefused.Store(c.ProxyRefused)
}

// Stats may be called from any goroutine.
func (l *Loop) Stats() Stats {
	s := &l.stats
	return Stats{
		Conns:    int(s.conns.Load()),
		Accepted: s.accepted.Load(),
		Refused:  s.refused.Load(),
		Panics:   s.panics.Load(),
		Reads:    s.reads.Load(),
		Sends:    s.sends.Load(),
		BytesIn:  s.in.Load(),
		BytesOut: s.out.Load(),
		Turns:    s.turns.Load(),
		Unsent:   l.cfg.Budget.Used(),
		Unread:   s.unread.Load(),
		Inbox:    l.inbox.len(),

		ProxyRefused: s.proxyRefused.Load(),
	}
}

// HandshakeStats are those of the TLS handshakes of a loop's group.
type HandshakeStats struct {
	Running int    // now: each is a goroutine
	Done    uint64 // since start, as all below
	Resumed uint64 // of those, with a session ticket
	Failed  uint64 // no TLS, no common version or cipher, given up by the client
	Evicted uint64 // waited longest for their client when there were too many
	Refused uint64 // too many, none of which waited
}

// Handshakes may be called from any goroutine. It is zero without TLS.
func (l *Loop) Handshakes() HandshakeStats {
	if l.vault == nil {
		return HandshakeStats{}
	}
	hs := l.vault.shakes
	return HandshakeStats{
		Running: hs.count(), Done: hs.done.Load(), Resumed: hs.resumed.Load(),
		Failed: hs.failed.Load(), Evicted: hs.evicted.Load(), Refused: hs.refused.Load(),
	}
}
