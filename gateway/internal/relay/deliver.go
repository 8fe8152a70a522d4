package relay

import (
	"strings"
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
	batch   *hub.Batch // nil: nothing of partitions
	control []Order
	answers []stream.Answer
}

// hand gives a loop what a read has for it; here says that this is that loop, so that nothing has to wait. What is handed over here
// is used up when it returns, except for the batch.
func (r *Relay) hand(i int, d *delivery, here bool) {
	if d.batch == nil && len(d.answers) == 0 && len(d.control) == 0 {
		return
	}
	if d.batch != nil {
		r.unswept[i].Add(d.batch.Size)
		d.batch.Done, d.batch.Read = r.swept[i], time.Now().UnixNano()
	}
	if here {
		d.deliver(&r.loops[i])
		clear(d.answers)
		clear(d.control)
		*d = delivery{control: d.control[:0], answers: d.answers[:0]}
		return
	}
	l := &r.loops[i]
	whole := *d
	*d = delivery{}
	l.Post(func() { whole.deliver(l) })
}

func (d *delivery) deliver(l *Loop) {
	if len(d.answers) > 0 {
		l.Answer(d.answers)
	}
	if len(d.control) > 0 {
		l.Control(d.control)
	}
	if d.batch != nil {
		l.Deliver(d.batch)
	}
}

// spareBatches is how many swept batches of the home loop are kept for use again.
const spareBatches = 16

// sweptBy is called on loop i, with each batch of which all has been sent.
func (r *Relay) sweptBy(i int) func(*hub.Batch) {
	return func(b *hub.Batch) {
		r.unswept[i].Add(-b.Size)
		if len(b.Publications) > 0 {
			took := float64(time.Now().UnixNano()-b.Read) / 1e9
			for range b.Publications {
				r.cfg.Stages.Delivery.Update(took)
			}
		}
		if i == home && len(r.spare) < spareBatches && cap(b.Publications) <= readMany {
			clear(b.Publications)
			*b = hub.Batch{Publications: b.Publications[:0], Cursors: b.Cursors[:0]}
			r.spare = append(r.spare, b)
		}
	}
}

// batchFor is a batch for loop i; here says that the caller is the home loop.
func (r *Relay) batchFor(i int, here bool) *hub.Batch {
	if !here || i != home || len(r.spare) == 0 { // the spare ones are the home loop's: others may not even count them
		return new(hub.Batch)
	}
	n := len(r.spare) - 1
	b := r.spare[n]
	r.spare = r.spare[:n]
	return b
}

// take sorts out an entry of a partition to the loops that use it. Its strings may be views: what goes on is copied.
func (r *Relay) take(partition int, e *stream.Entry, out []delivery, here bool) {
	part := &r.parts[partition]
	p, ok := r.decode(e)
	if ok && p.Kind != stream.KindPub {
		p, ok = r.decode(&stream.Entry{ID: e.ID, Fields: stream.CloneFields(e.Fields)})
	}
	var order Order
	ordered := false
	if ok && p.Kind != stream.KindPub {
		order, ordered = r.orders.first(partition, e.ID, p)
	}
	var pub hub.Publication
	if ok && p.Kind == stream.KindPub {
		if part.channel != p.Channel { // what follows on the same channel shares its name
			part.channel = strings.Clone(p.Channel)
		}
		p.Channel = part.channel
		pub = r.publication(&p, partition, part.epoch, e.ID)
	}
	for l := range out {
		d := &out[l]
		if ordered {
			d.control = append(d.control, order) // a user may be anywhere
		}
		if part.loops&(1<<l) == 0 {
			continue
		}
		if d.batch == nil {
			d.batch = r.batchFor(l, here)
		}
		if n := len(d.batch.Cursors); n > 0 && d.batch.Cursors[n-1].Partition == partition {
			d.batch.Cursors[n-1].ID = e.ID
		} else {
			d.batch.Cursors = append(d.batch.Cursors, hub.Cursor{Partition: partition, ID: e.ID})
		}
		if ok && p.Kind == stream.KindPub {
			d.batch.Publications = append(d.batch.Publications, pub)
			d.batch.Size += int64(len(pub.Frame))
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
	return hub.Publication{
		ID: id, Partition: int32(partition), Channel: p.Channel, Skip: strings.Clone(p.Skip), Frame: b, Packed: r.packer.of(p.Channel, b),
	}
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

// takeAnswer gives an entry of the node's stream to the loop that has its connection: any other would be woken for nothing.
func (r *Relay) takeAnswer(e *stream.Entry, out []delivery) {
	if f := e.Fields; len(f) > 1 && f[0] == "kind" && f[1] == kindWake {
		r.heard.Store(time.Now().UnixNano())
		return
	}
	a, err := stream.DecodeAnswer(stream.CloneFields(e.Fields))
	if err != nil {
		r.bad("node", e.ID, err)
		return
	}
	if l := r.cfg.LoopOf(a.Conn); l >= 0 && l < len(out) { // else it is for another life of this node
		out[l].answers = append(out[l].answers, a)
	}
}

func (r *Relay) bad(stream string, id stream.ID, err error) {
	if n := r.counts.bad.Add(1); n&(n-1) == 0 { // 1, 2, 4, 8, …: a flood is not logged in full
		r.cfg.Logger.Warn("passed over an entry that breaks the contract", "stream", stream, "id", id.String(), "err", err, "so_far", n)
	}
}
