package relay

import (
	"context"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

const (
	watchCount = 256                    // entries of each stream in one read
	watchBlock = 200 * time.Millisecond // a stop may have to wait for it
	watchEvery = 100 * time.Millisecond // in a Cluster, where one command cannot wait for all
	watchRetry = time.Second            // after an error: that Redis is gone, others say

	// What is said to a client before the ends of the streams are known is passed over, so clients wait for that; but for no longer than this, since a
	// part of a Cluster may be down.
	watchPatience = 5 * time.Second
)

// watcher reads the `out` streams that no lane reads, for the revokes and kicks in them: whom they concern may be connected here without a
// subscription, and what was granted may be remembered here. All else in them is passed over. It belongs to its goroutine.
type watcher struct {
	r    *Relay
	at   []stream.ID // by partition
	mine []bool      // by partition: no lane read it when it was last read here
}

func (r *Relay) runWatcher(ctx context.Context) {
	select {
	case <-r.begun:
	case <-ctx.Done():
		return
	}
	late := time.AfterFunc(watchPatience, r.start)
	defer late.Stop()
	w := watcher{r: r, mine: make([]bool, len(r.parts))}
	for ctx.Err() == nil {
		err := w.begin(ctx)
		if err == nil {
			r.start()
			err = w.step(ctx)
		}
		if err != nil {
			pause(ctx, watchRetry)
		}
	}
}

// begin finds the ends of the streams, once: what was said before this gateway had started is over.
func (w *watcher) begin(ctx context.Context) (err error) {
	if w.at != nil {
		return nil
	}
	keys := make([]string, len(w.r.parts))
	for p := range keys {
		keys[p] = w.r.parts[p].key
		w.mine[p] = true
	}
	w.at, err = w.r.streams.Tails(ctx, keys)
	return err
}

// step reads once. A partition that a lane has begun to read is read here once more, up to its end: the lane reads what comes behind that
// end, or before.
func (w *watcher) step(ctx context.Context) error {
	var cursors []stream.Cursor
	byKey := make(map[string]int)
	for p := range w.r.parts {
		part := &w.r.parts[p]
		laned := part.laned.Load()
		if left := part.left.Swap(nil); left != nil && !w.mine[p] { // it may be read by a lane again
			w.at[p], w.mine[p] = *left, true
		}
		if !laned || w.mine[p] {
			cursors = append(cursors, stream.Cursor{Key: part.key, ID: w.at[p]})
			byKey[part.key] = p
		}
		w.mine[p] = !laned
	}
	found, err := w.read(ctx, cursors)
	var control []Order
	for _, s := range found {
		p := byKey[s.Key]
		for i := range s.Entries {
			if pub, ok := w.r.control(&s.Entries[i]); ok {
				if order, first := w.r.orders.first(p, s.Entries[i].ID, pub); first {
					control = append(control, order)
				}
			}
		}
		if n := len(s.Entries); n > 0 {
			w.at[p] = s.Entries[n-1].ID
			w.mine[p] = w.mine[p] || n == watchCount // there may be more before that end
		}
	}
	if err != nil { // what was not read is to be read again
		for _, p := range byKey {
			w.mine[p] = true
		}
	}
	if len(control) > 0 {
		for i := range w.r.loops {
			l := &w.r.loops[i]
			l.Post(func() { l.Control(control) })
		}
	}
	return err
}

// read waits for entries, or in a Cluster until it is time to look again.
func (w *watcher) read(ctx context.Context, cursors []stream.Cursor) ([]stream.Entries, error) {
	if len(cursors) == 0 {
		pause(ctx, watchEvery)
		return nil, nil
	}
	if !w.r.streams.Cluster() {
		return w.r.streams.Read(ctx, cursors, watchCount, watchBlock)
	}
	pause(ctx, watchEvery)
	ranges := make([]stream.Range, len(cursors))
	for i, c := range cursors {
		ranges[i] = stream.Range{Key: c.Key, From: c.ID, To: stream.Last, Open: true, Count: watchCount}
	}
	found, err := w.r.streams.Ranges(ctx, ranges)
	if err != nil {
		return nil, err
	}
	out := make([]stream.Entries, len(found))
	for i := range found {
		out[i] = stream.Entries{Key: cursors[i].Key, Entries: found[i]}
	}
	return out, nil
}

// control is the revoke or kick in an entry of an `out` stream. Others are not decoded.
func (r *Relay) control(e *stream.Entry) (stream.Publication, bool) {
	for i := 0; i+1 < len(e.Fields); i += 2 {
		if e.Fields[i] == "kind" && e.Fields[i+1] != string(stream.KindPub) {
			return r.decode(e)
		}
	}
	return stream.Publication{}, false
}

// Control writes a revoke or a kick for all gateways, this one included, and returns when it is stored.
func (r *Relay) Control(ctx context.Context, p *stream.Publication) (stream.ID, error) {
	adds := []stream.Add{{Key: r.cfg.Keys.Out(p.Partition(r.cfg.Partitions)), MaxLen: r.cfg.MaxLen, Values: p.Values()}}
	err := r.streams.Append(ctx, adds)[0]
	return adds[0].ID, err
}
