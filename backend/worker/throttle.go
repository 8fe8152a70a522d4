package worker

import (
	"maps"
	"sync"
	"time"
)

// maxThrottled bounds what is remembered: names of namespaces come from clients.
const maxThrottled = 256

// throttle lets each key through once in a while.
type throttle struct {
	every time.Duration

	// Guarded by mu.
	mu   sync.Mutex
	last map[string]time.Time
}

// allow says whether key has not been let through for a while. With too many keys at a time new ones are not.
func (t *throttle) allow(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.last[key]; ok && now.Sub(last) < t.every {
		return false
	}
	if len(t.last) >= maxThrottled {
		maps.DeleteFunc(t.last, func(_ string, last time.Time) bool { return now.Sub(last) >= t.every })
	}
	if len(t.last) >= maxThrottled {
		return false
	}
	if t.last == nil {
		t.last = make(map[string]time.Time)
	}
	t.last[key] = now
	return true
}
