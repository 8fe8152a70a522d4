package traffic

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/gateway/stream"
)

func TestEntryID(t *testing.T) {
	for position, want := range map[string]string{
		"1700000000000-5": "1700000000000-5", "3.1700000000000-5": "1700000000000-5", "1700000000000-5.e3": "1700000000000-5",
		"e-1-1700000000000-12": "1700000000000-12", "0-0": "0-0", "-": "", "": "", "a-b": "",
	} {
		id, ok := entryID(position)
		if ok != (want != "") || ok && id.String() != want {
			t.Errorf("%q: %v, %v; want %q", position, id, ok, want)
		}
	}
}

func TestBody(t *testing.T) {
	if c, n, ok := parseBody(string(body(12, 345))); c != 12 || n != 345 || !ok {
		t.Errorf("%d, %d, %v", c, n, ok)
	}
	for _, s := range []string{"", "c12-345", "c12-0 x", string(body(1, 2)) + "0", "x", "c-1-2 x"} {
		if _, _, ok := parseBody(s); ok {
			t.Errorf("%q is a body", s)
		}
	}
}

func testEntries(spec ...string) (list []check.Entry) {
	for _, s := range spec {
		var e check.Entry
		if n, _ := fmt.Sscanf(s, "%d", &e.ID.MS); n != 1 {
			panic("BUG: " + s)
		}
		e.N, e.Gone = uint32(e.ID.MS), s[len(s)-1] == 'x'
		list = append(list, e)
	}
	return list
}

func TestMerge(t *testing.T) {
	tests := []struct {
		known, now []string
		from       uint64
		want       []string
	}{
		{nil, nil, 0, nil},
		{nil, []string{"1", "2"}, 0, []string{"1", "2"}},
		{[]string{"1", "2", "3"}, []string{"2", "3", "4"}, 2, []string{"1", "2", "3", "4"}},
		{[]string{"1", "2", "3"}, []string{"2", "4"}, 2, []string{"1", "2", "3x", "4"}},
		{[]string{"1", "3x", "5"}, []string{"2", "4", "5"}, 0, []string{"1x", "2", "3x", "4", "5"}},
		{[]string{"1", "2x"}, []string{"1", "2"}, 0, []string{"1", "2"}},
		{[]string{"1", "2"}, nil, 0, []string{"1x", "2x"}},
		{[]string{"1", "2"}, nil, 3, []string{"1", "2"}},
	}
	for _, test := range tests {
		got := merge(testEntries(test.known...), testEntries(test.now...), stream.ID{MS: test.from})
		if want := testEntries(test.want...); !slices.Equal(got, want) {
			t.Errorf("%v and %v from %d: %v, want %v", test.known, test.now, test.from, got, want)
		}
	}
}

func TestSilence(t *testing.T) {
	heard := map[int]bool{0: true, 10: true, 40: true}
	longest, outside := silence(func(i int) bool { return heard[i] }, 0, 45, []Window{{From: 2 * time.Second, To: 2500 * time.Millisecond}})
	if longest != 2900*time.Millisecond || outside != 1400*time.Millisecond {
		t.Errorf("%v, outside %v", longest, outside)
	}
}
