package polling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millracehq/millrace/gateway/stream"
)

func ask(t *testing.T, b *Board, query string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/poll?"+query, http.NoBody))
	if n := w.Header().Get("Content-Length"); w.Code != http.StatusBadRequest && n != strconv.Itoa(w.Body.Len()) {
		t.Errorf("%s: Content-Length %s, and %d bytes", query, n, w.Body.Len())
	}
	return w.Code, w.Body.String()
}

func TestBoardAnswersWhatCame(t *testing.T) {
	var b Board
	want := func(query string, status int, body string) {
		t.Helper()
		if s, got := ask(t, &b, query); s != status || status != http.StatusBadRequest && got != body {
			t.Errorf("%s: %d %q, want %d %q", query, s, got, status, body)
		}
	}
	want("channel=a:1", 200, "0\n")
	want("channel=a:1&after=0", 200, "0\n")
	want("channel=a:1&after=1", 410, "0\n")
	b.Add("a:1", "one\n")
	b.Add("b", "other")
	b.Add("a:1", "")
	want("channel=a:1", 200, "2\n")
	want("channel=a:1&after=0", 200, "2\n4\none\n0\n")
	want("channel=a:1&after=1", 200, "2\n0\n")
	want("channel=a:1&after=2", 200, "2\n")
	want("channel=a:1&after=3", 410, "2\n")
	want("channel=b&after=0", 200, "1\n5\nother")
	want("after=0", 400, "")
	want("channel=b&after=-1", 400, "")
	want("channel=b&after=x", 400, "")
	for i := range Kept {
		b.Add("b", strconv.Itoa(i))
	}
	want("channel=b&after=0", 410, fmt.Sprintf("%d\n", Kept+1))
	if _, body := ask(t, &b, "channel=b&after=1"); !strings.HasPrefix(body, fmt.Sprintf("%d\n1\n01\n1", Kept+1)) {
		t.Errorf("the oldest that is kept: %.20q", body)
	}
}

// script answers each read with the next entries, and then fails.
type script struct {
	reads [][]stream.Entries
	asked [][]stream.Cursor
}

func (*script) Keys() stream.Keys { return stream.Keys{} }
func (*script) Partitions() int   { return 2 }
func (*script) Tails(context.Context, []string) ([]stream.ID, error) {
	return []stream.ID{{MS: 5}, {}}, nil
}

func (s *script) Read(_ context.Context, cursors []stream.Cursor, _ int, _ time.Duration) ([]stream.Entries, error) {
	s.asked = append(s.asked, append([]stream.Cursor(nil), cursors...))
	if len(s.reads) == 0 {
		return nil, errors.New("gone")
	}
	news := s.reads[0]
	s.reads = s.reads[1:]
	return news, nil
}

func TestFollowReadsOn(t *testing.T) {
	keys := stream.Keys{}
	entry := func(ms uint64, fields ...string) stream.Entry {
		return stream.Entry{ID: stream.ID{MS: ms}, Fields: fields}
	}
	s := &script{reads: [][]stream.Entries{
		{{Key: keys.Out(0), Entries: []stream.Entry{entry(6, "ch", "a", "data", "x"), entry(7, "kind", "kick", "user", "u", "data", "")}}},
		nil,
		{{Key: keys.Out(1), Entries: []stream.Entry{entry(3, "bad"), entry(4, "ch", "a", "data", "y")}}},
	}}
	var b Board
	began := 0
	if err := Follow(t.Context(), s, &b, func() { began++ }); err == nil || err.Error() != "gone" || began != 1 {
		t.Errorf("it ended with %v, ready %d times", err, began)
	}
	if _, body := ask(t, &b, "channel=a&after=0"); body != "2\n1\nx1\ny" {
		t.Errorf("the board has %q", body)
	}
	if last := s.asked[3]; s.asked[0][0].ID.MS != 5 || last[0].ID.MS != 7 || last[1].ID.MS != 4 {
		t.Errorf("reads began at %v", s.asked)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Follow(ended, &script{}, &b, func() {}); err != nil {
		t.Errorf("stopped: %v", err)
	}
}
