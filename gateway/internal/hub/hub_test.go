package hub

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
)

// fakeConns records what each connection got.
type fakeConns struct {
	got    map[int32][]string
	pushes int
}

func (f *fakeConns) Push(seat int32, b []byte) bool {
	f.pushes++
	f.got[seat] = append(f.got[seat], strings.Fields(string(b))...)
	return true
}
func (f *fakeConns) PushCopy(seat int32, b []byte) bool { return f.Push(seat, bytes.Clone(b)) }
func (f *fakeConns) Near([]int32)                       {}
func (f *fakeConns) Room(int32) (int, bool)             { return 1 << 20, true }
func (f *fakeConns) Gap(int32, string, stream.Position) { panic("a gap") }
func (f *fakeConns) Slow(int32)                         { panic("too slow") }
func (f *fakeConns) Older(int, stream.ID, stream.ID)    { panic("older") }
func (f *fakeConns) Find(session string) (int32, bool) {
	var seat int32
	_, err := fmt.Sscanf(session, "s%d", &seat)
	return seat, err == nil
}

func newTestHub() (*Hub, *fakeConns) {
	f := &fakeConns{got: map[int32][]string{}}
	return New(Config{Partitions: 4}, f), f
}

func publication(channel, word, skip string) Publication {
	return Publication{Channel: channel, Frame: []byte(word + " "), Skip: skip}
}

func TestOnePushPerConnectionAndSweep(t *testing.T) {
	h, f := newTestHub()
	for seat := int32(10); seat < 13; seat++ {
		for _, ch := range []string{"a", "b", "c"} {
			h.Subscribe(seat, []byte(ch), 0, Close)
		}
	}
	h.Take(&Batch{Publications: []Publication{publication("a", "a1", ""), publication("b", "b1", "s11"), publication("a", "a2", ""), publication("z", "z1", "")}})
	h.Take(&Batch{Publications: []Publication{publication("b", "b2", "")}, Cursors: []Cursor{{Partition: 2, ID: stream.ID{MS: 7}}}})
	for h.Step(2) {
	}
	if f.pushes != 3 {
		t.Errorf("%d pushes for 3 connections", f.pushes)
	}
	for seat, want := range map[int32]int{10: 4, 11: 3, 12: 4} {
		if len(f.got[seat]) != want {
			t.Errorf("connection %d got %v", seat, f.got[seat])
		}
	}
	if h.Position(2).ID != (stream.ID{MS: 7}) {
		t.Errorf("position %v", h.Position(2))
	}
}

// A subscription made while a batch waits gets it; one made while its sweep is under way does not.
func TestSubscribeDuringASweep(t *testing.T) {
	h, f := newTestHub()
	h.Subscribe(10, []byte("a"), 0, Close)
	h.Subscribe(11, []byte("a"), 0, Close)
	h.Take(&Batch{Publications: []Publication{publication("a", "a1", "")}})
	h.Subscribe(12, []byte("a"), 0, Close)
	h.Step(1)
	h.Subscribe(13, []byte("a"), 0, Close)
	h.Unsubscribe(11, []byte("a"))
	for h.Step(1) {
	}
	if len(f.got[10]) != 1 || len(f.got[11]) != 0 || len(f.got[12]) != 1 || len(f.got[13]) != 0 {
		t.Fatalf("got %v", f.got)
	}
}

type key struct {
	seat, life int32
	channel    string
}

