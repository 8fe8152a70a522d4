package route

import (
	"bytes"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/internal/auth"
	"github.com/millracehq/millrace/internal/loop"
)

// partition is where a partition stands on this loop.
//
//	off ── first sub: relay.Use ──▶ asked ── Live ──▶ live ── no subscription for 10 s: relay.Unuse ──▶ off
type partition struct {
	state   partitionState
	idleAt  uint32 // tick at which it was first seen without a subscription; 0: it has one
	waiting []waiting
}

type partitionState uint8

const (
	partitionOff partitionState = iota
	partitionAsked
	partitionLive
)

// waiting is a sub that waits until its partition is read.
type waiting struct {
	conn     loop.Conn
	ref      uint64
	answer   bool
	asked    bool // the backend was, and knows of it
	channel  []byte
	position []byte
}

// keepIdle is for how many seconds a partition is read on without a subscriber: a reconnect must not ask anew.
const keepIdle = 10

func (r *Router) sub(c loop.Conn, cmd *protocol.Command) {
	if !r.allowed(c, cmd, auth.Sub) {
		return
	}
	n := stream.Partition(cmd.Channel, len(r.partitions))
	p, m := &r.partitions[n], r.members.At(c.Seat)
	switch {
	case cmd.Presence:
		r.err(c, cmd.Ref, protocol.CodeNotFound, noPresence)
	case r.hub.Subscribed(c.Seat, cmd.Channel) || r.underWay(c, p, cmd.Channel):
		r.err(c, cmd.Ref, protocol.CodeConflict, "already subscribed")
	case r.hub.Count(c.Seat)+int(m.waiting) >= r.rules.MaxSubscriptions:
		r.counts.Limited[limit.Subscriptions]++
		r.err(c, cmd.Ref, protocol.CodeForbidden, "too many subscriptions on this connection")
	default:
		if ns, _ := r.rules.namespace(cmd.Channel); ns.Authorize == ByBackend {
			if !r.granted(m.id.User(), string(cmd.Channel)) {
				r.askSub(c, cmd, n)
				return
			}
			r.counts.Asked[askKnown]++
		}
		r.follow(c, &waiting{conn: c, ref: cmd.Ref, answer: cmd.Answer, channel: cmd.Channel, position: cmd.Position})
	}
}

const (
	streamsDown = "the streams are down; try again"
	backlogFull = "the backlog is full: the backend is behind; nothing was stored, send it again later"
)

// underWay reports whether a sub to that channel is not answered yet.
func (r *Router) underWay(c loop.Conn, p *partition, channel []byte) bool {
	if r.members.At(c.Seat).waiting == 0 {
		return false
	}
	_, asked := r.requests.asked[wish{c, string(channel)}]
	return asked || p.waits(c, channel) >= 0
}

// follow subscribes what is allowed to, now or as soon as its partition is read. w is copied if it must be kept.
func (r *Router) follow(c loop.Conn, w *waiting) {
	n := stream.Partition(w.channel, len(r.partitions))
	p := &r.partitions[n]
	switch {
	case p.state == partitionLive:
		r.subscribe(n, w)
	case !r.relay.Up(n):
		r.err(c, w.ref, protocol.CodeUnavailable, streamsDown)
	default:
		r.members.At(c.Seat).waiting++
		kept := *w
		kept.channel, kept.position = bytes.Clone(w.channel), bytes.Clone(w.position)
		p.waiting = append(p.waiting, kept)
		if p.state == partitionOff {
			p.state = partitionAsked
			r.relay.Use(r.cfg.Loop, n)
		}
	}
}

