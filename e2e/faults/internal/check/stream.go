package check

import (
	"fmt"
)

// Check judges a history.
func Check(h *History) *Verdict {
	v := &Verdict{Violations: map[Violation]int{}}
	live := make([][]Entry, len(h.Channels))
	for _, entries := range h.Partitions {
		for _, e := range entries {
			if e.Gone {
				v.Gone++
				continue
			}
			v.Entries++
			live[e.Channel] = append(live[e.Channel], e)
		}
	}
	for i := range h.Channels {
		c := judge{v: v, h: h, ch: &h.Channels[i], live: live[i]}
		c.stream()
		for s, events := range c.ch.Subs {
			c.subscription(s+1, events)
		}
	}
	return v
}

// judge is about one channel.
type judge struct {
	v    *Verdict
	h    *History
	ch   *Channel
	live []Entry // of the channel, by rising ID, without those that are gone
}

// stream compares what was published with what is in the stream.
//
// The publisher of a channel waits for each acknowledgement. So the copy of n that was acknowledged is stored before n+1
// is sent for the first time, and the first entry of n stands before the first of n+1, however often either was repeated.
func (c *judge) stream() {
	copies := make([]uint32, len(c.ch.Published)+1)
	newest := uint32(0)
	for i := range c.live {
		e := &c.live[i]
		if e.N == 0 || int(e.N) > len(c.ch.Published) {
			c.found(Invented, e, 0, None, "an entry that nobody published")
			continue
		}
		copies[e.N]++
		if copies[e.N] > 1 {
			c.again(e, copies[e.N])
			continue
		}
		if e.N < newest {
			c.found(Disorder, e, 0, None, fmt.Sprintf("stands behind %d", newest))
		}
		newest = max(newest, e.N)
	}
	for i := range c.ch.Published {
		p := &c.ch.Published[i]
		n := uint32(i + 1)
		c.v.Published++
		if p.Sends > 1 {
			c.v.Repeated++
		}
		if p.Acked == None {
			continue
		}
		c.v.Acknowledged++
		if copies[n] == 0 {
			c.found(Lost, &Entry{N: n}, 0, p.Acked, "acknowledged, and in no stream")
		}
	}
}

// again is about the second and later entries of one publication. Behind a backend there must be none. A direct one has
// as many as its publisher sent at most: it may have been stored although the acknowledgement was lost.
func (c *judge) again(e *Entry, copies uint32) {
	if sends := c.ch.Published[e.N-1].Sends; c.ch.Direct && copies <= sends {
		c.v.Copies++
		return
	}
	c.found(Twice, e, 0, None, fmt.Sprintf("entry number %d of this publication", copies))
}

func (c *judge) found(kind Violation, e *Entry, subscriber int, at int32, text string) {
	f := Finding{Violation: kind, Channel: c.ch.Name, N: e.N, Subscriber: subscriber, Sent: None, Acked: None, At: at, Text: text}
	if e.ID.MS != 0 {
		f.ID = e.ID.String()
	}
	if e.N > 0 && int(e.N) <= len(c.ch.Published) {
		p := c.ch.Published[e.N-1]
		f.Sent, f.Acked, f.Sends = p.Sent, p.Acked, p.Sends
	}
	c.v.add(f)
}
