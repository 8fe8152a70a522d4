package hub

import "github.com/millracehq/millrace/gateway/stream"

// sweep is one pass over the subscribers of all publications that waited. Its slices are used again and again.
type sweep struct {
	pends   []pend  // one per channel
	links   []link  // of connections to pends; 0 is never used
	touched []int32 // seats, in the order in which they are served
	at      int     // touched[at:] are still to be served
	packed  int     // bytes that were packed in this step
	looked  int32   // of approach, so that the compiler leaves its looks in
	scratch []byte
	batches []*Batch
}

// maxPacked is how many bytes may be packed before a step ends: some ms of work.
const maxPacked = 256 << 10

// near is how many connections are said to be next at a time.
const near = 16

// pend is what one channel has for its subscribers.
type pend struct {
	ch     *channel
	before stream.ID // where the partition stood before the first of them
	frames []waiting
	joined [forms][]byte // all frames in one form, shared by the subscribers that take it; nil: nobody has asked yet
	skips  []skip
}

// waiting is one publication of a pend.
type waiting struct {
	plain  []byte
	packed Packed
	kept   uint64 // its number in the window
	asked  bool   // its packed form has been, in this sweep
}

const (
	plain = iota
	packed
	forms
)

type skip struct {
	seat  int32
	frame int
}

type link struct{ pend, next int32 }

// Take queues a batch for the next sweep.
func (h *Hub) Take(b *Batch) { h.queue = append(h.queue, b) }

// Step serves at most limit connections, fewer where much is packed for them, and reports whether there is more to do.
func (h *Hub) Step(limit int) (more bool) {
	s := &h.sweep
	if s.at == len(s.touched) {
		if len(h.queue) == 0 {
			return false
		}
		h.begin()
	}
	end := min(s.at+limit, len(s.touched))
	for s.packed = 0; s.at < end && s.packed < maxPacked; {
		if s.at%near == 0 {
			h.approach(s.touched[s.at:min(s.at+near, len(s.touched))])
		}
		seat := s.touched[s.at]
		s.at++
		h.serve(seat)
	}
	if s.at == len(s.touched) {
		h.end()
	}
	return s.at < len(s.touched) || len(h.queue) > 0
}

// approach looks at all that is kept of connections that are served next. It has been pushed out of the caches by what was sent since begin, and
// the processor waits for many as long as for one.
func (h *Hub) approach(seats []int32) {
	for _, seat := range seats {
		h.sweep.looked += h.members.At(seat).touch
	}
	h.conns.Near(seats)
}

// Finish serves everything that waits.
func (h *Hub) Finish() {
	for h.Step(1 << 30) {
	}
}

// begin takes all batches that wait: from here on they count as delivered.
func (h *Hub) begin() {
	s := &h.sweep
	s.batches, h.queue = h.queue, s.batches[:0]
	for _, b := range s.batches {
		for i := range b.Publications {
			h.prepare(&b.Publications[i])
		}
		for _, c := range b.Cursors {
			h.windows[c.Partition].at = c.ID
		}
	}
	if len(s.links) == 0 {
		s.links = append(s.links, link{})
	}
	for i := range s.pends {
		p := &s.pends[i]
		p.ch.pend = 0
		h.Delivered += uint64(len(p.frames) * (len(p.ch.subs) - int(p.ch.chasing)))
		for _, sub := range p.ch.subs {
			if p.ch.chasing > 0 && h.chasers[sub.sub] != nil {
				continue
			}
			m := h.members.At(sub.seat)
			if m.touch == 0 {
				s.touched = append(s.touched, sub.seat)
			}
			s.links = append(s.links, link{pend: int32(i), next: m.touch})
			m.touch = int32(len(s.links) - 1)
		}
	}
	if h.ahead {
		h.arrive()
	}
}

// prepare keeps a publication and adds it to what its channel has in this sweep.
func (h *Hub) prepare(pub *Publication) {
	s := &h.sweep
	kept := h.keep(*pub)
	ch := h.channels[pub.Channel]
	if ch == nil {
		return
	}
	h.Published++
	if ch.pend == 0 {
		if len(s.pends) < cap(s.pends) {
			s.pends = s.pends[:len(s.pends)+1] // with the slices of its last use
		} else {
			s.pends = append(s.pends, pend{})
		}
		ch.pend = int32(len(s.pends))
		s.pends[ch.pend-1].ch, s.pends[ch.pend-1].before = ch, h.windows[ch.partition].at
	}
	p := &s.pends[ch.pend-1]
	if pub.Skip != "" {
		if seat, ok := h.conns.Find(pub.Skip); ok {
			p.skips = append(p.skips, skip{seat: seat, frame: len(p.frames)})
		}
	}
	p.frames = append(p.frames, waiting{plain: pub.Frame, packed: pub.Packed, kept: kept})
}

