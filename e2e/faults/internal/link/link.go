// Package link is a TCP proxy that breaks on demand: a cable between two programs with somebody's hand on it.
//
//	client ──▶ Link.Addr ═══ cut, refuse, stall, slow, bite ═══▶ target
//
// A Link owns its listener, its connections and three goroutines: one that accepts, two for each connection. Close ends them and
// waits. It holds at most 32 KB of each direction of a connection; what it does not take waits in the kernel's buffers, as on a real
// network. It refuses to know what it carries. An unreachable target resets the client's connection.
package link

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// dialTimeout is how long the target may take to accept: it is on this machine.
const dialTimeout = 5 * time.Second

// Link is one proxied address. Its methods may be called concurrently.
type Link struct {
	// Immutable after New.
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	// Guarded by mu.
	mu      sync.Mutex
	pairs   map[*pair]struct{}
	refuse  bool
	stalled [2]chan struct{} // by direction: closed when the stall is over; nil: no stall
	rate    int              // bytes a second; 0: as fast as it goes
	latency time.Duration
	closed  bool
}

// Direction of bytes.
type Direction int

// The directions.
const (
	Up   Direction = iota // to the target
	Down                  // to the client
)

// New listens on a free port of 127.0.0.1 and passes everything to target.
func New(target string) (*Link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", target, err)
	}
	link := &Link{listener: l, target: target, pairs: map[*pair]struct{}{}}
	link.wg.Go(link.accept)
	return link, nil
}

// Addr is where clients connect to.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Close ends all connections and waits for the goroutines.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.listener.Close()
	l.Heal()
	l.Cut()
	l.wg.Wait()
}

// Cut resets all connections. New ones are passed on.
func (l *Link) Cut() {
	for _, p := range l.all() {
		p.reset()
	}
}

// Refuse resets all connections, and new ones as soon as they are made, until Heal.
func (l *Link) Refuse() {
	l.mu.Lock()
	l.refuse = true
	l.mu.Unlock()
	l.Cut()
}

// Stall holds bytes back until Heal. Connections are still made: nothing comes out of them.
func (l *Link) Stall(directions ...Direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range directions {
		if l.stalled[d] == nil {
			l.stalled[d] = make(chan struct{})
		}
	}
}

// Slow bounds each direction of each connection to rate bytes a second and delays what it passes by latency, until Heal.
func (l *Link) Slow(rate int, latency time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.latency = rate, latency
}

// Bite resets each connection there is once it has carried so many more bytes, both ways together, be that in the middle of
// a message. Those that do not carry so many until Heal survive.
func (l *Link) Bite(bytes int) {
	for _, p := range l.all() {
		p.left.Store(int64(bytes))
		p.biting.Store(true)
	}
}

// Heal ends Refuse, Stall, Slow and Bite.
func (l *Link) Heal() {
	l.mu.Lock()
	l.refuse, l.rate, l.latency = false, 0, 0
	for d, gate := range l.stalled {
		if gate != nil {
			close(gate)
			l.stalled[d] = nil
		}
	}
	l.mu.Unlock()
	for _, p := range l.all() {
		p.biting.Store(false)
	}
}

func (l *Link) all() []*pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*pair, 0, len(l.pairs))
	for p := range l.pairs {
		list = append(list, p)
	}
	return list
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed: nothing else ends a listener on 127.0.0.1
		}
		if l.refusing() {
			reset(client)
			continue
		}
		l.wg.Go(func() { l.connect(client) })
	}
}

func (l *Link) refusing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refuse
}

// connect carries one connection to its end.
func (l *Link) connect(client net.Conn) {
	server, err := net.DialTimeout("tcp", l.target, dialTimeout)
	if err != nil {
		reset(client)
		return
	}
	p := &pair{link: l, client: client, server: server, over: make(chan struct{})}
	l.mu.Lock()
	l.pairs[p] = struct{}{}
	dead := l.closed || l.refuse
	l.mu.Unlock()
	if dead {
		p.reset()
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.carry(Up, client, server) })
	p.carry(Down, server, client)
	wg.Wait()
	p.close()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
}
