package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is the naive account: a set of numbers per line.
type model struct {
	seen, announced map[uint32]bool
	high            uint32
	gap             uint32 // what is below it may be announced by the next delivery
}

func (m *model) receive(seq uint32) Outcome {
	switch {
	case m.seen[seq]:
		return Duplicate
	case m.announced[seq]:
		m.seen[seq] = true
		return Announced
	}
	m.seen[seq] = true
	if seq < m.high {
		return Late
	}
	for ; m.high < seq; m.high++ {
		m.announced[m.high] = m.high < m.gap
	}
	m.high, m.gap = seq+1, 0
	return InOrder
}

func (m *model) announce(sent uint32) { m.gap = max(m.gap, sent) }

func (m *model) missing(sent uint32) (list []string) {
	for seq := range sent {
		if !m.seen[seq] {
			list = append(list, fmt.Sprint(seq, m.announced[seq] || seq >= m.high && seq < m.gap))
		}
	}
	return list
}

func missing(l *Ledger, line int, sent uint32) (list []string) {
	l.Missing(line, sent, func(first, last uint32, announced bool) {
		for seq := first; seq <= last; seq++ {
			list = append(list, fmt.Sprint(seq, announced))
		}
	})
	return list
}

// TestAgainstModel delivers with every fault at random and compares each outcome, and what is missing, with the model.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const lines = 3
		l := New(lines)
		var models [lines]*model
		for i := range models {
			models[i] = &model{seen: map[uint32]bool{}, announced: map[uint32]bool{}}
		}
		var sent uint32
		for range 400 {
			line := rng.IntN(lines)
			m := models[line]
			switch p := rng.IntN(100); {
			case p < 60:
				sent++
				if rng.IntN(4) > 0 {
					wantSame(t, seed, l.Receive(line, sent-1), m.receive(sent-1))
				}
			case p < 97 && sent > 0:
				seq := sent - 1 - rng.Uint32N(min(sent, 30))
				wantSame(t, seed, l.Receive(line, seq), m.receive(seq))
			default:
				l.Announce(line, sent)
				m.announce(sent)
			}
		}
		for i, m := range models {
			for _, end := range []uint32{0, 1, sent / 2, sent} {
				if got, want := missing(l, i, end), m.missing(end); !slices.Equal(got, want) {
					t.Fatalf("seed %d, line %d, below %d: missing %v, want %v", seed, i, end, got, want)
				}
			}
		}
	}
}

// TestGapExcusesNothingBehindIt: what a line misses behind the first delivery after a gap is lost.
func TestGapExcusesNothingBehindIt(t *testing.T) {
	l := New(1)
	l.Receive(0, 0)
	l.Announce(0, 10)
	for _, seq := range []uint32{5, 6, 8} { // 7 is missing, though it was sent before the gap came
		wantSame(t, 0, l.Receive(0, seq), InOrder)
	}
	if got, want := missing(l, 0, 9), []string{"1 true", "2 true", "3 true", "4 true", "7 false"}; !slices.Equal(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
}

func wantSame(t *testing.T, seed uint64, got, want Outcome) {
	t.Helper()
	if got != want {
		t.Fatalf("seed %d: outcome %d, want %d", seed, got, want)
	}
}

func TestReceiveInOrderAllocs(t *testing.T) {
	l := New(1000)
	l.Receive(7, 5) // one line with a hole must not slow or burden the others, nor itself afterwards
	var seq uint32
	n := testing.AllocsPerRun(100, func() {
		for line := range 1000 {
			if line != 7 {
				l.Receive(line, seq)
			}
		}
		l.Receive(7, seq+6)
		seq++
	})
	if n != 0 {
		t.Fatalf("%v allocations for deliveries in order, want 0", n)
	}
}

func BenchmarkReceiveInOrder(b *testing.B) {
	l := New(15000)
	var seq uint32
	for b.Loop() {
		for line := range 15000 {
			l.Receive(line, seq)
		}
		seq++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/15000, "ns/delivery")
}

// TestBegin starts a line anew that had everything: holes, a gap, deliveries.
func TestBegin(t *testing.T) {
	l := New(2)
	l.Receive(0, 3)
	l.Announce(0, 9)
	l.Receive(1, 1)
	l.Begin(0, 7)
	missing := func(line int, sent uint32) (n uint32) {
		l.Missing(line, sent, func(first, last uint32, _ bool) { n += last - first + 1 })
		return n
	}
	if n := missing(0, 7); n != 0 {
		t.Errorf("%d are missing at the beginning", n)
	}
	if n := missing(1, 2); n != 1 {
		t.Errorf("%d are missing of the other line, want 1", n)
	}
	if l.Receive(0, 7) != InOrder || l.Receive(0, 9) != InOrder || l.Receive(0, 8) != Late || l.Receive(0, 6) != Duplicate {
		t.Error("the line does not count from its new beginning")
	}
}
