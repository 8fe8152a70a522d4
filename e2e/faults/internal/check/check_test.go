package check

import (
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
)

// newTestHistory is five publications on a channel behind a backend and five on a direct one, and one subscriber that got
// them all, with a reconnect in the middle.
func newTestHistory() *History {
	h := &History{Partitions: make([][]Entry, 2), Limits: Limits{Entries: 100, Age: 60_000}}
	for c, name := range []string{"echo:a", "direct:a"} {
		ch := Channel{Name: name, Direct: c == 1, Partition: c}
		events := []Event{{Kind: Subscribed, ID: testID(0)}}
		for n := uint32(1); n <= 5; n++ {
			ch.Published = append(ch.Published, Publication{Sent: int32(n) * 10, Acked: int32(n)*10 + 5, Sends: 1})
			h.Partitions[c] = append(h.Partitions[c], Entry{ID: testID(n), Channel: uint32(c), N: n})
			events = append(events, Event{Kind: Delivered, ID: testID(n), N: n, At: int32(n)*10 + 7})
			if n == 3 {
				events = append(events, Event{Kind: Ended}, Event{Kind: Resumed})
			}
		}
		ch.Subs = [][]Event{events}
		h.Channels = append(h.Channels, ch)
	}
	return h
}

func testID(n uint32) stream.ID { return stream.ID{MS: 1000 + uint64(n)} }

// find is the index of the delivery of n.
func find(events []Event, n uint32) int {
	for i, e := range events {
		if e.Kind == Delivered && e.N == n {
			return i
		}
	}
	panic("BUG: not delivered")
}

func without[T any](list []T, i int) []T { return append(append([]T(nil), list[:i]...), list[i+1:]...) }

func insert[T any](list []T, i int, e T) []T {
	return append(append(append([]T(nil), list[:i]...), e), list[i:]...)
}

// want says how often each violation is to be found; those that are not named not at all.
func wantViolations(t *testing.T, h *History, want map[Violation]int) *Verdict {
	t.Helper()
	v := Check(h)
	for _, kind := range Violations() {
		if v.Violations[kind] != want[kind] {
			t.Errorf("%s: %d, want %d\n%+v", kind, v.Violations[kind], want[kind], v.Findings)
		}
	}
	if v.Clean() != (len(want) == 0) {
		t.Errorf("clean: %v", v.Clean())
	}
	return v
}

func TestCleanHistory(t *testing.T) {
	v := wantViolations(t, newTestHistory(), nil)
	if v.Published != 10 || v.Acknowledged != 10 || v.Entries != 10 || v.Deliveries != 10 || v.Gaps != 0 {
		t.Errorf("%+v", v)
	}
}

func TestEachViolation(t *testing.T) {
	const echo, direct = 0, 1
	tests := map[string]struct {
		change func(h *History)
		want   map[Violation]int
	}{
		"acknowledged, not in the stream": {func(h *History) {
			h.Partitions[echo] = without(h.Partitions[echo], 4)
			h.Channels[echo].Subs[0] = without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 5))
		}, map[Violation]int{Lost: 1}},
		"acknowledged, gone with a failover": {func(h *History) {
			h.Partitions[direct][4].Gone = true
			h.Channels[direct].Subs[0] = append(h.Channels[direct].Subs[0], Event{Kind: Gap, ID: testID(4)})
		}, map[Violation]int{Lost: 1}},
		"applied twice": {func(h *History) {
			h.Partitions[echo] = append(h.Partitions[echo], Entry{ID: testID(6), N: 5})
			h.Channels[echo].Published[4].Sends = 2
			h.Channels[echo].Subs[0] = append(h.Channels[echo].Subs[0], Event{Kind: Delivered, ID: testID(6), N: 5})
		}, map[Violation]int{Twice: 1}},
		"direct, twice though sent once": {func(h *History) {
			h.Partitions[direct] = append(h.Partitions[direct], Entry{ID: testID(6), Channel: direct, N: 5})
			h.Channels[direct].Subs[0] = append(h.Channels[direct].Subs[0], Event{Kind: Delivered, ID: testID(6), N: 5})
		}, map[Violation]int{Twice: 1}},
		"out of order in the stream": {func(h *History) {
			p := h.Partitions[echo]
			p[1].N, p[2].N = p[2].N, p[1].N
			s := h.Channels[echo].Subs[0]
			i, j := find(s, 2), find(s, 3)
			s[i].N, s[j].N = s[j].N, s[i].N
		}, map[Violation]int{Disorder: 1}},
		"missing, and a later one came": {func(h *History) {
			h.Channels[echo].Subs[0] = without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 4))
		}, map[Violation]int{Missing: 1}},
		"missing at the end": {func(h *History) {
			h.Channels[echo].Subs[0] = without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 5))
		}, map[Violation]int{Missing: 1}},
		"never subscribed": {func(h *History) { h.Channels[echo].Subs[0] = nil }, map[Violation]int{Missing: 1}},
		"missing before a gap, and a later one came before it": {func(h *History) {
			s := without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 2))
			h.Channels[echo].Subs[0] = insert(s, find(s, 5), Event{Kind: Gap, ID: testID(4)})
		}, map[Violation]int{Missing: 1}},
		"missing behind a gap": {func(h *History) {
			s := without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 3))
			h.Channels[echo].Subs[0] = insert(s, find(s, 4), Event{Kind: Gap, ID: testID(2)})
		}, map[Violation]int{Missing: 1}},
		"delivered twice": {func(h *History) {
			s := h.Channels[echo].Subs[0]
			h.Channels[echo].Subs[0] = append(s, s[find(s, 3)])
		}, map[Violation]int{DeliveredTwice: 1}},
		"delivered in another order than the stream's": {func(h *History) {
			s := h.Channels[echo].Subs[0]
			i, j := find(s, 2), find(s, 3)
			s[i], s[j] = s[j], s[i]
		}, map[Violation]int{DeliveredBehind: 1}},
		"before the position of its gap": {func(h *History) {
			s := h.Channels[echo].Subs[0]
			h.Channels[echo].Subs[0] = insert(s, find(s, 4), Event{Kind: Gap, ID: testID(4)})
		}, map[Violation]int{DeliveredBehind: 1}},
		"set back, and no gap": {func(h *History) {
			h.Partitions[direct] = insert(h.Partitions[direct], 3, Entry{ID: stream.ID{MS: testID(3).MS, Seq: 1}, Channel: direct, N: 4, Gone: true})
			s := h.Channels[direct].Subs[0]
			h.Channels[direct].Subs[0] = insert(s, find(s, 4), Event{Kind: Delivered, ID: stream.ID{MS: testID(3).MS, Seq: 1}, N: 4})
		}, map[Violation]int{Unannounced: 1}},
		"set back at the very end, and no gap": {func(h *History) {
			h.Channels[direct].Subs[0] = append(h.Channels[direct].Subs[0], Event{Kind: Delivered, ID: testID(9), N: 6})
		}, map[Violation]int{Unannounced: 1}},
		"another body": {func(h *History) {
			s := h.Channels[echo].Subs[0]
			s[find(s, 2)].N = 1
		}, map[Violation]int{Altered: 1}},
		"published by nobody": {func(h *History) {
			h.Partitions[echo][4].N = 0
			h.Channels[echo].Subs[0][find(h.Channels[echo].Subs[0], 5)].N = 0
		}, map[Violation]int{Invented: 1, Lost: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newTestHistory()
			test.change(h)
			wantViolations(t, h, test.want)
		})
	}
}

