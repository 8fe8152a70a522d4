package relay

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

const (
	writeBatch = 256 // commands of one round trip
	retryAfter = 200 * time.Millisecond
)

// runWriter writes what the loops append, until ctx is done and nothing is left.
func (r *Relay) runWriter(ctx context.Context) {
	spare := new(batch)
	for {
		if r.down.Load() == nil && r.partsDown.Load() == 0 && r.writing.lend(ctx) {
			spare = r.write(spare)
		}
		select {
		case <-r.ring.wake:
		case <-ctx.Done():
			spare = r.write(spare)
			r.write(spare) // what came while the last one was written
			return
		}
		spare = r.write(spare)
		if r.down.Load() != nil || r.partsDown.Load() > 0 {
			pause(ctx, retryAfter)
			r.probe()
		}
	}
}

// write empties the ring once and returns the emptied batch.
func (r *Relay) write(spare *batch) *batch {
	b := r.ring.swap(spare)
	if r.lanes[0].wanted.Swap(false) {
		_ = r.wake(context.Background()) // if it fails, so does the read that it is to end
	}
	text := string(b.text) // one copy, of which all values are parts
	for at := 0; at < len(b.records); at += writeBatch {
		r.writeSome(text, b.records[at:min(at+writeBatch, len(b.records))])
	}
	if r.ring.done(b) {
		r.resume(false)
	}
	return b
}

// resume tells the loops that there is room again; here says that the caller is the home loop.
func (r *Relay) resume(here bool) {
	for i := range r.loops {
		if here && i == home {
			r.loops[i].Resume()
		} else {
			r.loops[i].Post(r.loops[i].Resume)
		}
	}
}

func (r *Relay) writeSome(text string, records []record) {
	adds := make([]stream.Add, len(records))
	for i := range records {
		adds[i] = r.add(text, &records[i])
	}
	errs := r.streams.Append(context.Background(), adds)
	r.counts.batches.Add(1)
	ids := make([]stream.ID, len(adds))
	for i := range adds {
		ids[i] = adds[i].ID
	}
	r.settle(records, ids, errs, false)
}

// settle tells the loops what became of commands; here says that the caller is the home loop.
func (r *Relay) settle(records []record, ids []stream.ID, errs []error, here bool) {
	acks := make([][]Ack, len(r.loops))
	stored, now := 0, time.Now().UnixNano()
	var failure error // the worst: one that concerns all
	for i := range records {
		rec := &records[i]
		if errs[i] == nil {
			stored++
			r.cfg.Stages.Append.Update(float64(now-rec.at) / 1e9)
			if rec.flags&flagDirect != 0 {
				id := ids[i] // not by reference to all of them, which would stay
				r.parts[rec.partition].stored.Store(&id)
			}
		} else {
			if failure == nil || errors.Is(errs[i], stream.ErrDown) {
				failure = errs[i]
			}
			if errors.Is(errs[i], stream.ErrPartDown) {
				r.partDown(int(rec.partition), errs[i])
			}
		}
		// A failure is told even where no answer was wanted.
		if errs[i] != nil || rec.flags&flagAnswer != 0 {
			acks[rec.loop] = append(acks[rec.loop], Ack{Conn: rec.conn, Ref: rec.ref, Kind: kinds[rec.kind], Stored: errs[i] == nil})
		}
	}
	r.counts.appended.Add(uint64(stored))
	if n := uint64(len(records) - stored); n > 0 {
		before := r.counts.failed.Add(n) - n
		switch {
		case errors.Is(failure, stream.ErrDown):
			r.lostTouch(&r.down, "write to the streams", failure)
		case before == 0 || (before+n)/1000 > before/1000: // a flood is not logged in full
			r.cfg.Logger.Warn("Redis did not take an entry as it should", "err", failure, "so_far", before+n)
		}
	}
	for i, list := range acks {
		switch {
		case len(list) == 0:
		case here && i == home:
			r.loops[i].Acked(list)
		default:
			r.loops[i].Post(func() { r.loops[i].Acked(list) })
		}
	}
}

// add is the stream entry of a command.
func (r *Relay) add(text string, rec *record) stream.Add {
	key, most, fields := r.fields(text, rec, nil)
	values := make([]any, len(fields))
	for i, f := range fields {
		values[i] = f
	}
	return stream.Add{Key: key, MaxLen: most, Values: values}
}

// fields are where the entry of a command goes, how many the stream may keep, and the entry, appended to dst.
func (r *Relay) fields(text string, rec *record, dst []string) (key string, most int64, fields []string) {
	var parts [5]string
	start := rec.start
	for i, end := range rec.end {
		parts[i] = text[start:end]
		start = end
	}
	channel, id, user, session, body := parts[0], parts[1], parts[2], parts[3], parts[4]
	at, binary := rec.at/1e6, rec.flags&flagBinary != 0
	if rec.flags&flagDirect != 0 {
		p := stream.Publication{Channel: channel, ID: id, At: at, Binary: binary, Data: body}
		return r.parts[rec.partition].key, r.cfg.MaxLen, p.AppendFields(dst)
	}
	ref := "-"
	if rec.ref != 0 {
		ref = strconv.FormatUint(rec.ref, 10)
	}
	e := stream.Event{Kind: kinds[rec.kind], Channel: channel, Node: r.cfg.Node, Conn: session, User: user, Ref: ref, ID: id, At: at, Binary: binary, Data: body}
	return r.parts[rec.partition].in, 0, e.AppendFields(dst)
}

// partDown notes that nothing can be written to a partition, while others take what comes.
func (r *Relay) partDown(p int, err error) {
	part := &r.parts[p]
	if part.down.Load() == nil {
		r.partsDown.Add(1)
	}
	r.lostTouch(&part.down, "write to partition "+strconv.Itoa(p), err)
}

// probe asks whether Redis takes writes again. What does not goes on being down, and is asked again.
func (r *Relay) probe() {
	ctx := context.Background()
	if r.down.Load() != nil {
		if err := r.streams.Ping(ctx); err == nil {
			r.inTouch(&r.down, "write to the streams")
		}
	}
	for p := range r.parts {
		if r.parts[p].down.Load() == nil {
			continue
		}
		key := r.cfg.Keys.Canary(p, r.cfg.Node)
		if err := r.streams.Append(ctx, []stream.Add{{Key: key, MaxLen: 1, Values: []any{"kind", kindWake}}})[0]; err == nil {
			_ = r.streams.KeepNode(ctx, key, stream.ID{}, nodeTTL)
			r.partsDown.Add(-1)
			r.inTouch(&r.parts[p].down, "write to partition "+strconv.Itoa(p))
		}
	}
	if r.down.Load() != nil || r.partsDown.Load() > 0 {
		r.ring.poke()
	}
}
