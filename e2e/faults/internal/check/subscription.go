package check

import (
	"fmt"
	"sort"

	"github.com/millracehq/millrace/gateway/stream"
)

// walk goes through what one subscriber got on one channel, beside the stream.
type walk struct {
	*judge
	subscriber int

	begun  bool
	ended  bool
	at     stream.ID // where the subscriber stands: its last position
	next   int       // the first of live that it is owed
	astray bool      // what it got last is not in the stream (any more): it is owed a gap
	last   Event     // what led it astray
	got    []bool    // by index in live
	missed []int32   // by index in live: 0, or 1 + the time at which a later one came without it, or atEnd
}

// subscription judges one subscriber. From a gap on it is owed what comes behind the gap's position, and nothing else. At the end
// of the history it must have everything.
func (c *judge) subscription(subscriber int, events []Event) {
	w := walk{judge: c, subscriber: subscriber, got: make([]bool, len(c.live)), missed: make([]int32, len(c.live))}
	for _, e := range events {
		switch e.Kind {
		case Subscribed:
			if !w.begun { // later ones only when it never had a position
				w.begun = true
				w.moveTo(e.ID)
			}
			w.ended = false
		case Resumed:
			w.ended = false
		case Delivered:
			w.delivered(e)
		case Gap:
			w.gap(e)
		case Ended:
			w.ended = true
		}
	}
	if !w.begun {
		if len(c.live) > 0 {
			c.found(Missing, &Entry{}, subscriber, None, "never subscribed")
		}
		return
	}
	if w.astray {
		w.found(Unannounced, &Entry{ID: w.last.ID, N: w.last.N}, subscriber, w.last.At, "delivered, not in the stream, and no gap by the end")
	}
	w.miss(len(c.live), atEnd)
	for i, missed := range w.missed {
		switch {
		case missed == 0:
		case missed != atEnd:
			c.found(Missing, &c.live[i], subscriber, missed-1, "a later one came without it")
		case w.ended:
			c.found(Missing, &c.live[i], subscriber, None, "not there at the end, when there was no subscription")
		default:
			c.found(Missing, &c.live[i], subscriber, None, "not there at the end")
		}
	}
}

// atEnd in walk.missed: no later one came either.
const atEnd int32 = -1

// after is the index of the first live entry behind id.
func (c *judge) after(id stream.ID) int {
	return sort.Search(len(c.live), func(i int) bool { return id.Before(c.live[i].ID) })
}

// moveTo makes id the position from which everything is owed.
func (w *walk) moveTo(id stream.ID) {
	w.at, w.next = id, w.after(id)
	clear(w.got[w.next:]) // a gap that goes back gives what is behind it once more
}

// miss notes what was owed before index to.
func (w *walk) miss(to int, when int32) {
	for ; w.next < to; w.next++ {
		w.missed[w.next] = when
	}
}

func (w *walk) delivered(e Event) {
	w.v.Deliveries++
	i := w.after(e.ID) - 1
	if i < 0 || w.live[i].ID != e.ID {
		// The stream lost it, or had it for so short a time that nobody else saw it. The subscriber did not do wrong, but before
		// it gets anything of the stream as it is now, it must be told.
		w.astray, w.last, w.at = true, e, e.ID
		return
	}
	if w.astray {
		w.astray = false
		w.found(Unannounced, &Entry{ID: w.last.ID, N: w.last.N}, w.subscriber, e.At, fmt.Sprintf("delivered, not in the stream, and %v came without a gap between", e.ID))
	}
	entry := &w.live[i]
	if entry.N != e.N {
		w.found(Altered, entry, w.subscriber, e.At, fmt.Sprintf("its body is that of %d", e.N))
	}
	switch {
	case i >= w.next:
		w.miss(i, e.At+1)
		w.next = i + 1
		w.at = e.ID
	case w.got[i]:
		w.found(DeliveredTwice, entry, w.subscriber, e.At, "the same entry again")
	default:
		w.missed[i] = 0 // it was late, not missing
		w.found(DeliveredBehind, entry, w.subscriber, e.At, fmt.Sprintf("came behind %v", w.at))
	}
	w.got[i] = true
}

func (w *walk) gap(e Event) {
	w.v.Gaps++
	if !w.needed(e) {
		w.v.Unneeded++
		if len(w.v.UnneededAt) < MaxFindings {
			w.v.UnneededAt = append(w.v.UnneededAt, Finding{
				Violation: "unneeded gap", Channel: w.ch.Name, ID: e.ID.String(), Subscriber: w.subscriber, Sent: None, Acked: None, At: e.At,
				Text: fmt.Sprintf("stood at %v", w.at),
			})
		}
	}
	w.astray = false
	w.begun = true
	w.moveTo(e.ID)
}

// needed reports whether there was a reason for a gap: the stream of the partition lost something from where the subscriber
// stood, or that place is so long ago that history need not have it.
func (w *walk) needed(e Event) bool {
	if w.astray {
		return true
	}
	if w.h.Limits.Age > 0 && int64(e.ID.MS)-int64(w.at.MS) > w.h.Limits.Age && w.at.MS > 0 {
		return true
	}
	all := w.h.Partitions[w.ch.Partition]
	from := sort.Search(len(all), func(i int) bool { return !all[i].ID.Before(w.at) })
	behind := 0
	for i := from; i < len(all); i++ {
		if all[i].Gone {
			return true
		}
		if !e.ID.Before(all[i].ID) {
			behind++
		}
	}
	return w.h.Limits.Entries > 0 && behind > w.h.Limits.Entries
}
