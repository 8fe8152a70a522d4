package hub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
)

// fakePacked counts how often it is made.
type fakePacked struct {
	short string
	made  int
}

func (f *fakePacked) Frame() []byte { f.made++; return []byte(f.short) }
func (f *fakePacked) Made() []byte {
	if f.made == 0 {
		return nil
	}
	return []byte(f.short)
}

// Each connection gets the form that it takes, in every mix of channels, skips and joined publications, and the window counts what
// it holds to the byte.
func TestFormsAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		h, f := newTestHub()
		h.Open(&Opening{Partition: 1})
		want := map[int32][]string{}
		packs := map[int32]bool{}
		for seat := int32(10); seat < 20; seat++ {
			if packs[seat] = rng.IntN(2) == 0; packs[seat] {
				h.Packs(seat)
			}
			for _, ch := range []string{"a", "b", "c"} {
				if rng.IntN(2) == 0 {
					h.Subscribe(seat, []byte(ch), 1, Close)
				}
			}
			if n := h.Count(seat); n != len(h.Names(seat)) {
				t.Fatalf("seed %d: %d subscriptions, %v", seed, n, h.Names(seat))
			}
		}
		var all []*fakePacked
		for n := range 30 {
			b := &Batch{}
			for range 1 + rng.IntN(3) {
				p := Publication{Channel: string(rune('a' + rng.IntN(4))), Partition: 1, ID: stream.ID{MS: uint64(n + 1)}, Frame: []byte(fmt.Sprintf("%d-as-it-is ", n))}
				if rng.IntN(3) > 0 {
					all = append(all, &fakePacked{short: fmt.Sprintf("%d-short ", n)})
					p.Packed = all[len(all)-1]
				}
				if rng.IntN(3) == 0 {
					p.Skip = fmt.Sprintf("s%d", 10+rng.IntN(10))
				}
				for seat, takes := range packs {
					if !h.Subscribed(seat, []byte(p.Channel)) || p.Skip == fmt.Sprintf("s%d", seat) {
						continue
					}
					if takes && p.Packed != nil {
						want[seat] = append(want[seat], fmt.Sprintf("%d-short", n))
					} else {
						want[seat] = append(want[seat], fmt.Sprintf("%d-as-it-is", n))
					}
				}
				b.Publications = append(b.Publications, p)
			}
			h.Take(b)
			for h.Step(1 + rng.IntN(3)) {
			}
		}
		for seat := range packs {
			if got, want := sorted(f.got[seat]), sorted(want[seat]); got != want {
				t.Fatalf("seed %d: connection %d got\n%s\nwant\n%s", seed, seat, got, want)
			}
		}
		held := 0
		w := &h.windows[1]
		for i := range w.kept {
			k := &w.kept[i]
			held += len(k.Frame) + keptOverhead
			if p, _ := k.Packed.(*fakePacked); p != nil && p.made > 0 {
				held += len(p.short)
			}
		}
		if held != h.WindowBytes() || held != w.bytes {
			t.Fatalf("seed %d: %d bytes are held, %d counted", seed, held, h.WindowBytes())
		}
		h.Tick(1, 1<<50)
		if h.WindowBytes() != 0 {
			t.Fatalf("seed %d: %d bytes in an empty window", seed, h.WindowBytes())
		}
	}
}

// sorted are the words of one connection in an order of their own: within a sweep channels come in any order.
func sorted(words []string) string {
	count := map[string]int{}
	for _, w := range words {
		count[w]++
	}
	return fmt.Sprint(count)
}

// What nobody takes is not made, whoever else subscribes, resumes or is too slow.
func TestPackedIsMadeForTheLiveOnly(t *testing.T) {
	h, f := newTestHub()
	h.Open(&Opening{At: stream.Position{ID: stream.ID{MS: 1}, Epoch: 7}})
	h.Subscribe(10, []byte("a"), 0, Close)
	first, second := &fakePacked{short: "1-short "}, &fakePacked{short: "2-short "}
	publish := func(ms uint64, p *fakePacked) {
		h.Take(&Batch{
			Publications: []Publication{{ID: stream.ID{MS: ms}, Channel: "a", Frame: []byte(fmt.Sprintf("%d-as-it-is ", ms)), Packed: p}},
			Cursors:      []Cursor{{ID: stream.ID{MS: ms}}},
		})
		h.Finish()
	}
	publish(2, first)
	if first.made != 0 {
		t.Fatal("it was made for nobody")
	}
	h.Packs(11)
	h.Subscribe(11, []byte("a"), 0, Close)
	publish(3, second)
	h.Packs(12)
	h.Resume(12, []byte("a"), 0, Close, stream.Position{ID: stream.ID{MS: 1}, Epoch: 7})
	if got := strings.Join(f.got[12], " "); got != "2-as-it-is 2-short" || first.made != 0 {
		t.Fatalf("%s; made %d times", got, first.made)
	}
	h.Remove(12)
	h.Resume(12, []byte("a"), 0, Close, stream.Position{ID: stream.ID{MS: 1}, Epoch: 7}) // another connection, which takes none
	if got := strings.Join(f.got[12][2:], " "); got != "2-as-it-is 3-as-it-is" {
		t.Fatal(got)
	}
}

// packedFrame is a form that is there already.
type packedFrame []byte

func (p packedFrame) Frame() []byte { return p }
func (p packedFrame) Made() []byte  { return p }

// Half of a thousand subscribers take packed frames: a publication costs no allocation.
func TestPackedBroadcastDoesNotAllocate(t *testing.T) {
	h := New(Config{Partitions: 1}, discard{})
	for seat := int32(3); seat < 1003; seat++ {
		if seat%2 == 0 {
			h.Packs(seat)
		}
		h.Subscribe(seat, []byte("a"), 0, Close)
	}
	p := publication("a", "as it is", "")
	p.Packed = packedFrame("short")
	b := &Batch{Publications: []Publication{p}}
	if n := testing.AllocsPerRun(200, func() {
		h.Take(b)
		for h.Step(256) {
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	if n := h.Count(4); n != 1 {
		t.Fatalf("%d subscriptions", n)
	}
}

// A step ends when much was packed in it, so that reads are not held up; what is left comes in the next.
func TestStepIsBoundedByWhatIsPacked(t *testing.T) {
	h, f := newTestHub()
	b := &Batch{}
	big := []byte(strings.Repeat("x", maxPacked/2) + " ")
	for i := range int32(10) {
		name := fmt.Sprint("c", i)
		h.Packs(10 + i)
		h.Subscribe(10+i, []byte(name), 0, Close)
		b.Publications = append(b.Publications, Publication{Channel: name, Frame: big, Packed: packedFrame("short ")})
	}
	h.Take(b)
	steps := 1
	for h.Step(100) {
		steps++
	}
	if steps != 5 || len(f.got) != 10 {
		t.Fatalf("%d steps, %d connections served", steps, len(f.got))
	}
}