func TestWhatIsAllowed(t *testing.T) {
	const echo, direct = 0, 1
	tests := map[string]struct {
		change         func(h *History)
		gaps, unneeded int
	}{
		"not acknowledged, not in the stream": {func(h *History) {
			h.Channels[echo].Published = append(h.Channels[echo].Published, Publication{Sent: 99, Acked: None, Sends: 4})
		}, 0, 0},
		"direct, twice and sent twice, the copy late": {func(h *History) {
			h.Channels[direct].Published[2].Sends = 2
			h.Partitions[direct] = append(h.Partitions[direct], Entry{ID: testID(6), Channel: direct, N: 3})
			h.Channels[direct].Subs[0] = append(h.Channels[direct].Subs[0], Event{Kind: Delivered, ID: testID(6), N: 3})
		}, 0, 0},
		"missing, and a gap that says so": {func(h *History) {
			s := without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 4))
			h.Channels[echo].Subs[0] = insert(s, find(s, 5), Event{Kind: Gap, ID: testID(4)})
		}, 1, 1},
		"a gap for what a failover took, and its second delivery": {func(h *History) {
			h.Partitions[echo][4].Gone = true
			h.Partitions[echo] = append(h.Partitions[echo], Entry{ID: testID(6), N: 5})
			h.Channels[echo].Subs[0] = append(h.Channels[echo].Subs[0], Event{Kind: Gap, ID: testID(5)}, Event{Kind: Delivered, ID: testID(6), N: 5})
		}, 1, 0},
		"a gap that goes back": {func(h *History) {
			s := h.Channels[echo].Subs[0]
			again := []Event{{Kind: Gap, ID: testID(3)}, s[find(s, 4)], s[find(s, 5)]}
			h.Channels[echo].Subs[0] = append(s, again...)
		}, 1, 1},
		"a gap behind what history keeps": {func(h *History) {
			h.Limits.Age = 1
			s := without(h.Channels[echo].Subs[0], find(h.Channels[echo].Subs[0], 4))
			h.Channels[echo].Subs[0] = insert(s, find(s, 5), Event{Kind: Gap, ID: stream.ID{MS: testID(4).MS, Seq: 9}})
			h.Partitions[echo][4].ID.MS++
			h.Channels[echo].Subs[0][find(h.Channels[echo].Subs[0], 5)].ID.MS++
			h.Channels[echo].Subs[0][find(h.Channels[echo].Subs[0], 5)-1].ID.MS++
		}, 1, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newTestHistory()
			test.change(h)
			v := wantViolations(t, h, nil)
			if v.Gaps != test.gaps || v.Unneeded != test.unneeded {
				t.Errorf("%d gaps, %d unneeded; want %d, %d", v.Gaps, v.Unneeded, test.gaps, test.unneeded)
			}
		})
	}
}

func TestFindingsAreBounded(t *testing.T) {
	h := newTestHistory()
	for range 3 * MaxFindings {
		h.Channels[0].Published = append(h.Channels[0].Published, Publication{Acked: 1, Sends: 1})
	}
	v := wantViolations(t, h, map[Violation]int{Lost: 3 * MaxFindings})
	if len(v.Findings) != MaxFindings {
		t.Errorf("%d findings", len(v.Findings))
	}
}