// subscribe answers and adds the subscription: what the hub has for it from now on comes behind the answer. Where a
// position can be resumed from, the answer repeats it, so that a client that is cut off again before it has caught up
// resumes there.
func (r *Router) subscribe(n int, w *waiting) {
	ns, _ := r.rules.namespace(w.channel)
	now := r.hub.Position(n)
	from, err := stream.ParsePosition(w.position)
	if err != nil {
		from = stream.Position{}
	}
	at := from
	if from.Epoch != now.Epoch {
		at = now
	}
	var buf [stream.MaxPosition]byte
	r.ok(w.conn, &protocol.Command{Ref: w.ref, Answer: w.answer}, at.Append(buf[:0]))
	if w.position == nil {
		r.hub.Subscribe(w.conn.Seat, w.channel, n, ns.Slow)
	} else {
		r.hub.Resume(w.conn.Seat, w.channel, n, ns.Slow, from)
	}
	if ns.Notify != 0 && !w.asked {
		r.tell(w.conn, stream.KindSub, string(w.channel))
	}
}

func (r *Router) unsub(c loop.Conn, cmd *protocol.Command) {
	p := &r.partitions[stream.Partition(cmd.Channel, len(r.partitions))]
	switch {
	case r.giveUp(c, p, cmd.Channel, protocol.CodeConflict, "unsubscribed before it was answered"):
		r.ok(c, cmd, nil)
	case r.hub.Unsubscribe(c.Seat, cmd.Channel):
		r.ok(c, cmd, nil)
		r.tell(c, stream.KindUnsub, string(cmd.Channel))
	default:
		r.err(c, cmd.Ref, protocol.CodeNotFound, "not subscribed")
	}
}

// giveUp answers a sub that is under way, so that it does not come about. It reports false when there is none.
func (r *Router) giveUp(c loop.Conn, p *partition, channel []byte, code protocol.Code, text string) bool {
	if r.members.At(c.Seat).waiting == 0 {
		return false
	}
	if ref, asked := r.requests.asked[wish{c, string(channel)}]; asked {
		a, _ := r.settle(c, ref)
		r.err(c, a.ref, code, text)
		r.tell(c, stream.KindUnsub, string(channel)) // it may have been granted
		return true
	}
	i := p.waits(c, channel)
	if i < 0 {
		return false
	}
	r.err(c, p.waiting[i].ref, code, text)
	if p.waiting[i].asked {
		r.tell(c, stream.KindUnsub, string(channel))
	}
	p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
	r.members.At(c.Seat).waiting--
	return true
}

func (p *partition) waits(c loop.Conn, channel []byte) int {
	for i := range p.waiting {
		if p.waiting[i].conn == c && bytes.Equal(p.waiting[i].channel, channel) {
			return i
		}
	}
	return -1
}

// Live is relay.Sink's: the partition is read from now on, or cannot be.
func (r *Router) Live(o *hub.Opening, err error) {
	p := &r.partitions[o.Partition]
	list := p.waiting
	p.waiting = nil
	if err != nil {
		p.state = partitionOff
		for _, w := range list {
			if r.stillWaits(w.conn) {
				r.err(w.conn, w.ref, protocol.CodeUnavailable, streamsDown)
			}
		}
		return
	}
	r.hub.Open(o)
	p.state = partitionLive
	for i := range list {
		if r.stillWaits(list[i].conn) {
			r.subscribe(o.Partition, &list[i])
		}
	}
}

// Lost is relay.Sink's.
func (r *Router) Lost(o *hub.Opening) {
	if r.partitions[o.Partition].state == partitionLive {
		r.hub.Lost(o)
	}
}

// Past is relay.Sink's.
func (r *Router) Past(p *hub.Past) { r.hub.Older(p) }

// stillWaits reports whether a connection is there to hear the answer to a sub that has waited.
func (r *Router) stillWaits(c loop.Conn) bool {
	if !r.conns.Alive(c) {
		return false
	}
	r.members.At(c.Seat).waiting--
	return true
}

// leavePartitions stops the reading of partitions that nobody here has wanted for a while.
func (r *Router) leavePartitions() {
	for n := range r.partitions {
		p := &r.partitions[n]
		switch {
		case p.state != partitionLive || r.hub.Subscriptions(n) > 0:
			p.idleAt = 0
		case p.idleAt == 0:
			p.idleAt = max(1, r.tick)
		case r.tick-p.idleAt >= keepIdle:
			p.idleAt, p.state = 0, partitionOff
			r.hub.Shut(n)
			r.relay.Unuse(r.cfg.Loop, n)
		}
	}
}
