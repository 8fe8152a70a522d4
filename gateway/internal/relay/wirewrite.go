package relay

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/resp"
	"github.com/millracehq/millrace/internal/loop"
)

// writeWire writes for the writer: what the ring has at the end of a turn goes out at once, and what comes while Redis has not
// answered yet is the next batch.
type writeWire struct {
	wire
	release atomic.Bool // the writer wants the work back

	// Owned by the home loop.
	batch    *batch // taken from the ring; nil: none
	spare    *batch
	records  []record // of batch, still to be written
	due      []record // written, of which the answers are due
	wake     bool     // the first answer due is that to a wake of the lane
	answered int      // of due
	errs     []error  // by due
	ids      []stream.ID
	fields   []string // scratch
}

func (w *writeWire) init(r *Relay) {
	w.wire.init(r)
	w.spare = new(batch)
}

// lend has the wire write until ctx is done or something is wrong, and reports whether there was a wire.
func (w *writeWire) lend(ctx context.Context) bool {
	if !w.connect(ctx, w) {
		return false
	}
	ring := &w.r.ring
	ring.lent.Store(true)
	defer func() {
		ring.lent.Store(false)
		ring.poke() // what came meanwhile woke nobody
	}()
	w.release.Store(false)
	if !w.home.Post(func() { w.lent = true; w.flush() }) {
		return true
	}
	stop := context.AfterFunc(ctx, func() { w.release.Store(true); w.home.Wake() })
	defer stop()
	if w.await() != nil { // what was wrong has been said
		w.tried = time.Now()
	}
	return true
}

// flush writes what has gathered, unless answers are due.
func (w *writeWire) flush() {
	if !w.lent || len(w.due) > 0 || w.wake {
		return
	}
	r := w.r
	if w.batch == nil {
		if w.release.Load() {
			w.giveBack(nil)
			w.hangUp()
			return
		}
		if w.wake = r.lanes[home].wanted.Swap(false); w.wake {
			w.out = resp.AppendXADD(w.out, r.nodeKey, 0, wakeFields)
		}
		if r.ring.count.Load() > 0 {
			w.batch = r.ring.swap(w.spare)
			w.spare, w.records = nil, w.batch.records
		}
	}
	if w.batch != nil {
		n := min(len(w.records), writeBatch)
		text := resp.View(w.batch.text)
		for i := range n {
			w.add(text, &w.records[i])
		}
		w.due, w.records = w.records[:n], w.records[n:]
		w.errs, w.ids = append(w.errs[:0], make([]error, n)...), append(w.ids[:0], make([]stream.ID, n)...)
		w.answered = 0
		r.counts.batches.Add(1)
	}
	if len(w.out) == 0 {
		w.finish()
		return
	}
	w.home.Arm(w.conn, seconds(r.cfg.Timeout))
	if !w.send() {
		w.hangUp()
	}
}

func (w *writeWire) add(text string, rec *record) {
	var key string
	var most int64
	key, most, w.fields = w.r.fields(text, rec, w.fields[:0])
	w.out = resp.AppendXADD(w.out, key, most, w.fields)
}

// Data is the loop's: answers have come.
func (w *writeWire) Data(_ loop.Conn, b []byte) (used int) {
	for used < len(b) {
		text, n, err := resp.Line(b[used:])
		if n == 0 && err == nil {
			return used
		}
		used += n
		if n == 0 || !w.answer(text, err) {
			w.hangUp()
			return len(b)
		}
	}
	return used
}

// answer notes one answer, and reports whether it was due.
func (w *writeWire) answer(text string, err error) bool {
	switch {
	case w.wake:
		w.wake = false
	case w.answered == len(w.due):
		return false
	default:
		i := w.answered
		w.answered++
		if err == nil {
			w.ids[i], err = stream.ParseID(text)
		}
		if err != nil {
			w.errs[i] = w.r.streams.Refusal(err)
		}
	}
	if !w.wake && w.answered == len(w.due) {
		w.home.Arm(w.conn, 0)
		w.settle()
	}
	return true
}

// settle says what became of what was written, and goes on.
func (w *writeWire) settle() {
	due := w.due
	w.due, w.answered = nil, 0
	w.r.settle(due, w.ids, w.errs, true)
	w.finish()
	if w.r.down.Load() != nil {
		w.release.Store(true) // it takes no writes now: the writer waits until it does
	}
}

// finish gives the batch back once all of it has been written.
func (w *writeWire) finish() {
	if w.batch == nil || len(w.records) > 0 {
		return
	}
	w.spare, w.batch = w.batch, nil
	if w.r.ring.done(w.spare) {
		w.r.resume(true)
	}
}

// Closed is the loop's: whether what was under way has been stored nobody knows.
func (w *writeWire) Closed(_ loop.Conn, _ loop.Reason) {
	w.conn, w.out, w.wake = loop.Conn{}, w.out[:0], false
	if !w.lent {
		return
	}
	if w.batch != nil {
		rest := w.batch.records[len(w.batch.records)-len(w.records)-len(w.due):]
		for i := range rest {
			if i >= len(w.errs) {
				w.errs, w.ids = append(w.errs, nil), append(w.ids, stream.ID{})
			}
			if i >= w.answered {
				w.errs[i] = errWire
			}
		}
		w.records, w.due = nil, rest
		w.settle()
	}
	w.giveBack(errWire)
}
