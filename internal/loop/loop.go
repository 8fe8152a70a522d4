package loop

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/internal/slab"
)

const (
	maxEvents   = 512
	readTurn    = 256 << 10            // bytes of one connection before the others have their turn
	acceptTurn  = 256                  // connections accepted before the others have their turn
	lingerWait  = 8                    // ms of one wait while lingering: the monitor thread looks every 10
	yieldEvery  = 5 * time.Millisecond // runtime.Gosched: else the monitor thread takes this goroutine for a runaway
	lingerClose = 5                    // seconds for the rest of the outbox and the peer's FIN
)

// Loop is one event loop; see the package's doc for who may call what.
type Loop struct {
	// Immutable after Start.
	cfg     Config
	handler Handler
	clock   clock
	ep      int
	eventFD int
	wheelFD int
	wakeFD  int
	addr    net.Addr
	serving sync.WaitGroup
	netloop netpoll.EventLoop
	ended   chan struct{}  // closed when nothing runs on the loop any more
	shaking sync.WaitGroup // the handshakes of this loop
	vault   *vault
	proxied *proxied

	inbox inbox
	stats published

	// Owned by the loop.
	listenFD int               // -1: not accepting
	conns    slab.Slab[record] // by seat
	seats    seats
	adopted  map[int32]Handler // by seat
	open     int               // connections, without those adopted
	events   []unix.EpollEvent
	at, got  int // events[at:got] are still to be handled
	buf      []byte
	now      int64
	yielded  int64
	stints   int   // since the start
	wakeAt   int64 // what the timer of WakeAt is set to; 0: nothing
	wheel    wheel
	tails    tails
	outs     outboxes
	ready    []Conn // to be read again without an event
	reading  []Conn // the ready ones of this turn
	dead     []Conn // closed in this turn
	current  Conn   // whom a panic costs
	more     bool   // Turn has work left
	stopped  bool
	deaf     bool // out of descriptors: the listening socket is not watched
	vector   [maxVector]unix.Iovec
	owed     []byte // what the records that are owing are owed
	paying   []byte // that, and what it goes out with
	near     uint32 // of Near, so that the compiler leaves its looks in
	counts   counts
}

// New makes a loop and, when cfg.Listen is set, binds its port; connections are accepted from Start on.
func New(cfg Config) (*Loop, error) { return newLoop(cfg.withDefaults(), newHandshakes(), false) }

// NewGroup makes n loops that share the port of cfg.Listen and the budget; the kernel spreads connections over them.
func NewGroup(n int, cfg Config) ([]*Loop, error) {
	cfg = cfg.withDefaults()
	if err := pollers.atLeast(n); err != nil {
		return nil, err
	}
	shared := n > 1 && cfg.Listen != ""
	if shared {
		var err error
		if cfg.Listen, err = probe(cfg.Listen); err != nil {
			return nil, err
		}
	}
	loops, shakes := make([]*Loop, 0, n), newHandshakes()
	for range n {
		l, err := newLoop(cfg, shakes, shared)
		if err != nil {
			for _, l := range loops {
				l.release()
			}
			return nil, err
		}
		loops = append(loops, l)
	}
	return loops, nil
}

