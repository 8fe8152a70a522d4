package route

import (
	"bytes"

	"github.com/millracehq/millrace/gateway/internal/auth"
	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/gateway/stream"
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
	p := &r.partitions[n]
	switch {
	case cmd.Presence:
		r.err(c, cmd.Ref, protocol.CodeNotFound, noPresence)
	case r.hub.Subscribed(c.FD, cmd.Channel) || p.waits(c, cmd.Channel) >= 0:
		r.err(c, cmd.Ref, protocol.CodeConflict, "already subscribed")
	case r.hub.Count(c.FD)+int(r.members.At(c.FD).waiting) >= r.cfg.MaxSubscriptions:
		r.err(c, cmd.Ref, protocol.CodeForbidden, "too many subscriptions on this connection")
	case p.state == partitionLive:
		r.subscribe(c, n, cmd.Ref, cmd.Answer, cmd.Channel, cmd.Position)
	case !r.relay.Up(n):
		r.err(c, cmd.Ref, protocol.CodeUnavailable, streamsDown)
	default:
		r.members.At(c.FD).waiting++
		p.waiting = append(p.waiting, waiting{c, cmd.Ref, cmd.Answer, bytes.Clone(cmd.Channel), bytes.Clone(cmd.Position)})
		if p.state == partitionOff {
			p.state = partitionAsked
			r.relay.Use(r.cfg.Loop, n)
		}
	}
}

const streamsDown = "the streams are down; try again"

// subscribe answers and adds the subscription: what the hub has for it from now on comes behind the answer. Where a
// position can be resumed from, the answer repeats it, so that a client that is cut off again before it has caught up
// resumes there.
func (r *Router) subscribe(c loop.Conn, n int, ref uint64, answer bool, channel, position []byte) {
	ns, _ := r.namespace(channel)
	now := r.hub.Position(n)
	from, err := stream.ParsePosition(position)
	if err != nil {
		from = stream.Position{}
	}
	at := from
	if from.Epoch != now.Epoch {
		at = now
	}
	var buf [stream.MaxPosition]byte
	r.ok(c, &protocol.Command{Ref: ref, Answer: answer}, at.Append(buf[:0]))
	if position == nil {
		r.hub.Subscribe(c.FD, channel, n, ns.Slow)
		return
	}
	r.hub.Resume(c.FD, channel, n, ns.Slow, from)
}

func (r *Router) unsub(c loop.Conn, cmd *protocol.Command) {
	p := &r.partitions[stream.Partition(cmd.Channel, len(r.partitions))]
	switch i := p.waits(c, cmd.Channel); {
	case i >= 0:
		r.err(c, p.waiting[i].ref, protocol.CodeConflict, "unsubscribed before it was answered")
		p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
		r.members.At(c.FD).waiting--
		r.ok(c, cmd, nil)
	case r.hub.Unsubscribe(c.FD, cmd.Channel):
		r.ok(c, cmd, nil)
	default:
		r.err(c, cmd.Ref, protocol.CodeNotFound, "not subscribed")
	}
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
	for _, w := range list {
		if r.stillWaits(w.conn) {
			r.subscribe(w.conn, o.Partition, w.ref, w.answer, w.channel, w.position)
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
	r.members.At(c.FD).waiting--
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
