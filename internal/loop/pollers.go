package loop

import (
	"fmt"
	"sync"

	"github.com/cloudwego/netpoll"
)

// pollers are netpoll's, of which a process has one set for everybody in it. There are never fewer than before: netpoll
// would close some on which other loops live.
var pollers = pollerCount{n: 1}

type pollerCount struct {
	mu sync.Mutex
	n  int // Guarded by mu.
}

func (p *pollerCount) atLeast(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n <= p.n {
		return nil
	}
	if err := netpoll.Configure(netpoll.Config{PollerNum: n}); err != nil {
		return fmt.Errorf("netpoll: %w", err)
	}
	p.n = n
	return nil
}
