package hub

import (
	"slices"

	"github.com/millracehq/millrace/gateway/stream"
)

// Policy is what becomes of a subscriber that does not read as fast as its channel is published to.
type Policy uint8

// Policies.
const (
	Close      Policy = iota // its connection is closed; it may resume
	DropOldest               // it loses the oldest of what waits for it, and is told by a gap
	Latest                   // it gets the newest publication only, and is told by a gap
)

// chaser is a subscription that is not live: it resumes from a position, or was too slow. It gets publications as its
// connection takes them, until it has caught up, and only then what is swept.
//
//	resume ─┬─▶ room ──(in the window)──▶ live
//	        ├─▶ older ──(from the stream)──▶ room
//	        └─▶ ahead ──(the partition gets there)──▶ room      its last gateway was faster than this one
//	live ──(too slow, by policy)──▶ room ──(gap)──▶ live
type chaser struct {
	seat  int32
	at    stream.ID // it has everything up to here
	wait  wait
	lossy bool   // it was live and too slow: the policy says what it misses
	lost  bool   // its epoch has ended meanwhile
	since uint32 // tick of its last progress
}

type wait uint8

const (
	waitRoom wait = iota
	waitOlder
	waitAhead
)

// GapReason says why a subscriber was told of a gap; it is a label of metrics.
type GapReason uint8

// Reasons of gaps.
const (
	GapHistory GapReason = iota // the position is older than what the stream keeps, or is none
	GapEpoch                    // the stream was lost or went back in time
	GapSlow                     // the subscriber was too slow
	GapReasons
)

func (g GapReason) String() string { return [GapReasons]string{"history", "epoch", "slow"}[g] }

// Seconds without progress after which a chaser is given up.
const (
	aheadSeconds = 5  // the partition should have got there long ago
	stuckSeconds = 30 // it takes nothing
)

// Resume subscribes a connection from a position on: it gets everything that came after, or a gap. It must be called after the
// answer to the sub has been given.
func (h *Hub) Resume(seat int32, name []byte, partition int, policy Policy, from stream.Position) {
	if !h.Subscribe(seat, name, partition, policy) {
		return
	}
	w := &h.windows[partition]
	i := h.members.At(seat).first // the one just made
	switch {
	case from.Epoch == 0:
		h.gap(i, seat, w.at, GapHistory)
	case from.Epoch != w.epoch:
		h.gap(i, seat, w.at, GapEpoch)
	case from.ID != w.at:
		h.chase(i, chaser{seat: seat, at: from.ID})
		h.advance(i)
	}
}

// chase makes subscription i a chaser.
func (h *Hub) chase(i int32, as chaser) {
	c := h.spare
	if h.spare = nil; c == nil {
		c = new(chaser)
	}
	*c = as
	c.since = h.tick
	h.chasers[i] = c
	h.subs.all[i].ch.chasing++
}

// catchUp makes subscription i live.
func (h *Hub) catchUp(i int32) {
	h.spare = h.chasers[i]
	delete(h.chasers, i)
	h.subs.all[i].ch.chasing--
}

// gap tells the subscriber that publications before at are lost to it.
func (h *Hub) gap(i, seat int32, at stream.ID, why GapReason) {
	ch := h.subs.all[i].ch
	h.Gaps[why]++
	h.conns.Gap(seat, ch.name, h.windows[ch.partition].position(at))
}

// advance gives a chaser as much as it takes.
func (h *Hub) advance(i int32) {
	c := h.chasers[i]
	ch := h.subs.all[i].ch
	w := &h.windows[ch.partition]
	switch {
	case c.lossy:
		h.skipAhead(i, c)
	case w.at.Before(c.at):
		c.wait, h.ahead = waitAhead, true
	case c.at.Before(w.floor):
		c.wait = waitOlder
		h.askOlder(int(ch.partition))
	default:
		frames, packs := h.frames[:0], h.members.At(c.seat).packs()
		for k := w.get(w.newest(ch.name)); k != nil && c.at.Before(k.ID); k = w.get(k.prev) {
			if !h.skips(k.Skip, c.seat) {
				frames = append(frames, frameAt{form(&k.Publication, packs), k.ID})
			}
		}
		slices.Reverse(frames)
		if h.give(c, frames, w.at) {
			h.catchUp(i)
		}
		h.keepFrames(frames)
	}
}

