package limit

import (
	"hash/maphash"
	"sync"
)

// maxChannels bounds the channels that are measured at a time.
const maxChannels = 1 << 16

// Channels measures publications by channel, over all loops of a gateway. Bound: the channels that have a publication in the last seconds, at most
// 65,536; policy: then all are forgotten, and have their bursts anew.
type Channels struct {
	seed maphash.Seed // Immutable.

	// Guarded by mu.
	mu    sync.Mutex
	used  map[uint64]flow
	swept int64 // ms
}

type flow struct {
	used int64 // thousandths
	at   int64 // ms
	full int64 // ms at which it is as if nothing had come
}

// NewChannels makes one.
func NewChannels() *Channels { return &Channels{seed: maphash.MakeSeed(), used: map[uint64]flow{}} }

// Take counts a publication at a time in ms. Otherwise it returns after how many ms one could pass; what is refused does not count, since others
// publish there too.
func (c *Channels) Take(now int64, channel []byte, r Rate) (retry int64) {
	key := maphash.Bytes(c.seed, channel)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now-c.swept > 1000 || len(c.used) >= maxChannels {
		c.sweep(now)
	}
	f := c.used[key]
	if now > f.at {
		f.used, f.at = r.drained(f.used, now-f.at), now
	}
	if retry = r.wait(f.used, 1); retry > 0 {
		return retry
	}
	f.used += 1000
	f.full = f.at + f.used/int64(r.PerSecond) + 1
	c.used[key] = f
	return 0
}

func (c *Channels) sweep(now int64) {
	c.swept = now
	for key, f := range c.used {
		if f.full <= now {
			delete(c.used, key)
		}
	}
	if len(c.used) >= maxChannels {
		clear(c.used)
	}
}

// Len is how many channels are measured.
func (c *Channels) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.used)
}
