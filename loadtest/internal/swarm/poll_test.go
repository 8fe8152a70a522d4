package swarm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseAnswer(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nDate: today\r\ncontent-length:  5\r\n\r\nhello"
	for cut := range len(good) {
		if _, ok, err := parseAnswer([]byte(good[:cut])); ok || err != "" {
			t.Errorf("%q: %v %q, want more", good[:cut], ok, err)
		}
	}
	if a, ok, err := parseAnswer([]byte(good + "HTTP")); !ok || err != "" || a.status != 200 || string(a.body) != "hello" || a.size != len(good) {
		t.Errorf("%+v %v %q", a, ok, err)
	}
	for _, bad := range []string{
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", strings.Repeat("x", 9000),
	} {
		if _, ok, err := parseAnswer([]byte(bad)); ok || err == "" {
			t.Errorf("%.60q is taken", bad)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n7\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok, err := parseAnswer(b)
		if ok && (err != "" || a.size > len(b) || !bytes.HasSuffix(b[:a.size], a.body)) {
			t.Errorf("%q: %+v %q", b, a, err)
		}
	})
}

// TestNewsIsEntered hands a client that polls an answer with three publications, one of which is not ours, and answers that are broken.
func TestNewsIsEntered(t *testing.T) {
	cfg := testConfig(2, 1, 1, 1)
	cfg.Poll = Poll{Every: time.Second, URI: "/poll"}
	s := newTestSwarm(t, cfg)
	s.next = 10
	bodies := func(k ...int64) (text string) {
		for _, k := range k {
			feed, seq := s.plan.feed(k)
			b := string(stamp{run: s.run, feed: feed, seq: seq, due: s.loop.Clock()}.append(nil)) + string(s.padding[StampSize:])
			text += fmt.Sprintf("%d\n%s", len(b), b)
		}
		return text
	}
	s.takeNews(1, []byte("7\n"+bodies(0)+"0\n"+bodies(1)), s.loop.Clock())
	if s.warmup.Received != 2 || s.metrics.Foreign.Count() != 1 || s.metrics.Damaged.Count() != 0 || string(s.positions.get(1)) != "7" {
		t.Errorf("%d received, %d foreign, %d damaged, position %q", s.warmup.Received, s.metrics.Foreign.Count(), s.metrics.Damaged.Count(), s.positions.get(1))
	}
	for i, bad := range []string{"", "8", "8\n5", "8\n5\nabc", "8\nx\nabc", "8\n-1\n", bodies(2)[4:]} {
		s.takeNews(1, []byte(bad), s.loop.Clock())
		if got := s.metrics.Damaged.Count(); got != int64(i+1) {
			t.Errorf("%q: %d damaged, want %d", bad, got, i+1)
		}
	}
}
