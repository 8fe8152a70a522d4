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
		select {
		case <-r.ring.wake:
		case <-ctx.Done():
			spare = r.write(spare)
			r.write(spare) // what came while the last one was written
			return
		}
		spare = r.write(spare)
		if r.writerDown.Load() != nil {
			pause(ctx, retryAfter)
			r.probe()
		}
	}
}

// write empties the ring once and returns the emptied batch.
func (r *Relay) write(spare *batch) *batch {
	b := r.ring.swap(spare)
	if r.wants.wake.Swap(false) {
		_ = r.wake(context.Background()) // if it fails, so does the read that it is to end
	}
	text := string(b.text) // one copy, of which all values are parts
	for at := 0; at < len(b.records); at += writeBatch {
		r.writeSome(text, b.records[at:min(at+writeBatch, len(b.records))])
	}
	if r.ring.done(b) {
		for i := range r.loops {
			r.loops[i].Post(r.loops[i].Resume)
		}
	}
	return b
}

func (r *Relay) writeSome(text string, records []record) {
	adds := make([]stream.Add, len(records))
	for i := range records {
		adds[i] = r.add(text, &records[i])
	}
	errs := r.streams.Append(context.Background(), adds)
	r.counts.batches.Add(1)
	acks := make([][]Ack, len(r.loops))
	stored := 0
	var failure error // the worst: one that concerns all
	for i := range records {
		rec := &records[i]
		switch {
		case errs[i] == nil:
			stored++
		case failure == nil || errors.Is(errs[i], stream.ErrDown):
			failure = errs[i]
		}
		// A failure is told even where no answer was wanted.
		if errs[i] != nil || rec.flags&flagAnswer != 0 {
			acks[rec.loop] = append(acks[rec.loop], Ack{Conn: rec.conn, Ref: rec.ref, Kind: rec.kind(), Stored: errs[i] == nil})
		}
	}
	r.counts.appended.Add(uint64(stored))
	r.counts.failed.Add(uint64(len(records) - stored))
	if failure != nil && !errors.Is(failure, stream.ErrDown) {
		r.cfg.Logger.Warn("Redis refused an entry", "err", failure)
	}
	if errors.Is(failure, stream.ErrDown) {
		r.down(&r.writerDown, "write to the streams", failure)
	}
	for i, list := range acks {
		if len(list) > 0 {
			r.loops[i].Post(func() { r.loops[i].Acked(list) })
		}
	}
}

// add is the stream entry of a command.
func (r *Relay) add(text string, rec *record) stream.Add {
	var parts [5]string
	start := rec.start
	for i, end := range rec.end {
		parts[i] = text[start:end]
		start = end
	}
	channel, id, user, session, body := parts[0], parts[1], parts[2], parts[3], parts[4]
	binary := rec.flags&flagBinary != 0
	if rec.flags&flagDirect != 0 {
		p := stream.Publication{Channel: channel, ID: id, At: rec.at, Binary: binary, Data: body}
		return stream.Add{Key: r.cfg.Keys.Out(int(rec.partition)), MaxLen: r.cfg.MaxLen, Values: p.Values()}
	}
	ref := "-"
	if rec.ref != 0 {
		ref = strconv.FormatUint(rec.ref, 10)
	}
	e := stream.Event{Kind: rec.kind(), Channel: channel, Node: r.cfg.Node, Conn: session, User: user, Ref: ref, ID: id, At: rec.at, Binary: binary, Data: body}
	return stream.Add{Key: r.cfg.Keys.In(int(rec.partition)), Values: e.Values()}
}

// probe asks whether Redis takes writes again. It goes on being down otherwise, and is asked again.
func (r *Relay) probe() {
	if err := r.streams.Ping(context.Background()); err != nil {
		r.ring.poke()
		return
	}
	r.up(&r.writerDown, "write to the streams")
}
