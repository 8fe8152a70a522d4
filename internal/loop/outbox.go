package loop

import (
	"golang.org/x/sys/unix"
)

// outbox holds what a connection's socket did not take, by reference to frames that other connections may share.
// Bound: Config.OutboxBytes and Config.Budget, see share; policy: Send says Full; metric: Stats.Unsent.
type outbox struct {
	queue [][]byte
	owner Conn
	since uint32 // tick at which it was opened
	begun bool   // part of the first one has been sent: dropping it would break the stream
	lent  bool   // with TLS, within flush: the first one is in a buffer of the loop
	bytes int    // 0: nobody's
}

type outboxes struct {
	boxes []*outbox // by index; 0 is never used
	free  []int32
}

func (o *outboxes) open() int32 {
	if n := len(o.free); n > 0 {
		i := o.free[n-1]
		o.free = o.free[:n-1]
		return i
	}
	if len(o.boxes) == 0 {
		o.boxes = append(o.boxes, nil)
	}
	o.boxes = append(o.boxes, new(outbox))
	return int32(len(o.boxes) - 1)
}

// Send sends b, or as much as the socket takes, and keeps a reference to the rest: b must not be changed afterwards. An
// outbox that is empty takes any b; otherwise nothing is taken beyond the bound.
func (l *Loop) Send(c Conn, b []byte) Result { return l.send(c, b, false) }

// SendCopy is Send for a buffer that will be used again: what must wait is copied.
func (l *Loop) SendCopy(c Conn, b []byte) Result { return l.send(c, b, true) }

func (l *Loop) send(c Conn, b []byte, shared bool) Result {
	r := l.record(c)
	if r == nil || r.state != stateOpen {
		return Gone
	}
	if r.flags&flagTLS != 0 {
		return l.sendSealed(c, r, b, shared)
	}
	if r.out != 0 {
		if r.out > 0 {
			return l.queue(c, r, b, false, shared)
		}
		r.out = 0
		b, shared = l.withOwed(b), true
	}
	l.counts.Sends++
	n, errno := send(r.fd, b)
	switch {
	case errno == 0 && n == len(b):
		l.countOut(r, n)
		return Sent
	case errno == 0:
		l.countOut(r, n)
		return l.queue(c, r, b[n:], true, shared)
	case errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ENOBUFS:
		return l.queue(c, r, b, false, shared)
	}
	l.Close(c, ReasonPeer)
	return Gone
}

func (l *Loop) queue(c Conn, r *record, b []byte, begun, shared bool) Result {
	first := r.out == 0
	if !l.cfg.Budget.take(len(b)) {
		if !begun {
			return Full
		}
		l.cfg.Budget.used.Add(int64(len(b))) // the rest of a frame is taken over any bound
	}
	if first {
		r.out = l.outs.open()
	}
	o := l.outs.boxes[r.out]
	if first {
		o.owner, o.since = c, l.wheel.tick
	}
	if !first && o.bytes+len(b) > l.share() {
		l.cfg.Budget.give(len(b))
		return Full
	}
	if shared {
		b = append([]byte(nil), b...)
	}
	o.queue = append(o.queue, b)
	o.bytes += len(b)
	if first {
		o.begun = begun
		l.watch(c, r, true)
	}
	return Queued
}

// share is how many bytes may wait for one connection: the less, the more of the budget is used. So a thousand that do not
// read leave room for one that is slow for a moment.
func (l *Loop) share() int {
	return min(l.cfg.OutboxBytes, int(max(0, l.cfg.Budget.Limit-l.cfg.Budget.Used())/16))
}

// Unsent is how many bytes wait in the outbox of c; 0 when it has none, or is gone.
func (l *Loop) Unsent(c Conn) int {
	r := l.record(c)
	if r == nil || r.out <= 0 {
		return 0
	}
	return l.outs.boxes[r.out].bytes
}

// EachUnsent calls f for every connection that has an outbox, with how many bytes wait and for how many seconds there have been
// some. It costs what the slow connections cost, of which it looks at each; those without an outbox it does not touch. f must not send.
func (l *Loop) EachUnsent(f func(c Conn, bytes, seconds int)) {
	for _, o := range l.outs.boxes {
		if o != nil && o.bytes > 0 {
			f(o.owner, o.bytes, int(l.wheel.tick-o.since))
		}
	}
}

// Room is how many bytes may still be queued for c before its bound, Config.OutboxBytes or a sixteenth of what is left of
// the budget; 0 when it is gone or closing. The rest of a frame that has begun to go out may be over it.
func (l *Loop) Room(c Conn) int {
	if !l.Alive(c) {
		return 0
	}
	return max(0, l.share()-l.Unsent(c))
}

// DropUnsent takes back what has not begun to be sent and returns how many bytes that were. The stream stays whole:
// a buffer of which a part has gone out stays.
func (l *Loop) DropUnsent(c Conn) int {
	r := l.record(c)
	if r == nil || r.out <= 0 {
		return 0
	}
	o := l.outs.boxes[r.out]
	keep := 0
	if o.begun {
		keep = 1
	}
	dropped := 0
	for _, b := range o.queue[keep:] {
		dropped += len(b)
	}
	clear(o.queue[keep:])
	o.queue = o.queue[:keep]
	o.bytes -= dropped
	l.cfg.Budget.give(dropped)
	if keep == 0 {
		l.closeOutbox(r)
		l.watch(c, r, false)
	}
	return dropped
}

const maxVector = 64

// flush sends what waits, and reports whether nothing is left.
func (l *Loop) flush(c Conn, r *record) bool {
	if r.flags&flagTLS != 0 {
		return l.flushSealed(c, r)
	}
	o := l.outs.boxes[r.out]
	for len(o.queue) > 0 {
		iov := l.vector[:0]
		for _, b := range o.queue[:min(len(o.queue), maxVector)] {
			v := unix.Iovec{Base: &b[0]}
			v.SetLen(len(b))
			iov = append(iov, v)
		}
		l.counts.Sends++
		n, errno := sendVector(r.fd, iov)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			if errno != unix.EAGAIN && errno != unix.ENOBUFS {
				l.Close(c, ReasonPeer)
			}
			return false
		}
		l.countOut(r, n)
		o.sent(n)
		l.cfg.Budget.give(n)
	}
	l.closeOutbox(r)
	return true
}

// emptied follows a flush that left nothing. The watch ends before the handler is asked, so that what it sends and the
// socket does not take begins a new one.
func (l *Loop) emptied(c Conn, r *record) {
	l.watch(c, r, false)
	if r.state == stateOpen {
		l.handlerOf(c, r).Drained(c)
	}
	l.shutWhenSent(c, r)
}

// sent takes n bytes off the front.
func (o *outbox) sent(n int) {
	o.bytes -= n
	done := 0
	for n > 0 && n >= len(o.queue[done]) {
		n -= len(o.queue[done])
		o.queue[done] = nil
		done++
		o.begun = false
	}
	if n > 0 {
		o.queue[done] = o.queue[done][n:]
		o.begun = true
	}
	o.queue = append(o.queue[:0], o.queue[done:]...)
}

// closeOutbox gives the outbox back. Its queue is kept for the next user unless it has grown large.
func (l *Loop) closeOutbox(r *record) {
	o := l.outs.boxes[r.out]
	l.cfg.Budget.give(o.bytes)
	clear(o.queue)
	o.queue, o.bytes, o.begun, o.lent = o.queue[:0], 0, false, false
	if cap(o.queue) > maxVector {
		o.queue = nil
	}
	l.outs.free = append(l.outs.free, r.out)
	r.out = 0
}
