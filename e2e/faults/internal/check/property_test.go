package check

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
)

// randomHistory is clean by construction: it is played forward by a stream that keeps its promises, through failovers that take
// entries away, publishers that repeat, and subscribers that come and go.
func randomHistory(r *rand.Rand) *History {
	h := &History{Partitions: make([][]Entry, 1+r.IntN(2)), Limits: Limits{Entries: 1000, Age: 60_000}}
	p := player{r: r, h: h}
	for c := range 1 + r.IntN(3) {
		h.Channels = append(h.Channels, Channel{
			Name: fmt.Sprint("c", c), Direct: c%2 == 1, Partition: c % len(h.Partitions), Subs: make([][]Event, 1+r.IntN(3)),
		})
		p.subs = append(p.subs, make([]follower, len(h.Channels[c].Subs)))
	}
	for c := range h.Channels {
		for s := range h.Channels[c].Subs {
			p.event(c, s, Event{Kind: Subscribed})
		}
	}
	for range 10 + r.IntN(60) {
		p.step()
	}
	for c := range h.Channels {
		for s := range h.Channels[c].Subs {
			p.resume(c, s)
			p.deliver(c, s, 1000)
		}
	}
	return h
}

type player struct {
	r    *rand.Rand
	h    *History
	now  uint64
	subs [][]follower
}

// follower is one subscriber on one channel.
type follower struct {
	at  stream.ID
	off bool
	due bool // the stream was set back: a gap comes before anything else
}

func (p *player) step() {
	c := p.r.IntN(len(p.h.Channels))
	s := p.r.IntN(len(p.h.Channels[c].Subs))
	switch p.r.IntN(12) {
	case 0:
		p.event(c, s, Event{Kind: Ended})
		p.subs[c][s].off = true
	case 1:
		p.resume(c, s)
	case 2:
		p.gap(c, s)
	case 3:
		p.failover(p.h.Channels[c].Partition)
	case 4, 5, 6:
		p.deliver(c, s, p.r.IntN(5))
	default:
		p.publish(c)
	}
}

// publish stores the next publication, or what a failover took before it could be acknowledged.
func (p *player) publish(c int) {
	ch := &p.h.Channels[c]
	n := len(ch.Published)
	if n == 0 || ch.Published[n-1].Acked != None {
		ch.Published = append(ch.Published, Publication{Sent: int32(p.now), Acked: None})
		n++
	}
	pub := &ch.Published[n-1]
	copies := 1
	if ch.Direct {
		copies += p.r.IntN(2)
	}
	pub.Sends += uint32(copies)
	for range copies {
		p.now += 1 + uint64(p.r.IntN(3))
		part := &p.h.Partitions[ch.Partition]
		*part = append(*part, Entry{ID: stream.ID{MS: p.now}, Channel: uint32(c), N: uint32(n)})
	}
	if p.r.IntN(5) > 0 {
		pub.Acked = int32(p.now)
	}
	if pub.Acked == None && !ch.Direct { // a repetition would be dropped: it is the same entry that is acknowledged
		pub.Acked = int32(p.now)
	}
}

// failover takes away the newest entry of a partition when it may be taken: nobody was told that it is safe.
func (p *player) failover(partition int) {
	entries := p.h.Partitions[partition]
	if len(entries) == 0 {
		return
	}
	last := &entries[len(entries)-1]
	if last.Gone {
		return
	}
	last.Gone = true
	ch := &p.h.Channels[last.Channel]
	if ch.Published[last.N-1].Acked != None { // the effect is redone from `in`, or there is a copy that was replicated
		p.now++
		p.h.Partitions[partition] = append(entries, Entry{ID: stream.ID{MS: p.now}, Channel: last.Channel, N: last.N})
		if ch.Direct {
			ch.Published[last.N-1].Sends++
		}
	}
	for c := range p.h.Channels {
		if p.h.Channels[c].Partition == partition {
			for s := range p.subs[c] {
				p.subs[c][s].due = p.subs[c][s].due || !p.subs[c][s].at.Before(last.ID)
			}
		}
	}
}

func (p *player) resume(c, s int) {
	if p.subs[c][s].off {
		p.subs[c][s].off = false
		p.event(c, s, Event{Kind: Resumed})
	}
}

func (p *player) gap(c, s int) {
	if !p.subs[c][s].off {
		p.event(c, s, Event{Kind: Gap, ID: stream.ID{MS: p.now}})
	}
}

func (p *player) deliver(c, s, most int) {
	sub := &p.subs[c][s]
	if sub.off {
		return
	}
	if sub.due {
		p.gap(c, s)
		return
	}
	for _, e := range p.h.Partitions[p.h.Channels[c].Partition] {
		if most > 0 && !e.Gone && int(e.Channel) == c && sub.at.Before(e.ID) {
			p.event(c, s, Event{Kind: Delivered, ID: e.ID, N: e.N})
			most--
		}
	}
}

func (p *player) event(c, s int, e Event) {
	e.At = int32(p.now)
	sub := &p.subs[c][s]
	if e.Kind == Delivered || e.Kind == Gap || e.Kind == Subscribed {
		sub.at = e.ID
	}
	if e.Kind == Gap {
		sub.due = false
	}
	p.h.Channels[c].Subs[s] = append(p.h.Channels[c].Subs[s], e)
}

func TestCleanHistoriesPass(t *testing.T) {
	gaps := 0
	for seed := range uint64(5000) {
		h := randomHistory(rand.New(rand.NewPCG(seed, 1)))
		v := Check(h)
		if !v.Clean() {
			t.Fatalf("seed %d: %+v\n%+v", seed, v.Findings, h)
		}
		gaps += v.Gaps
	}
	if gaps == 0 {
		t.Fatal("there were no gaps")
	}
}

