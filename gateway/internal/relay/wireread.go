package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/resp"
	"github.com/millracehq/millrace/internal/loop"
)

// readWire reads for the lane of the node's stream: XREAD, one after the other, for about a second at a time.
type readWire struct {
	wire
	lane *lane // its cursors are the home loop's while the work is lent
	is   bool  // Owned by the lane: there is a connection

	// Owned by the home loop.
	done   <-chan struct{} // closed when the lane is to end
	xread  resp.XREAD
	reply  resp.Reading
	out    []delivery
	key    string // of the last entry
	count  int    // entries of that stream in this reply
	size   int    // bytes of this reply
	asking bool
}

func (w *readWire) init(r *Relay, l *lane) {
	w.wire.init(r)
	w.lane = l
	w.out = make([]delivery, len(r.loops))
}

// open reports whether the lane may lend.
func (w *readWire) open(ctx context.Context) bool {
	if !w.is {
		w.is = w.connect(ctx, w)
	}
	return w.is
}

// lend has the wire read until the lane has something else to do, and returns why it cannot go on, if it cannot.
func (w *readWire) lend(ctx context.Context) error {
	if !w.home.Post(func() { w.begin(ctx) }) {
		return errWire
	}
	err := w.await()
	w.is = err == nil
	return err
}

func (w *readWire) begin(ctx context.Context) {
	w.lent, w.done = true, ctx.Done()
	w.ask()
}

// ask sends the next XREAD, or gives the work back.
func (w *readWire) ask() {
	l := w.lane
	left := surveyEvery - time.Since(l.surveyed)
	if l.behind || left < time.Millisecond || l.wanting() || w.r.tooMuch() || w.ending() {
		w.giveBack(nil)
		return
	}
	w.wire.out = w.xread.Append(w.wire.out, l.cursors, l.count, min(left, readBlock))
	w.key, w.count, w.size, w.asking = "", 0, 0, true
	w.home.Arm(w.conn, seconds(readBlock+w.r.cfg.Timeout))
	if !w.send() {
		w.fail(errWire)
	}
}

func (w *readWire) ending() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Data is the loop's: more of a reply has come.
func (w *readWire) Data(_ loop.Conn, b []byte) (used int) {
	for {
		if !w.asking {
			if len(b) > used {
				w.fail(fmt.Errorf("%w: unasked", resp.ErrReply))
			}
			return len(b)
		}
		found, key, e, n, err := w.reply.Next(b[used:])
		used += n
		switch {
		case err != nil:
			w.hand()
			w.fail(w.r.streams.Refusal(err))
			return len(b)
		case found == resp.More:
			w.hand()
			return used
		case found == resp.Entry:
			w.entry(key, &e)
		case found == resp.End:
			w.hand()
			w.asking = false
			w.lane.came = time.Now()
			w.lane.adapt(w.size)
			w.r.counts.reads.Add(1)
			w.ask()
		}
	}
}

func (w *readWire) entry(key string, e *stream.Entry) {
	if key != w.key {
		w.key, w.count = key, 0
	}
	if w.count++; w.count >= w.lane.count {
		w.lane.behind = true // the next read is the lane's own: it looks whether something was trimmed meanwhile
	}
	w.size += w.lane.take(key, e, w.out, true)
}

// hand gives the loops what has come so far: the strings of control entries and answers are copies, but their slices are not.
func (w *readWire) hand() {
	for i := range w.out {
		w.r.hand(i, &w.out[i], i == home)
	}
}

// fail gives the work back with what went wrong, and closes the connection.
func (w *readWire) fail(err error) {
	w.asking = false
	if w.lent {
		w.giveBack(err)
	}
	w.hangUp()
}

// Closed is the loop's.
func (w *readWire) Closed(loop.Conn, loop.Reason) {
	w.conn, w.reply = loop.Conn{}, resp.Reading{}
	if w.lent {
		w.asking = false
		w.giveBack(errWire)
	}
}
