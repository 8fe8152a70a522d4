package loop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// echo answers what it hears; its hooks replace that.
type echo struct {
	l      *Loop
	onOpen func(Conn)
	onData func(Conn, []byte) int
	onTime func(Conn)
	onTurn func() bool
	onIdle func(Conn)
	closed chan Reason
	opened atomic.Int64
}

func (e *echo) Open(c Conn) {
	e.opened.Add(1)
	if e.onOpen != nil {
		e.onOpen(c)
	}
}

func (e *echo) Data(c Conn, b []byte) int {
	if e.onData != nil {
		return e.onData(c, b)
	}
	e.l.SendCopy(c, b)
	return len(b)
}

func (e *echo) Timer(c Conn) {
	if e.onTime != nil {
		e.onTime(c)
	}
}

func (e *echo) Drained(c Conn) {
	if e.onIdle != nil {
		e.onIdle(c)
	}
}

func (e *echo) Turn() bool { return e.onTurn != nil && e.onTurn() }

func (e *echo) Closed(_ Conn, why Reason) {
	select {
	case e.closed <- why:
	default:
	}
}

func newTestLoop(t *testing.T, cfg Config, h *echo) *Loop {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.l = l
	h.closed = make(chan Reason, 64)
	if err := l.Start(h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

func dialTest(t *testing.T, l *Loop) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

func wantRead(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %.80q, want %.80q", got, want)
	}
}

func wantClosed(t *testing.T, h *echo, want Reason) {
	t.Helper()
	select {
	case got := <-h.closed:
		if got != want {
			t.Fatalf("closed for reason %d, want %d", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("not closed, want reason %d", want)
	}
}

func onLoop(l *Loop, f func()) {
	done := make(chan struct{})
	l.Post(func() { defer close(done); f() })
	<-done
}

func TestEchoAndPeerClose(t *testing.T) {
	for _, linger := range []time.Duration{0, 10 * time.Millisecond} {
		t.Run(linger.String(), func(t *testing.T) {
			h := &echo{}
			l := newTestLoop(t, Config{Linger: linger}, h)
			c := dialTest(t, l)
			for i := range 100 {
				msg := fmt.Appendf(nil, "hello %d", i)
				if _, err := c.Write(msg); err != nil {
					t.Fatal(err)
				}
				wantRead(t, c, msg)
			}
			_ = c.Close()
			wantClosed(t, h, ReasonPeer)
			onLoop(l, l.publish)
			if got := l.Stats(); got.Accepted != 1 {
				t.Fatalf("accepted %d", got.Accepted)
			}
		})
	}
}

// A frame of any size must reach the handler whole once, however it is cut, with nothing lost behind it.
func TestDataKeepsWhatIsNotConsumed(t *testing.T) {
	const size = 200_000
	var got bytes.Buffer
	done := make(chan struct{})
	h := &echo{}
	h.onData = func(_ Conn, b []byte) int {
		if len(b) < size {
			return 0
		}
		got.Write(b[:size])
		if got.Len() == 3*size {
			close(done)
		}
		return size
	}
	l := newTestLoop(t, Config{}, h)
	c := dialTest(t, l)
	want := make([]byte, 3*size)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	for b := want; len(b) > 0; {
		n := min(len(b), 1+len(b)%30_011)
		if _, err := c.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	<-done
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("the bytes changed on the way")
	}
	onLoop(l, func() {
		if l.tails.bytes != 0 {
			t.Errorf("%d bytes of tails are still held", l.tails.bytes)
		}
	})
}

func TestUnreadIsBounded(t *testing.T) {
	h := &echo{onData: func(Conn, []byte) int { return 0 }}
	l := newTestLoop(t, Config{MaxUnread: 1000}, h)
	c := dialTest(t, l)
	_, _ = c.Write(make([]byte, 1001))
	wantClosed(t, h, ReasonUnread)
}

func TestSlowReaderGetsEverythingInOrder(t *testing.T) {
	const frames, size = 400, 10_000
	h := &echo{}
	results := map[Result]int{}
	h.onData = func(c Conn, b []byte) int {
		for i := range frames {
			frame := bytes.Repeat([]byte{byte(i)}, size)
			results[h.l.Send(c, frame)]++
		}
		return len(b)
	}
	l := newTestLoop(t, Config{OutboxBytes: frames * size}, h)
	c := dialTest(t, l)
	_, _ = c.Write([]byte("go"))
	for i := range frames {
		wantRead(t, c, bytes.Repeat([]byte{byte(i)}, size))
	}
	onLoop(l, func() {
		if results[Queued] == 0 || results[Full] != 0 {
			t.Errorf("results %v: nothing was queued, or something refused", results)
		}
		if used := l.cfg.Budget.Used(); used != 0 {
			t.Errorf("budget still holds %d bytes", used)
		}
	})
}

func TestOutboxBoundAndDropUnsent(t *testing.T) {
	h := &echo{}
	full := make(chan Conn, 1)
	h.onData = func(c Conn, b []byte) int {
		for i := 0; ; i++ {
			if h.l.SendCopy(c, bytes.Repeat([]byte{byte(i % 251)}, 1000)) == Full {
				full <- c
				return len(b)
			}
		}
	}
	l := newTestLoop(t, Config{OutboxBytes: 50_000, SendBuffer: 16 << 10}, h)
	c := dialTest(t, l)
	_ = c.SetReadBuffer(4096)
	_, _ = c.Write([]byte("go"))
	id := <-full
	onLoop(l, func() {
		if n := l.outs.boxes[l.record(id).out].bytes; n < 40_000 || n > 50_000 {
			t.Errorf("%d bytes unsent at the bound of 50000", n)
		}
		if n := l.DropUnsent(id); n < 40_000 {
			t.Errorf("dropped %d bytes", n)
		}
		l.SendCopy(id, []byte("end"))
		l.CloseAfterFlush(id)
	})
	all, err := io.ReadAll(c)
	if err != nil || len(all)%1000 != 3 || !bytes.HasSuffix(all, []byte("end")) {
		t.Fatalf("the stream was cut within a frame: %d bytes, %v", len(all), err)
	}
	_ = c.Close()
	wantClosed(t, h, ReasonLinger)
	if used := l.cfg.Budget.Used(); used != 0 {
		t.Fatalf("budget still holds %d bytes", used)
	}
}

func TestPauseStopsReadingAndResumeLosesNothing(t *testing.T) {
	h := &echo{}
	var id atomic.Pointer[Conn]
	paused := true
	h.onData = func(c Conn, b []byte) int {
		id.Store(&c)
		if paused {
			h.l.Pause(c)
			return 1 // the rest waits unread
		}
		h.l.SendCopy(c, b)
		return len(b)
	}
	l := newTestLoop(t, Config{}, h)
	c := dialTest(t, l)
	_, _ = c.Write([]byte("?abc"))
	for id.Load() == nil {
		runtime.Gosched()
	}
	_, _ = c.Write([]byte("def"))
	onLoop(l, func() { paused = false; l.Resume(*id.Load()) })
	wantRead(t, c, []byte("abcdef"))
}

func TestPanicCostsOneConnection(t *testing.T) {
	h := &echo{}
	h.onData = func(c Conn, b []byte) int {
		if b[0] == '!' {
			panic("test")
		}
		h.l.SendCopy(c, b)
		return len(b)
	}
	l := newTestLoop(t, Config{}, h)
	good, bad := dialTest(t, l), dialTest(t, l)
	_, _ = bad.Write([]byte("!"))
	wantClosed(t, h, ReasonPanic)
	_, _ = good.Write([]byte("still there"))
	wantRead(t, good, []byte("still there"))
}

func TestTimerFiresInItsSecond(t *testing.T) {
	h := &echo{}
	fired := make(chan uint32, 3)
	h.onOpen = func(c Conn) { h.l.Arm(c, 1) }
	h.onTime = func(c Conn) {
		fired <- h.l.Tick()
		h.l.Arm(c, 1)
	}
	l := newTestLoop(t, Config{}, h)
	dialTest(t, l)
	first, second := <-fired, <-fired
	if second != first+1 {
		t.Fatalf("armed for one second: fired at ticks %d and %d", first, second)
	}
}

// The wheel against a naive model: each timer fires once, at its second, whatever is armed and disarmed meanwhile.
func TestWheelAgainstModel(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	due := map[int32]uint32{}
	h := &echo{l: l}
	h.onTime = func(c Conn) {
		if due[c.Seat] != l.Tick() {
			t.Fatalf("seat %d fired at %d, due %d", c.Seat, l.Tick(), due[c.Seat])
		}
		delete(due, c.Seat)
	}
	l.handler = h
	const n = 300
	for range n {
		_, r := l.sit()
		*r = record{gen: 1, state: stateOpen}
	}
	seed := uint32(1)
	random := func(n uint32) uint32 { seed = seed*1664525 + 1013904223; return seed >> 8 % n }
	for range 500 {
		for range 20 {
			seat := int32(1 + random(n))
			secs := random(200)
			l.Arm(Conn{Seat: seat, Gen: 1}, int(secs))
			delete(due, seat)
			if secs > 0 {
				due[seat] = l.Tick() + secs
			}
		}
		l.wheel.tick++
		l.fire(slotAt(l.wheel.tick))
		for seat, at := range due {
			if at <= l.Tick() {
				t.Fatalf("seat %d was due at %d, now %d", seat, at, l.Tick())
			}
		}
	}
}

func TestDialAndRefused(t *testing.T) {
	h := &echo{}
	l := newTestLoop(t, Config{}, h)
	remote := netip.MustParseAddrPort(l.Addr().String())
	onLoop(l, func() {
		if _, err := l.Dial(netip.MustParseAddrPort("127.0.0.9:0"), remote); err != nil {
			t.Error(err)
		}
	})
	for h.opened.Load() != 2 { // both ends
		runtime.Gosched()
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(dead.Addr().String())
	_ = dead.Close()
	onLoop(l, func() { _, _ = l.Dial(netip.AddrPort{}, gone) })
	wantClosed(t, h, ReasonRefused)
}

// TestWakeAtIsPrecise: a handler that asks in every turn, as handlers do, is woken for each of its times by the timer and
// not, a second later, by the loop's own tick.
func TestWakeAtIsPrecise(t *testing.T) {
	const times = 50
	h, done := &echo{}, make(chan struct{})
	left, due := times, int64(0) // of the loop
	h.onTurn = func() bool {
		if left > 0 && due > 0 && h.l.Now() >= due {
			left--
			due = h.l.Clock() + int64(time.Millisecond)
			if left == 0 {
				close(done)
			}
		}
		if left > 0 && due > 0 {
			h.l.WakeAt(due)
		}
		return false
	}
	l := newTestLoop(t, Config{}, h)
	onLoop(l, func() { due = l.Clock() + 30_000_000 })
	select {
	case <-done:
	case <-time.After(times * time.Second / 2):
		t.Fatalf("woken %d times of %d", times-left, times)
	}
}

// TestClockIsNotBehind: a timer that has fired by the kernel's clock is due by this one, however the pair was read.
func TestClockIsNotBehind(t *testing.T) {
	for range 2000 {
		c := newClock()
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		if now := c.now(); now < ts.Nano() {
			t.Fatalf("%d ns behind", ts.Nano()-now)
		}
	}
}

func TestGroupSharesOnePort(t *testing.T) {
	loops, err := NewGroup(2, Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	handlers := []*echo{{}, {}}
	for i, l := range loops {
		handlers[i].l, handlers[i].closed = l, make(chan Reason, 1000)
		if err := l.Start(handlers[i]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
	}
	for i := range 200 {
		c := dialTest(t, loops[0])
		_, _ = c.Write([]byte{byte(i)})
		wantRead(t, c, []byte{byte(i)})
	}
	a, b := handlers[0].opened.Load(), handlers[1].opened.Load()
	if a == 0 || b == 0 || a+b != 200 {
		t.Fatalf("the kernel gave the loops %d and %d of 200 connections", a, b)
	}
	if _, err := New(Config{Listen: loops[0].Addr().String()}); err == nil {
		t.Fatal("a stranger could bind the same port")
	}
}

func TestStopEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	h := &echo{closed: make(chan Reason, 8)}
	l, err := New(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	h.l = l
	if err := l.Start(h); err != nil {
		t.Fatal(err)
	}
	c := dialTest(t, l)
	_, _ = c.Write([]byte("x"))
	wantRead(t, c, []byte("x"))
	l.Stop()
	wantClosed(t, h, ReasonStopped)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection is still open")
	}
	if l.Post(func() {}) {
		t.Fatal("a stopped loop took a function")
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+1; { // netpoll keeps its poller
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func TestRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != 36 {
		t.Fatalf("an idle connection costs %d bytes; the docs say 36", n)
	}
}

func TestEchoDoesNotAllocate(t *testing.T) {
	h := &echo{}
	l := newTestLoop(t, Config{}, h)
	c := dialTest(t, l)
	msg, buf := []byte("hello"), make([]byte, 5)
	n := testing.AllocsPerRun(2000, func() {
		_, _ = c.Write(msg)
		_, _ = io.ReadFull(c, buf)
	})
	if n != 0 {
		t.Fatalf("%v allocations per echo", n)
	}
}

// TestAdopt serves a socket by a Handler of its own: it hears what comes, of any length, and the end; it is no connection.
func TestAdopt(t *testing.T) {
	h := &echo{}
	l := newTestLoop(t, Config{MaxUnread: 1 << 10}, h)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	other := os.NewFile(uintptr(fds[1]), "other")
	defer other.Close()
	own := &echo{l: l, closed: make(chan Reason, 1)}
	whole := make(chan int, 1)
	const size = 10 << 10 // more than MaxUnread
	own.onData = func(_ Conn, b []byte) int {
		if len(b) < size {
			return 0
		}
		whole <- len(b)
		return len(b)
	}
	var c Conn
	onLoop(l, func() {
		c = l.Adopt(int32(fds[0]), own)
		l.SendCopy(c, []byte("hello"))
	})
	buf := make([]byte, 5)
	if _, err := io.ReadFull(other, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("%q, %v", buf, err)
	}
	for range 10 {
		if _, err := other.Write(make([]byte, size/10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := <-whole; n != size {
		t.Errorf("%d bytes, want %d", n, size)
	}
	onLoop(l, l.publish)
	if s := l.Stats(); s.Conns != 0 || s.BytesIn != 0 || s.BytesOut != 0 || h.opened.Load() != 0 {
		t.Errorf("%+v", s)
	}
	l.Wake()
	_ = other.Close()
	if why := <-own.closed; why != ReasonPeer {
		t.Errorf("closed for %v", why)
	}
	onLoop(l, func() {
		if len(l.adopted) != 0 || l.Alive(c) {
			t.Error("still there")
		}
	})
}