// The hub against a naive model under random subscriptions, publications, ends and steps of any size: per connection
// and channel everything arrives once and in order; one that left in a sweep may miss the rest of that sweep only.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h, f := newTestHub()
		subs := map[key]bool{}
		want, got := map[key][]string{}, map[key][]string{}
		ended := map[key]bool{}
		life := map[int32]int32{}
		var waiting []Publication
		next := 0
		step := func(limit int) bool {
			if len(h.sweep.touched) == 0 && len(h.queue) > 0 { // a sweep begins now
				for _, p := range waiting {
					for k := range subs {
						if k.channel == p.Channel && p.Skip != fmt.Sprintf("s%d", k.seat) {
							want[k] = append(want[k], strings.TrimSpace(string(p.Frame)))
						}
					}
				}
				waiting = nil
			}
			more := h.Step(limit)
			for seat, words := range f.got {
				for _, w := range words {
					ch, _, _ := strings.Cut(w, "-")
					k := key{seat, life[seat], ch}
					got[k] = append(got[k], w)
				}
				delete(f.got, seat)
			}
			return more
		}
		for range 400 {
			seat := int32(10 + rng.IntN(8))
			ch := string(rune('a' + rng.IntN(4)))
			k := key{seat, life[seat], ch}
			switch rng.IntN(10) {
			case 0, 1, 2:
				if h.Subscribe(seat, []byte(ch), int(ch[0])%4, Close) == subs[k] {
					t.Fatalf("seed %d: subscribing twice", seed)
				}
				if !subs[k] && ended[k] { // a new life, so that the two are told apart
					for other := range subs {
						if other.seat == seat {
							ended[other] = true
							delete(subs, other)
						}
					}
					h.Remove(seat)
					life[seat]++
					continue
				}
				subs[k] = true
			case 3:
				if h.Unsubscribe(seat, []byte(ch)) != subs[k] {
					t.Fatalf("seed %d: unsubscribing", seed)
				}
				if subs[k] {
					ended[k] = true
				}
				delete(subs, k)
			case 4:
				h.Remove(seat)
				for other := range subs {
					if other.seat == seat {
						ended[other] = true
						delete(subs, other)
					}
				}
				life[seat]++
			case 5, 6, 7:
				b := &Batch{}
				for range 1 + rng.IntN(4) {
					next++
					p := publication(string(rune('a'+rng.IntN(4))), "", "")
					p.Frame = fmt.Appendf(nil, "%s-%d ", p.Channel, next)
					if rng.IntN(5) == 0 {
						p.Skip = fmt.Sprintf("s%d", 10+rng.IntN(8))
					}
					b.Publications = append(b.Publications, p)
				}
				waiting = append(waiting, b.Publications...)
				h.Take(b)
			default:
				step(1 + rng.IntN(5))
			}
		}
		for step(3) {
		}
		for k, w := range want {
			g := got[k]
			if ended[k] && len(g) <= len(w) {
				w = w[:len(g)]
			}
			if fmt.Sprint(g) != fmt.Sprint(w) {
				t.Fatalf("seed %d: %+v got %v, want %v", seed, k, g, w)
			}
		}
		for k := range got {
			if len(want[k]) == 0 {
				t.Fatalf("seed %d: %+v got %v, want nothing", seed, k, got[k])
			}
		}
		checkInvariants(t, h, len(subs))
	}
}

func checkInvariants(t *testing.T, h *Hub, subscriptions int) {
	t.Helper()
	n, uses := 0, int32(0)
	for name, ch := range h.channels {
		if ch.name != name || len(ch.subs) == 0 || ch.pend != 0 {
			t.Fatalf("channel %q: %+v", name, ch)
		}
		n += len(ch.subs)
		for i, s := range ch.subs {
			if sub := h.subs.all[s.sub]; sub.ch != ch || sub.at != int32(i) {
				t.Fatalf("channel %q: subscriber %d points to %+v", name, i, sub)
			}
		}
	}
	for _, u := range h.uses {
		uses += u
	}
	if n != subscriptions || uses != int32(n) {
		t.Fatalf("%d subscriptions, %d by partition, want %d", n, uses, subscriptions)
	}
}

type discard struct{}

func (discard) Near([]int32)                       {}
func (discard) Push(int32, []byte) bool            { return true }
func (discard) PushCopy(int32, []byte) bool        { return true }
func (discard) Room(int32) (int, bool)             { return 1 << 20, true }
func (discard) Gap(int32, string, stream.Position) {}
func (discard) Slow(int32)                         {}
func (discard) Find(string) (int32, bool)          { return 0, false }
func (discard) Older(int, stream.ID, stream.ID)    {}

// One more subscriber costs no allocation, and a publication to a thousand none at all.
func TestBroadcastDoesNotAllocate(t *testing.T) {
	h := New(Config{Partitions: 1}, discard{})
	for seat := range int32(1000) {
		h.Subscribe(seat+3, []byte("a"), 0, Close)
	}
	b := &Batch{Publications: []Publication{publication("a", "x", "")}}
	if n := testing.AllocsPerRun(200, func() {
		h.Take(b)
		for h.Step(256) {
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkBroadcast(b *testing.B) {
	h := New(Config{Partitions: 1}, discard{})
	const n = 1000
	for seat := range int32(n) {
		h.Subscribe(seat+3, []byte("a"), 0, Close)
	}
	batch := &Batch{Publications: []Publication{publication("a", "x", "")}}
	b.ReportAllocs()
	for b.Loop() {
		h.Take(batch)
		for h.Step(512) {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/delivery")
}
