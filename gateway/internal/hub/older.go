package hub

import "github.com/millracehq/millrace/gateway/stream"

// Past is a part of a partition's stream that the window does not hold any more.
type Past struct {
	Partition    int
	Epoch        stream.Epoch
	From         stream.ID // as asked
	First        stream.ID // oldest entry there is, not before From; zero: none
	To           stream.ID // the part ends here
	Publications []Publication
	Err          error
}

// askOlder asks for what the chasers of a partition need that is older than its window, once for all of them.
func (h *Hub) askOlder(partition int) {
	w := &h.windows[partition]
	if w.asking {
		return
	}
	from := stream.Last
	for i, c := range h.chasers {
		if c.wait == waitOlder && int(h.subs.all[i].ch.partition) == partition && c.at.Before(from) {
			from = c.at
		}
	}
	if from != stream.Last {
		w.asking = true
		h.conns.Older(partition, from, w.at)
	}
}

// Older gives chasers what was asked for.
func (h *Hub) Older(p *Past) {
	w := &h.windows[p.Partition]
	if p.Epoch != w.epoch {
		return // the window was opened anew meanwhile, and its chasers have their gap
	}
	w.asking = false
	if p.Err != nil {
		return // asked again by Tick
	}
	for i, c := range h.chasers {
		ch := h.subs.all[i].ch
		if c.wait != waitOlder || int(ch.partition) != p.Partition || c.at.Before(p.From) || p.To.Before(c.at) {
			continue // not concerned, or when it is asked again
		}
		if c.at.Before(p.First) || p.First == (stream.ID{}) { // the entry at which it stood has gone: others may have, too
			h.catchUp(i)
			h.gap(i, c.seat, w.at, GapHistory)
			continue
		}
		frames := h.frames[:0] // plain ones: what is read of the past is read for a few
		for k := range p.Publications {
			if pub := &p.Publications[k]; pub.Channel == ch.name && c.at.Before(pub.ID) && !h.skips(pub.Skip, c.seat) {
				frames = append(frames, frameAt{pub.Frame, pub.ID})
			}
		}
		all := h.give(c, frames, p.To)
		h.keepFrames(frames)
		if all {
			h.advance(i)
		}
	}
	h.askOlder(p.Partition)
}
