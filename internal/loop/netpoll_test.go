package loop

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"golang.org/x/sys/unix"
)

// nested is a netpoll.Listener as a Loop is one: its descriptor is an epoll instance, with an eventfd in it.
type nested struct {
	ep, event int
	calls     atomic.Int64
	inside    atomic.Int64
	together  atomic.Bool
	onCall    func()
}

func (n *nested) Accept() (net.Conn, error) {
	if n.inside.Add(1) > 1 {
		n.together.Store(true)
	}
	defer n.inside.Add(-1)
	n.calls.Add(1)
	n.onCall()
	return nil, nil
}
func (n *nested) Fd() int        { return n.ep }
func (n *nested) Close() error   { return nil }
func (n *nested) Addr() net.Addr { return nil }

func (n *nested) poke(t *testing.T) {
	t.Helper()
	if _, err := unix.Write(n.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
}

func (n *nested) wantCalls(t *testing.T, atLeast int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); n.calls.Load() < atLeast; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d calls of Accept, want %d", n.calls.Load(), atLeast)
		}
	}
}

// What the loop rests on in netpoll, which is pinned for it: ConvertListener takes what has an Fd; Accept is called when
// the nested epoll instance becomes readable, again and again while it is (level-triggered), never twice at a time; (nil, nil)
// ends it quietly; nothing is called at rest, and nothing after Shutdown.
func TestNetpollDrivesANestedEpoll(t *testing.T) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(ep); _ = unix.Close(event) }()
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(event)}); err != nil {
		t.Fatal(err)
	}
	n := &nested{ep: ep, event: event}
	left := atomic.Int64{}
	n.onCall = func() {
		if left.Add(-1) < 0 { // only now is it drained: until then it stays readable
			drainCounter(event)
		}
	}
	netloop, err := netpoll.NewEventLoop(nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- netloop.Serve(n) }()

	left.Store(0)
	n.poke(t)
	n.wantCalls(t, 1)
	left.Store(5)
	before := n.calls.Load()
	n.poke(t)
	n.wantCalls(t, before+6)

	quiet := n.calls.Load()
	time.Sleep(100 * time.Millisecond) //nolint:forbidigo // nothing can be waited for: it must not happen
	if n.calls.Load() > quiet {
		t.Error("Accept is called although nothing is readable")
	}
	if n.together.Load() {
		t.Error("Accept was called twice at a time")
	}
	if err := netloop.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	after := n.calls.Load()
	n.poke(t)
	time.Sleep(50 * time.Millisecond) //nolint:forbidigo // as above
	if n.calls.Load() > after {
		t.Error("Accept is called after Shutdown")
	}
}

// A loop that lingers does not go back to netpoll between events that are further apart than one wait, unless others wait for the poller.
func TestLingerKeepsThePoller(t *testing.T) {
	const events = 10
	h, done := &echo{}, make(chan int)
	left, due, before := events, int64(0), 0 // of the loop
	h.onTurn = func() bool {
		if left == 0 || due == 0 {
			return false
		}
		if h.l.Now() >= due {
			due += 2 * lingerWait * int64(time.Millisecond)
			if left--; left == 0 {
				done <- h.l.stints - before
				return false
			}
		}
		h.l.WakeAt(due)
		return false
	}
	l := newTestLoop(t, Config{Linger: time.Minute}, h)
	if pollers.crowded() {
		t.Fatal("loops of another test are still there")
	}
	onLoop(l, func() { before, due = l.stints, l.Clock()+1 })
	if more := <-done; more != 0 {
		t.Errorf("%d times back to netpoll between %d events", more, events)
	}
	for !pollers.crowded() {
		newTestLoop(t, Config{Linger: time.Minute}, &echo{})
	}
	onLoop(newTestLoop(t, Config{}, &echo{}), func() {}) // would wait for a minute behind one of them
}
