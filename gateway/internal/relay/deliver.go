package relay

import (
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/wsio"
)

// delivery is what one read has for one loop.
type delivery struct {
	batch   hub.Batch
	control []stream.Publication
	answers []stream.Answer
}

func (r *Relay) hand(l *Loop, d *delivery, pending *atomic.Int64) {
	if len(d.batch.Cursors) == 0 && len(d.answers) == 0 {
		return
	}
	for i := range d.batch.Publications {
		d.batch.Size += int64(len(d.batch.Publications[i].Frame))
	}
	d.batch.Pending = pending
	pending.Add(d.batch.Size)
	l.Post(func() {
		if len(d.answers) > 0 {
			l.Answer(d.answers)
		}
		if len(d.batch.Cursors) > 0 {
			l.Deliver(&d.batch, d.control)
		}
	})
}

func (r *Relay) takePublications(partition int, entries []stream.Entry, out []delivery) {
	part := &r.parts[partition]
	for i := range entries {
		p, ok := r.decode(&entries[i])
		if !ok {
			continue
		}
		var pub hub.Publication
		if p.Kind == stream.KindPub {
			pub = r.publication(&p, partition, part.epoch, entries[i].ID)
		}
		for l := range out {
			if part.loops&(1<<l) == 0 {
				continue
			}
			if p.Kind == stream.KindPub {
				out[l].batch.Publications = append(out[l].batch.Publications, pub)
			} else {
				out[l].control = append(out[l].control, p)
			}
		}
	}
	last := hub.Cursor{Partition: partition, ID: entries[len(entries)-1].ID}
	for l := range out {
		if part.loops&(1<<l) != 0 {
			out[l].batch.Cursors = append(out[l].batch.Cursors, last)
		}
	}
}

// publications are those among entries of the past: a revoke or a kick of then is over.
func (r *Relay) publications(partition int, epoch stream.Epoch, entries []stream.Entry) []hub.Publication {
	out := make([]hub.Publication, 0, len(entries))
	for i := range entries {
		if p, ok := r.decode(&entries[i]); ok && p.Kind == stream.KindPub {
			out = append(out, r.publication(&p, partition, epoch, entries[i].ID))
		}
	}
	return out
}

func (r *Relay) decode(e *stream.Entry) (stream.Publication, bool) {
	p, err := stream.DecodePublication(e.Fields)
	if err != nil {
		r.bad("out", e.ID, err)
	}
	return p, err == nil
}

func (r *Relay) publication(p *stream.Publication, partition int, epoch stream.Epoch, id stream.ID) hub.Publication {
	b := frame(p, stream.Position{ID: id, Epoch: epoch})
	return hub.Publication{ID: id, Partition: int32(partition), Channel: p.Channel, Skip: p.Skip, Frame: b, Packed: r.packer.of(p.Channel, b)}
}

// frame is the whole WebSocket frame of a publication: encoded once, shared by all its subscribers.
func frame(p *stream.Publication, at stream.Position) []byte {
	var position [stream.MaxPosition]byte
	var head [protocol.MaxHead]byte
	h := protocol.AppendMsg(head[:0], p.Channel, at.Append(position[:0]))
	op := ws.OpText
	if p.Binary || !utf8.ValidString(p.Data) { // a text frame that is not UTF-8 would cost every subscriber its connection
		op = ws.OpBinary
	}
	n := len(h) + len(p.Data)
	b := make([]byte, 0, wsio.MaxHeader-4+n)
	b = append(wsio.AppendHeader(b, op, n), h...)
	return append(b, p.Data...)
}

func (r *Relay) takeAnswers(entries []stream.Entry, out []delivery) {
	for i := range entries {
		if f := entries[i].Fields; len(f) > 1 && f[0] == "kind" && f[1] == kindWake {
			r.heard.Store(time.Now().UnixNano())
			continue
		}
		a, err := stream.DecodeAnswer(entries[i].Fields)
		if err != nil {
			r.bad("node", entries[i].ID, err)
			continue
		}
		for l := range out { // each loop knows its own sessions
			out[l].answers = append(out[l].answers, a)
		}
	}
}

func (r *Relay) bad(stream string, id stream.ID, err error) {
	if n := r.counts.bad.Add(1); n&(n-1) == 0 { // 1, 2, 4, 8, …: a flood is not logged in full
		r.cfg.Logger.Warn("passed over an entry that breaks the contract", "stream", stream, "id", id.String(), "err", err, "so_far", n)
	}
}