// TestEachMutationIsFound breaks one promise in a clean history, at a random place.
func TestEachMutationIsFound(t *testing.T) {
	for name, m := range mutations {
		t.Run(name, func(t *testing.T) {
			applied := 0
			for seed := range uint64(3000) {
				r := rand.New(rand.NewPCG(seed, 2))
				h := randomHistory(r)
				want, ok := m(r, h)
				if !ok {
					continue
				}
				applied++
				if v := Check(h); v.Violations[want] == 0 {
					t.Fatalf("seed %d: %s was not found: %+v\n%+v", seed, want, v.Findings, h)
				}
			}
			if applied < 100 {
				t.Fatalf("applied %d times only", applied)
			}
		})
	}
}

// mutations break a history, if they find a place for it, and say what is to be found.
var mutations = map[string]func(r *rand.Rand, h *History) (Violation, bool){
	"take all entries of an acknowledged publication": func(r *rand.Rand, h *History) (Violation, bool) {
		c := r.IntN(len(h.Channels))
		ch := &h.Channels[c]
		if len(ch.Published) == 0 {
			return Lost, false
		}
		n := 1 + r.IntN(len(ch.Published))
		part := &h.Partitions[ch.Partition]
		*part = slices.DeleteFunc(*part, func(e Entry) bool { return int(e.Channel) == c && int(e.N) == n })
		return Lost, ch.Published[n-1].Acked != None
	},
	"store once more": func(r *rand.Rand, h *History) (Violation, bool) {
		part, i, ok := randomEntry(r, h)
		if !ok {
			return Twice, false
		}
		e := (*part)[i]
		e.ID.Seq++
		h.Channels[e.Channel].Direct = false
		*part = slices.Insert(*part, i+1, e)
		return Twice, true
	},
	"swap two publications in the stream": func(r *rand.Rand, h *History) (Violation, bool) {
		part, i, ok := randomEntry(r, h)
		if !ok {
			return Disorder, false
		}
		for j := i + 1; j < len(*part); j++ {
			a, b := &(*part)[i], &(*part)[j]
			if !b.Gone && b.Channel == a.Channel && b.N != a.N && !h.Channels[a.Channel].Direct {
				a.N, b.N = b.N, a.N
				return Disorder, true
			}
		}
		return Disorder, false
	},
	"do not deliver": func(r *rand.Rand, h *History) (Violation, bool) {
		sub, i, ok := randomDelivery(r, h)
		if !ok {
			return Missing, false
		}
		next := slices.IndexFunc((*sub)[i+1:], func(e Event) bool { return e.Kind == Gap })
		later := slices.IndexFunc((*sub)[i+1:], func(e Event) bool { return e.Kind == Delivered })
		if next >= 0 && (later < 0 || next < later) || isGone(h, (*sub)[i].ID) || later >= 0 && isGone(h, (*sub)[i+1+later].ID) {
			return Missing, false
		}
		*sub = slices.Delete(*sub, i, i+1)
		return Missing, true
	},
	"deliver twice": func(r *rand.Rand, h *History) (Violation, bool) {
		sub, i, ok := randomDelivery(r, h)
		if !ok || isGone(h, (*sub)[i].ID) {
			return DeliveredTwice, false
		}
		*sub = slices.Insert(*sub, i+1, (*sub)[i])
		return DeliveredTwice, true
	},
	"deliver in another order": func(r *rand.Rand, h *History) (Violation, bool) {
		sub, i, ok := randomDelivery(r, h)
		if !ok || i+1 == len(*sub) || (*sub)[i+1].Kind != Delivered || isGone(h, (*sub)[i].ID) || isGone(h, (*sub)[i+1].ID) {
			return DeliveredBehind, false
		}
		(*sub)[i], (*sub)[i+1] = (*sub)[i+1], (*sub)[i]
		return DeliveredBehind, true
	},
	"deliver another body": func(r *rand.Rand, h *History) (Violation, bool) {
		sub, i, ok := randomDelivery(r, h)
		if !ok || isGone(h, (*sub)[i].ID) {
			return Altered, false
		}
		(*sub)[i].N++
		return Altered, true
	},
	"deliver what is in no stream": func(r *rand.Rand, h *History) (Violation, bool) {
		sub, i, ok := randomDelivery(r, h)
		if !ok {
			return Unannounced, false
		}
		e := (*sub)[i]
		e.ID.Seq += 7
		if rest := (*sub)[i+1:]; len(rest) > 0 && (rest[0].Kind != Delivered || isGone(h, rest[0].ID)) {
			return Unannounced, false // a gap may follow
		}
		*sub = slices.Insert(*sub, i+1, e)
		return Unannounced, true
	},
	"publish from nowhere": func(r *rand.Rand, h *History) (Violation, bool) {
		part, i, ok := randomEntry(r, h)
		if ok {
			(*part)[i].N = 1000
		}
		return Invented, ok
	},
}

func randomEntry(r *rand.Rand, h *History) (part *[]Entry, i int, ok bool) {
	part = &h.Partitions[r.IntN(len(h.Partitions))]
	if len(*part) == 0 {
		return part, 0, false
	}
	i = r.IntN(len(*part))
	return part, i, !(*part)[i].Gone
}

func randomDelivery(r *rand.Rand, h *History) (sub *[]Event, i int, ok bool) {
	ch := &h.Channels[r.IntN(len(h.Channels))]
	sub = &ch.Subs[r.IntN(len(ch.Subs))]
	i = r.IntN(len(*sub))
	return sub, i, (*sub)[i].Kind == Delivered
}

func isGone(h *History, id stream.ID) bool {
	for _, part := range h.Partitions {
		for _, e := range part {
			if e.ID == id && e.Gone {
				return true
			}
		}
	}
	return false
}