func newLoop(cfg Config, shakes *handshakes, shared bool) (*Loop, error) {
	l := &Loop{
		cfg:      cfg,
		clock:    newClock(),
		listenFD: -1,
		adopted:  map[int32]Handler{},
		ended:    make(chan struct{}),
		events:   make([]unix.EpollEvent, maxEvents),
		buf:      make([]byte, cfg.ReadBuffer),
	}
	if config := cmp.Or(cfg.TLS, cfg.DialTLS); config != nil {
		l.vault = newVault(config, shakes, cfg.ReadBuffer)
	}
	if len(cfg.Proxies) > 0 {
		l.proxied = &proxied{trusted: cfg.Proxies, remotes: map[int32]netip.AddrPort{}}
	}
	l.inbox.room.L = &l.inbox.mu
	l.now = l.clock.now()
	fds, err := openDescriptors()
	if err != nil {
		return nil, err
	}
	l.ep, l.eventFD, l.wheelFD, l.wakeFD = fds[0], fds[1], fds[2], fds[3]
	if cfg.Listen != "" {
		if l.listenFD, l.addr, err = listen(cfg.Listen, shared); err != nil {
			l.release()
			return nil, err
		}
		l.addOwn(l.listenFD)
	}
	for _, fd := range []int{l.eventFD, l.wheelFD, l.wakeFD} {
		l.addOwn(fd)
	}
	second := unix.ItimerSpec{Interval: unix.Timespec{Sec: 1}, Value: unix.NsecToTimespec(l.clock.base + 1e9)}
	if err := unix.TimerfdSettime(l.wheelFD, unix.TFD_TIMER_ABSTIME, &second, nil); err != nil {
		l.release()
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return l, nil
}

// Start begins to serve h, on a goroutine of netpoll; Stop ends it.
func (l *Loop) Start(h Handler) error {
	l.handler = h
	netloop, err := netpoll.NewEventLoop(nil)
	if err != nil {
		return fmt.Errorf("netpoll: %w", err)
	}
	l.netloop = netloop
	pollers.loops.Add(1)
	l.serving.Go(func() { _ = netloop.Serve(acceptor{l}) })
	up := make(chan struct{})
	l.Post(func() { close(up) }) // Serve must be under way before Stop may end it
	<-up
	return nil
}

// Stop closes every connection at once, tells the handler so, and waits until nothing of the loop runs any more. Posts that are
// waiting return false.
func (l *Loop) Stop() {
	if l.netloop == nil { // never started
		l.inbox.stop()
		close(l.ended)
		l.release()
		return
	}
	done := make(chan struct{})
	if !l.Post(func() { l.stop(); close(done) }) {
		return
	}
	<-done
	_ = l.netloop.Shutdown(context.Background()) // has no connections of its own to wait for
	l.serving.Wait()
	pollers.loops.Add(-1)
	l.shaking.Wait()
	close(l.ended)
	l.release()
}

// Ended is closed when the loop has stopped: what was posted and has not run by then never will.
func (l *Loop) Ended() <-chan struct{} { return l.ended }

// StopAccepting closes the listening socket; what has been accepted stays.
func (l *Loop) StopAccepting() {
	if l.listenFD >= 0 {
		closeFD(int32(l.listenFD))
		l.listenFD = -1
	}
}

func (l *Loop) stop() {
	l.StopAccepting()
	for seat := range l.conns.Len() {
		if c := l.Conn(seat); c.Gen != 0 {
			l.Close(c, ReasonStopped)
		}
	}
	l.bury()
	l.inbox.stop()
	l.stopped = true
	l.publish()
}

// release gives back the descriptors.
func (l *Loop) release() {
	for _, fd := range []int{l.ep, l.eventFD, l.wheelFD, l.wakeFD} {
		closeFD(int32(fd))
	}
	if l.listenFD >= 0 {
		closeFD(int32(l.listenFD))
	}
}

// stint runs turns until nothing has come for Config.Linger, or until netpoll's other descriptors must have theirs. A loop that goes back to
// netpoll after each event has the monitor thread take its processor each time, and look for others every 20 us for a while: at 20 publications a
// second that was a third of what they cost.
func (l *Loop) stint() {
	l.now = l.clock.now()
	l.stints++
	came, end := l.now, l.now+max(int64(l.cfg.Linger), int64(yieldEvery))
	wait := 0
	for !l.stopped {
		if l.round(wait) {
			came = l.now
		} else if l.now-came >= int64(l.cfg.Linger) || pollers.crowded() {
			break
		}
		if l.now > end {
			l.poke() // nothing else would call us for what is left, or to linger on
			break
		}
		wait = 0
		if l.cfg.Linger > 0 && !l.more && len(l.ready) == 0 {
			wait = lingerWait
		}
	}
	l.publish()
}

// round is one turn: wait, handle, send. It reports whether there may be more to do. A panic of the handler costs the
// connection it was called for; what was not handled yet is handled in the next round.
func (l *Loop) round(wait int) (more bool) {
	defer l.recoverCurrent(&more)
	if l.at == l.got {
		l.at, l.got = 0, 0
		n, errno := epollWait(l.ep, l.events, wait)
		l.now = l.clock.now()
		if errno == unix.EINTR {
			return true
		}
		if n <= 0 && !l.more && len(l.ready) == 0 {
			l.yield()
			return false
		}
		l.got = max(n, 0)
	}
	for l.at < l.got {
		ev := &l.events[l.at]
		l.at++
		l.handle(ev)
	}
	l.runInbox()
	l.readAgain()
	l.current = Conn{}
	l.counts.Turns++
	l.more = l.handler.Turn()
	l.bury()
	l.yield()
	return true
}

func (l *Loop) yield() {
	if l.now-l.yielded > int64(yieldEvery) {
		l.yielded = l.now
		runtime.Gosched()
	}
}

func (l *Loop) recoverCurrent(more *bool) {
	v := recover()
	if v == nil {
		return
	}
	*more = true
	l.counts.Panics++
	l.cfg.Logger.Error("panic in an event handler: its connection is closed", "panic", v, "seat", l.current.Seat, "stack", string(debug.Stack()))
	l.Close(l.current, ReasonPanic)
	l.current = Conn{}
}

// handle serves one event: of a connection, or of one of the loop's own descriptors.
func (l *Loop) handle(ev *unix.EpollEvent) {
	c := Conn{Seat: ev.Fd, Gen: uint32(ev.Pad)}
	if c.Gen == 0 {
		l.handleOwn(int(ev.Fd))
		return
	}
	r := l.conns.At(c.Seat)
	if r.gen != c.Gen || r.state == stateFree || r.state == stateDead {
		return
	}
	l.current = c
	if r.state == stateDialing {
		l.connected(c, r)
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 && r.out > 0 && l.flush(c, r) {
		l.emptied(c, r)
	}
	if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		r.flags |= flagHangup
	}
	if ev.Events&^unix.EPOLLOUT != 0 {
		l.read(c, r)
	}
}

func (l *Loop) handleOwn(fd int) {
	switch fd {
	case l.listenFD:
		l.acceptBurst()
	case l.eventFD:
		l.takeInbox()
	case l.wheelFD:
		l.advance()
	case l.wakeFD:
		drainCounter(l.wakeFD)
		l.wakeAt = 0
	}
}