// frameAt is one publication on its way to a chaser.
type frameAt struct {
	frame []byte
	id    stream.ID
}

// give pushes as many of the frames as the connection takes and moves the chaser on. It reports whether that was all, so
// that it stands at end. When it was not, something waits for the connection, and Drained comes.
func (h *Hub) give(c *chaser, frames []frameAt, end stream.ID) (all bool) {
	c.wait = waitRoom
	for len(frames) > 0 {
		room, idle := h.conns.Room(c.seat)
		b, n := h.joined[:0], 0
		for ; n < len(frames) && (len(b)+len(frames[n].frame) <= room || n == 0 && idle); n++ {
			b = append(b, frames[n].frame...)
		}
		h.keepJoined(b)
		if n == 0 || !h.conns.PushCopy(c.seat, b) {
			return false
		}
		h.Replayed += uint64(n)
		c.at, c.since = frames[n-1].id, h.tick
		frames = frames[n:]
	}
	c.at = end
	return true
}

// skipAhead makes a subscriber that was too slow live again: it gets the newest publications, and before them a gap if
// there were more.
func (h *Hub) skipAhead(i int32, c *chaser) {
	ch := h.subs.all[i].ch
	w := &h.windows[ch.partition]
	c.wait = waitRoom
	room, idle := h.conns.Room(c.seat)
	if !idle {
		return
	}
	frames, size, packs := h.frames[:0], 0, h.members.At(c.seat).packs()
	missed, before := c.lost || c.at.Before(w.floor), w.floor
	for k := w.get(w.newest(ch.name)); k != nil && (c.lost || c.at.Before(k.ID)); k = w.get(k.prev) {
		if h.skips(k.Skip, c.seat) {
			continue
		}
		b := form(&k.Publication, packs)
		if size += len(b); len(frames) > 0 && (ch.policy == Latest || size > room/2) {
			missed, before = true, k.ID
			break
		}
		frames = append(frames, frameAt{b, k.ID})
	}
	slices.Reverse(frames)
	if missed {
		h.gap(i, c.seat, before, GapSlow)
		c.at, c.lost = before, false
	}
	if h.give(c, frames, w.at) {
		h.catchUp(i)
	}
	h.keepFrames(frames)
}

// skips reports whether a publication is not for the connection on seat.
func (h *Hub) skips(session string, seat int32) bool {
	if session == "" {
		return false
	}
	found, ok := h.conns.Find(session)
	return ok && found == seat
}

func (h *Hub) keepFrames(f []frameAt) {
	clear(f)
	if h.frames = f[:0]; cap(f) > 4096 {
		h.frames = nil
	}
}

func (h *Hub) keepJoined(b []byte) {
	if h.joined = b; cap(b) > maxScratch {
		h.joined = nil
	}
}

// Drained says that a connection has been sent all that waited for it.
func (h *Hub) Drained(seat int32) {
	if len(h.chasers) == 0 {
		return
	}
	for i := h.members.At(seat).first; i != 0; i = h.subs.all[i].next {
		if c := h.chasers[i]; c != nil && c.wait == waitRoom {
			h.advance(i)
		}
	}
}

// Tick is called once a second with a clock that counts them, and unix ms.
func (h *Hub) Tick(tick uint32, nowMS int64) {
	h.tick = tick
	for p := range h.windows {
		h.bytes -= h.windows[p].expire(uint64(max(0, nowMS-h.cfg.WindowTime.Milliseconds())))
	}
	for i, c := range h.chasers {
		_, idle := h.conns.Room(c.seat)
		switch idleFor := tick - c.since; {
		case c.wait == waitAhead && idleFor >= aheadSeconds:
			ch := h.subs.all[i].ch
			h.catchUp(i)
			h.gap(i, c.seat, h.windows[ch.partition].at, GapHistory)
		case c.wait == waitRoom && idle:
			h.advance(i)
		case c.wait == waitRoom && !c.lossy && idleFor >= stuckSeconds:
			h.conns.Slow(c.seat)
		case c.wait == waitOlder:
			h.askOlder(int(h.subs.all[i].ch.partition))
		}
	}
}

// arrive moves those on that wait for a partition to get where they are.
func (h *Hub) arrive() {
	h.ahead = false
	for i, c := range h.chasers {
		if c.wait == waitAhead {
			h.advance(i)
		}
	}
}
