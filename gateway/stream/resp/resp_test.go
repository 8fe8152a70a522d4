package resp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"command", "*2\r\n$4\r\nAUTH\r\n$3\r\na b\r\n", AppendCommand(nil, "AUTH", "a b")},
		{"xadd", "*5\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n*\r\n$4\r\ndata\r\n$0\r\n\r\n", AppendXADD(nil, "k", 0, []string{"data", ""})},
		{"xadd bounded", "*8\r\n$4\r\nXADD\r\n$1\r\nk\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$5\r\n10000\r\n$1\r\n*\r\n$1\r\nd\r\n$1\r\nx\r\n", AppendXADD(nil, "k", 10000, []string{"d", "x"})},
		{
			"xread", "*10\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$2\r\n32\r\n$5\r\nBLOCK\r\n$1\r\n1\r\n$7\r\nSTREAMS\r\n$1\r\na\r\n$1\r\nb\r\n$3\r\n0-0\r\n$4\r\n12-3\r\n",
			new(XREAD).Append(nil, []stream.Cursor{{Key: "a"}, {Key: "b", ID: stream.ID{MS: 12, Seq: 3}}}, 32, 0),
		},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	if got := string(new(XREAD).Append(nil, nil, 1, 1500*time.Millisecond)); !strings.Contains(got, "BLOCK\r\n$4\r\n1500\r\n") {
		t.Errorf("block: %q", got)
	}
}

// TestXREADAgain: whatever has moved, come or gone since the last time, the bytes are those of the first time.
func TestXREADAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	most := stream.ID{MS: 1<<64 - 1, Seq: 1<<64 - 1}
	var again XREAD
	var cursors []stream.Cursor
	for i := range 2000 {
		switch n, what := len(cursors), r.IntN(20); {
		case n == 0 || what == 0:
			cursors = append(cursors, stream.Cursor{Key: strconv.Itoa(r.IntN(100))})
		case what == 1:
			cursors = slices.Delete(cursors, n-1, n)
		case what == 2:
			cursors[r.IntN(n)].Key += "x"
		case what == 3:
			cursors[r.IntN(n)].ID = most
		default:
			cursors[r.IntN(n)].ID = stream.ID{MS: r.Uint64N(1 << r.UintN(50)), Seq: r.Uint64N(12)}
		}
		got, want := string(again.Append(nil, cursors, i, time.Second)), string(new(XREAD).Append(nil, cursors, i, time.Second))
		if got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"+OK\r\nx": "OK", ":42\r\n": "42", "$3\r\n1-2\r\n$": "1-2", "$0\r\n\r\n": "",
	} {
		text, n, err := Line([]byte(in))
		if err != nil || text != want || n == 0 {
			t.Errorf("%q: %q, %d, %v", in, text, n, err)
		}
	}
	for _, in := range []string{"", "+", "+OK\r", "$3\r\n1-", "$3\r\n1-2\r"} {
		if _, n, err := Line([]byte(in)); n != 0 || err != nil {
			t.Errorf("%q: %d, %v, want more", in, n, err)
		}
	}
	if _, n, err := Line([]byte("-OOM no more\r\n")); n != 14 || err != Error("OOM no more") { //nolint:errorlint // it is not wrapped
		t.Errorf("an error reply: %d, %v", n, err)
	}
	for _, in := range []string{"*1\r\n", "$-1\r\n", "$x\r\n", "\r\n", "+a\n", "$1\r\nab\r\n", "$9999999999\r\n", "$600000000\r\n", "+" + strings.Repeat("a", maxLine)} {
		if _, _, err := Line([]byte(in)); !errors.Is(err, ErrReply) {
			t.Errorf("%.20q: %v, want ErrReply", in, err)
		}
	}
}

// reply is what Redis would answer to XREAD.
func reply(streams []stream.Entries) []byte {
	if len(streams) == 0 {
		return []byte("*-1\r\n")
	}
	b := fmt.Appendf(nil, "*%d\r\n", len(streams))
	for _, s := range streams {
		b = fmt.Appendf(b, "*2\r\n$%d\r\n%s\r\n*%d\r\n", len(s.Key), s.Key, len(s.Entries))
		for _, e := range s.Entries {
			b = fmt.Appendf(b, "*2\r\n$%d\r\n%s\r\n*%d\r\n", len(e.ID.String()), e.ID, len(e.Fields))
			for _, f := range e.Fields {
				b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(f), f)
			}
		}
	}
	return b
}

func draw(rng *rand.Rand) []stream.Entries {
	streams := make([]stream.Entries, rng.IntN(4))
	for i := range streams {
		streams[i] = stream.Entries{Key: fmt.Sprintf("millrace:{%d}:out", i), Entries: make([]stream.Entry, rng.IntN(4))}
		for j := range streams[i].Entries {
			e := &streams[i].Entries[j]
			e.ID = stream.ID{MS: rng.Uint64(), Seq: rng.Uint64N(3)}
			for range rng.IntN(5) {
				e.Fields = append(e.Fields, strings.Repeat("\r\n$1\x00"[:1+rng.IntN(4)], rng.IntN(20)))
			}
		}
	}
	return streams
}