// join is all frames of p in the form for a connection: one allocation per channel, form and sweep, none when there is one
// frame only.
func (h *Hub) join(p *pend, packs bool) []byte {
	as := plain
	if packs {
		as = packed
	}
	if p.joined[as] == nil {
		if len(p.frames) == 1 {
			p.joined[as] = h.form(p, 0, packs)
			return p.joined[as]
		}
		n := 0
		for i := range p.frames {
			n += len(h.form(p, i, packs))
		}
		b := make([]byte, 0, n)
		for i := range p.frames {
			b = append(b, h.form(p, i, packs)...)
		}
		p.joined[as] = b
	}
	return p.joined[as]
}

// form is frame i of p for a connection. Where it is packed for the first time, the window has grown by that.
func (h *Hub) form(p *pend, i int, packs bool) []byte {
	f := &p.frames[i]
	if !packs || f.packed == nil {
		return f.plain
	}
	b := f.packed.Frame()
	if !f.asked {
		f.asked = true
		h.sweep.packed += len(f.plain)
		if len(b) < len(f.plain) {
			h.bytes += h.windows[p.ch.partition].grow(f.kept, len(b))
		}
	}
	return b
}

// serve sends a connection all it has in this sweep, in one push.
func (h *Hub) serve(seat int32) {
	s := &h.sweep
	m := h.members.At(seat)
	first := m.touch
	if first == 0 {
		return // it has gone meanwhile
	}
	m.touch = 0
	l := s.links[first]
	if p := &s.pends[l.pend]; l.next == 0 && len(p.skips) == 0 {
		if !h.conns.Push(seat, h.join(p, m.packs())) {
			h.overflow(seat, first)
		}
		return
	}
	s.scratch = s.scratch[:0]
	for i := first; i != 0; i = s.links[i].next {
		s.scratch = h.appendFor(s.scratch, &s.pends[s.links[i].pend], seat, m.packs())
	}
	if len(s.scratch) > 0 && !h.conns.PushCopy(seat, s.scratch) {
		h.overflow(seat, first)
	}
}

// overflow deals with a connection that cannot take what it has in this sweep: subscriptions whose policy is to lose
// something go on as chasers, and if the rest does not fit either, the connection ends.
func (h *Hub) overflow(seat, first int32) {
	s := &h.sweep
	s.scratch = s.scratch[:0]
	packs := h.members.At(seat).packs()
	for i := first; i != 0; i = s.links[i].next {
		p := &s.pends[s.links[i].pend]
		if p.ch.policy == Close {
			s.scratch = h.appendFor(s.scratch, p, seat, packs)
			continue
		}
		sub := h.find(h.members.At(seat), []byte(p.ch.name))
		h.chase(sub, chaser{seat: seat, at: p.before, lossy: true})
	}
	if len(s.scratch) > 0 && !h.conns.PushCopy(seat, s.scratch) {
		h.conns.Slow(seat)
	}
}

// appendFor appends the frames that the connection on seat must get.
func (h *Hub) appendFor(dst []byte, p *pend, seat int32, packs bool) []byte {
	if len(p.skips) == 0 {
		return append(dst, h.join(p, packs)...)
	}
frames:
	for i := range p.frames {
		for _, s := range p.skips {
			if s.seat == seat && s.frame == i {
				continue frames
			}
		}
		dst = append(dst, h.form(p, i, packs)...)
	}
	return dst
}

// forget takes the publications of ch back from a connection that has not been served yet.
func (s *sweep) forget(m *member, ch *channel) {
	for i := &m.touch; *i != 0; i = &s.links[*i].next {
		if s.pends[s.links[*i].pend].ch == ch {
			*i = s.links[*i].next
			return
		}
	}
}

// maxScratch is the largest join buffer that is kept.
const maxScratch = 1 << 20

func (h *Hub) end() {
	s := &h.sweep
	for i := range s.pends {
		p := &s.pends[i]
		clear(p.frames)
		p.ch, p.joined, p.frames, p.skips = nil, [forms][]byte{}, p.frames[:0], p.skips[:0]
	}
	for _, b := range s.batches {
		if b.Done != nil {
			b.Done(b)
		}
	}
	clear(s.batches)
	s.batches, s.pends, s.links, s.touched, s.at = s.batches[:0], s.pends[:0], s.links[:0], s.touched[:0], 0
	if cap(s.scratch) > maxScratch {
		s.scratch = nil
	}
}
