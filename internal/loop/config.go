package loop

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config of a Loop; the zero value has the defaults named here.
type Config struct {
	Listen      string         // HOST:PORT to accept on; empty: only Dial
	MaxConns    int            // accepted connections beyond are closed at once; default: descriptor limit less 200
	ReadBuffer  int            // bytes, one for the whole loop; default 64 KiB
	MaxUnread   int            // most unconsumed bytes of one connection; default 1 MiB
	SendBuffer  int            // SO_SNDBUF of accepted connections in bytes, so that a slow reader shows early; default 128 KiB, -1 leaves the kernel's
	OutboxBytes int            // most unsent bytes of one connection, less when much of Budget is used; default 1 MiB
	Budget      *Budget        // most unsent bytes of the process, shared by its loops; default 256 MiB
	InboxTasks  int            // most posted functions that wait; default 1024
	Linger      time.Duration  // how long the loop holds netpoll's poller, waiting for more; default 0: not at all. Less while there are more loops than pollers. Needs GOMAXPROCS above the number of loops
	TLS         *tls.Config    // accepted connections speak TLS; default: none does
	DialTLS     *tls.Config    // dialled connections speak TLS, and are open once its handshake is done; not together with TLS; default: none does
	Proxies     []netip.Prefix // accepted connections must come from these and begin with a PROXY header; default: none does
	Logger      *slog.Logger   // default: none
}

// Budget bounds a number of bytes over several loops.
type Budget struct {
	Limit int64
	used  atomic.Int64
}

// Used is the number of bytes held now.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) <= b.Limit {
		return true
	}
	b.used.Add(int64(-n))
	return false
}

func (b *Budget) give(n int) { b.used.Add(int64(-n)) }

func (c Config) withDefaults() Config {
	def := func(v *int, otherwise int) {
		if *v == 0 {
			*v = otherwise
		}
	}
	def(&c.MaxConns, descriptorLimit()-200)
	def(&c.ReadBuffer, 64<<10)
	def(&c.MaxUnread, 1<<20)
	def(&c.SendBuffer, 128<<10)
	def(&c.OutboxBytes, 1<<20)
	def(&c.InboxTasks, 1024)
	if c.Budget == nil {
		c.Budget = &Budget{Limit: 256 << 20}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