// readAll reads replies that come in pieces as a loop gives them: what is not consumed comes again with more behind it.
func readAll(t *testing.T, r *Reading, b []byte, cuts []int) (got []stream.Entries, ends int) {
	t.Helper()
	var unread []byte
	for i, at := range append(cuts, len(b)) {
		from := 0
		if i > 0 {
			from = cuts[i-1]
		}
		unread = append(unread, b[from:at]...)
		piece := slices.Clone(unread) // so that a view that is kept too long shows
		used := 0
		for found := Entry; found != More; {
			var key string
			var e stream.Entry
			var n int
			var err error
			found, key, e, n, err = r.Next(piece[used:])
			if err != nil {
				t.Fatal(err)
			}
			used += n
			switch found {
			case Entry:
				if len(got) == 0 || got[len(got)-1].Key != key {
					got = append(got, stream.Entries{Key: key})
				}
				s := &got[len(got)-1]
				s.Entries = append(s.Entries, stream.Entry{ID: e.ID, Fields: stream.CloneFields(slices.Clone(e.Fields))})
			case End:
				ends++
			case More:
			}
			if used == len(piece) && found == End {
				break
			}
		}
		unread = unread[used:]
		for i := range piece {
			piece[i] = '!'
		}
	}
	if len(unread) > 0 {
		t.Fatalf("%d bytes are left", len(unread))
	}
	return got, ends
}

// TestReading compares what is read with what was written, whole and cut anywhere.
func TestReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Reading
	for range 3000 {
		want := draw(rng)
		b := reply(want)
		cuts := make([]int, rng.IntN(4))
		for i := range cuts {
			cuts[i] = rng.IntN(len(b) + 1)
		}
		slices.Sort(cuts)
		got, ends := readAll(t, &r, b, cuts)
		var filled []stream.Entries // those without entries cannot be seen
		for _, s := range want {
			if len(s.Entries) > 0 {
				filled = append(filled, s)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(filled) || ends != 1 {
			t.Fatalf("cuts %v of %q:\n got %q, %d ends\nwant %q", cuts, b, got, ends, filled)
		}
	}
}

func TestReadingRefuses(t *testing.T) {
	for _, in := range []string{
		"+OK\r\n", "*99999\r\n", "*1\r\n*3\r\n", "*1\r\n*2\r\n$-1\r\n", "*1\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$1\r\nx\r\n", "*1\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*70000\r\n",
	} {
		var r Reading
		if _, _, _, _, err := r.Next([]byte(in)); !errors.Is(err, ErrReply) {
			t.Errorf("%q: %v, want ErrReply", in, err)
		}
	}
	var r Reading
	if _, _, _, _, err := r.Next([]byte("-UNBLOCKED the stream is gone\r\n")); err != Error("UNBLOCKED the stream is gone") { //nolint:errorlint // it is not wrapped
		t.Errorf("an error reply: %v", err)
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	b := reply([]stream.Entries{{Key: "a", Entries: []stream.Entry{{Fields: []string{"ch", "x", "data", "y"}}, {ID: stream.ID{MS: 1}, Fields: []string{"ch", "x", "data", "y"}}}}})
	var r Reading
	var out []byte
	if n := testing.AllocsPerRun(100, func() {
		for used, found := 0, Entry; found != End; {
			var n int
			found, _, _, n, _ = r.Next(b[used:])
			used += n
		}
		out = AppendXADD(out[:0], "millrace:{1}:out", 100, r.fields)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReading must not panic, consume more than there is, or go on without consuming; and where a reply is cut must not matter.
func FuzzReading(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(reply(draw(rng)), uint16(rng.UintN(100)))
	}
	f.Add([]byte("*1\r\n*2\r\n$536870912\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		whole := narrate(b, len(b))
		if cut := min(int(cut), len(b)); narrate(b, cut) != whole {
			t.Fatalf("cut at %d: %s\nwhole: %s", cut, narrate(b, cut), whole)
		}
	})
}

// narrate reads what comes first, then all, and tells what was found.
func narrate(b []byte, first int) string {
	var r Reading
	var told strings.Builder
	used := 0
	for _, end := range []int{first, len(b)} {
		for {
			found, key, e, n, err := r.Next(b[used:end])
			if n < 0 || used+n > end {
				panic("consumed what is not there")
			}
			used += n
			if err != nil {
				return told.String() + "error"
			}
			if found == More {
				break
			}
			fmt.Fprintf(&told, "%d %q %v\n", found, key, e)
		}
	}
	return told.String()
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "$3\r\n1-2\r\n", "-ERR\r\n", ":1\r\n", "$-1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, n, err := Line(b); n < 0 || n > len(b) || n == 0 && err != nil && !errors.Is(err, ErrReply) {
			t.Fatalf("%d, %v", n, err)
		}
	})
}
