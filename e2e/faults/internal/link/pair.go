package link

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// pair is one connection: its two halves.
type pair struct {
	// Immutable after Link.connect.
	link           *Link
	client, server net.Conn
	over           chan struct{} // closed by reset and close

	once sync.Once // closes over

	// Atomic.
	biting atomic.Bool
	left   atomic.Int64 // bytes until the bite
}

// carry passes bytes one way until that side ends, and then ends the other's reading.
func (p *pair) carry(d Direction, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.hold(d, n) {
				return
			}
			keep := p.bite(n)
			if _, werr := to.Write(buf[:keep]); werr != nil {
				p.reset()
				return
			}
			if keep < n {
				p.reset()
				return
			}
		}
		if err != nil {
			if c, ok := to.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
			return
		}
	}
}

// hold waits as long as the link wants n bytes to wait. It reports false when the connection has ended meanwhile.
func (p *pair) hold(d Direction, n int) bool {
	for {
		p.link.mu.Lock()
		gate, rate, latency := p.link.stalled[d], p.link.rate, p.link.latency
		p.link.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
				continue
			case <-p.over:
				return false
			}
		}
		if rate == 0 {
			return true
		}
		return p.wait(latency + time.Duration(n)*time.Second/time.Duration(rate))
	}
}

func (p *pair) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.over:
		return false
	}
}

// bite is how many of n bytes are let through.
func (p *pair) bite(n int) int {
	if !p.biting.Load() {
		return n
	}
	left := p.left.Add(-int64(n)) + int64(n)
	return int(min(max(left, 0), int64(n)))
}

// reset ends both halves by RST.
func (p *pair) reset() {
	p.once.Do(func() { close(p.over) })
	reset(p.client)
	reset(p.server)
}

// close ends what carry has left.
func (p *pair) close() {
	p.once.Do(func() { close(p.over) })
	_ = p.client.Close()
	_ = p.server.Close()
}

// reset closes by RST: what is unsent is thrown away, and the other side gets an error rather than an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
