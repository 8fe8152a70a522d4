package loop

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cloudwego/netpoll"
)

// pollers are netpoll's, of which a process has one set for everybody in it. There are never fewer than before: netpoll
// would close some on which other loops live.
var pollers pollerCount

type pollerCount struct {
	mu    sync.Mutex
	n     atomic.Int32 // 0 is 1, netpoll's default; written under mu
	loops atomic.Int32 // that run
}

func (p *pollerCount) count() int { return max(int(p.n.Load()), 1) }

// crowded reports whether a loop that holds its poller may keep another one waiting.
func (p *pollerCount) crowded() bool { return int(p.loops.Load()) > p.count() }

func (p *pollerCount) atLeast(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n <= p.count() {
		return nil
	}
	if err := netpoll.Configure(netpoll.Config{PollerNum: n}); err != nil {
		return fmt.Errorf("netpoll: %w", err)
	}
	p.n.Store(int32(n))
	return nil
}
