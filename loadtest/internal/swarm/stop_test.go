package swarm

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/internal/wsio"
)

func TestThoseWhoStopDoNotPublish(t *testing.T) {
	for _, n := range [][3]int{{20, 2, 4}, {20, 10, 10}, {7, 3, 4}, {1000, 150, 67}} {
		cfg := testConfig(n[0], n[1], 1, n[1])
		cfg.Stop.Connections = n[2]
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop := 0
		for i, c := range s.clients {
			if c.stops() {
				stop++
			}
			if c.stops() && s.plan.publishes(int32(i)) {
				t.Errorf("%v: client %d publishes and stops reading", n, i)
			}
		}
		if stop != n[2] {
			t.Errorf("%v: %d stop reading, want %d", n, stop, n[2])
		}
	}
}

// TestFirstBehindAGap hands one client of a channel everything and the other, which has read again, a gap and what follows it.
func TestFirstBehindAGap(t *testing.T) {
	for first, want := range map[int64]string{8: "older", 9: "newest", 10: "later"} {
		cfg := testConfig(2, 1, 1, 1)
		cfg.Stop = Stop{Connections: 1, Until: time.Minute}
		s := newTestSwarm(t, cfg)
		s.next = 20
		reads, stops := s.clients[0].conn, s.clients[1].conn
		for k := range int64(10) {
			s.Data(reads, s.delivery(k))
		}
		s.stopReading()
		s.beginReadAgain()
		s.readAgainDue(s.loop.Clock() + int64(time.Minute))
		s.Data(stops, s.delivery(0))
		s.Data(stops, wsio.AppendFrame(nil, ws.OpText, []byte("gap echo:load-0 p")))
		s.Data(stops, s.delivery(first))
		s.Data(stops, s.delivery(first+2)) // one is missing behind the gap
		s.audit()
		m := s.metrics
		if got := m.StoppedFirst.Counts(); got[want] != 1 || len(got) != 1 {
			t.Errorf("%d behind the gap: %v, want %s", first, got, want)
		}
		msgs := map[string]int64{"received": 3, "announced": first - 1, "lost": 20 - first - 2}
		if got := m.StoppedMsgs.Counts(); fmt.Sprint(got) != fmt.Sprint(msgs) {
			t.Errorf("%d behind the gap: %v, want %v", first, got, msgs)
		}
		if m.Gaps.Count() != 0 || m.StoppedGaps.Count() != 1 || m.Latency.Samples()+s.warmup.Received != 10 {
			t.Errorf("%d gaps, %d of those who stop, %d deliveries to the others", m.Gaps.Count(), m.StoppedGaps.Count(), s.warmup.Received)
		}
	}
}

func TestDialReason(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.ECONNREFUSED: "refused", unix.ETIMEDOUT: "timeout", unix.EADDRNOTAVAIL: "no free port", unix.EMFILE: "no free descriptor", unix.EPERM: "EPERM",
	} {
		if got := dialReason(fmt.Errorf("connect: %w", os.NewSyscallError("connect", errno))); got != want {
			t.Errorf("%v: %q, want %q", errno, got, want)
		}
	}
	if got := dialReason(errors.New("?")); got != "dial" {
		t.Errorf("another error: %q, want dial", got)
	}
}
