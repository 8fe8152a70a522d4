package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/loop"
)

// A wire is a connection to Redis that lives in the home loop, so that what is written and read there wakes nobody else: on a quiet
// machine most of what a publication costs is waking goroutines (docs/adr/0014). Writer and lane lend their work to their wire
// while all is well, and have it back as soon as anything is not, or has to be asked of Redis by another command: everything but
// XADD and XREAD, every outage and every doubt is theirs. At any time one of the two sides has the work.
type wire struct {
	// Immutable after init.
	r    *Relay
	home Home
	back chan error // the work comes back, with what went wrong; room for one

	// Owned by the goroutine that lends.
	none  bool      // there cannot be one
	tried time.Time // when there was none to be had

	// Owned by the home loop.
	conn loop.Conn // zero: closed
	lent bool
	out  []byte
}

// wireRetry is how long a wire that could not be opened is not asked for again.
const wireRetry = time.Second

var errWire = fmt.Errorf("%w: its connection broke", stream.ErrDown)

func (w *wire) init(r *Relay) {
	w.r, w.home, w.back = r, r.cfg.Home, make(chan error, 1)
	w.none = w.home == nil || r.streams.Cluster()
}

// connect opens a connection and gives it to the home loop, to be served by h. It reports whether there is one.
func (w *wire) connect(ctx context.Context, h loop.Handler) bool {
	if w.none || time.Since(w.tried) < wireRetry {
		return false
	}
	w.tried = time.Now()
	fd, err := w.r.streams.Socket(ctx)
	if err != nil {
		w.none = errors.Is(err, stream.ErrNoSocket)
		return false
	}
	w.tried = time.Time{}
	return w.home.Post(func() { w.conn = w.home.Adopt(int32(fd), h) })
}

// await waits for the work to come back. Once the loop has stopped nobody else has it.
func (w *wire) await() error {
	select {
	case err := <-w.back:
		return err
	case <-w.home.Ended():
		return errWire
	}
}

// giveBack ends what was lent.
func (w *wire) giveBack(err error) {
	w.lent = false
	w.back <- err
}

// send writes what is in out.
func (w *wire) send() bool {
	ok := w.home.SendCopy(w.conn, w.out) <= loop.Queued
	if w.out = w.out[:0]; cap(w.out) > 1<<20 {
		w.out = nil
	}
	return ok
}

// hangUp closes the connection; Closed follows.
func (w *wire) hangUp() { w.home.Close(w.conn, loop.ReasonUser) }

// Open and Drained are never called for what was adopted, or do not matter: what is sent waits for its answer anyway.
func (w *wire) Open(loop.Conn)    {}
func (w *wire) Drained(loop.Conn) {}

// Turn is not called for what was adopted.
func (w *wire) Turn() bool { return false }

// Timer is the loop's: Redis has not answered in time.
func (w *wire) Timer(loop.Conn) { w.hangUp() }

func seconds(d time.Duration) int { return max(1, int(d/time.Second)) }
