package generator

import (
	"bytes"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestStamp(t *testing.T) {
	s := stamp{load: 0xa1, due: 1<<59 + 12345}
	b := s.appendBody([]byte("x"), 64)[1:]
	if len(b) != 64 || bytes.ContainsAny(b, "\"\\\r\n ") {
		t.Errorf("a body of 64 bytes is %q", b)
	}
	if got, ok := parseStamp(b); !ok || got != s {
		t.Errorf("read back: %+v, %v; want %+v", got, ok, s)
	}
	for _, bad := range [][]byte{nil, b[:StampSize-1], bytes.Replace(b, []byte("b"), []byte("c"), 1), bytes.Replace(b, []byte("0"), []byte("G"), 1)} {
		if _, ok := parseStamp(bad); ok {
			t.Errorf("%q is taken for a stamp", bad)
		}
	}
}

func TestBlocks(t *testing.T) {
	g := &Generator{cfg: Config{Clients: 300, Channels: 3, PerClient: 10}, clients: make([]client, 300), members: make([]int64, 33)}
	for i := range g.clients {
		g.clients[i].set = Many
		g.count(int32(i), 1)
	}
	for c, n := range g.members {
		if n != 100 {
			t.Errorf("channel %d has %d subscribers, want 100", c, n)
		}
	}
	g.count(7, -1)
	if g.members[1] != 99 || g.members[3+10] != 99 || g.members[0] != 100 {
		t.Errorf("after client 7 has gone: %v", g.members)
	}
}

func TestReceivedCountsOnlyItsLoad(t *testing.T) {
	w := &load{number: 2, latency: hdrhistogram.New(1, maxLatency, 3)}
	now := int64(10 * time.Second)
	w.received(stamp{2, now - int64(20*time.Millisecond)}.appendBody(nil, 64), now)
	w.received(stamp{1, now - int64(9*time.Second)}.appendBody(nil, 64), now)
	w.received([]byte("something else"), now)
	if ms := w.latency.Max() / 1000; w.result.Received != 1 || ms < 19 || ms > 21 {
		t.Errorf("%d received, at most %d ms late; want 1, 20 ms", w.result.Received, ms)
	}
}

func TestEarliest(t *testing.T) {
	for _, c := range [][3]int64{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {4, 5, 4}, {5, 4, 4}} {
		if got := earliest(c[0], c[1]); got != c[2] {
			t.Errorf("earliest(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, c := range []Config{{}, {Clients: 10, Channels: 3, PerClient: 1, Body: 64}, {Clients: 10, Channels: 5, PerClient: 1, Body: StampSize - 1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
