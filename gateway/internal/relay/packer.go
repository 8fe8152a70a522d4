package relay

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/internal/wsio"
)

// Compression says which publications may be compressed; the zero value, none.
type Compression struct {
	Level     int                       // of DEFLATE, 1 to 9; 0: off
	Threshold int                       // bytes of a WebSocket frame below which it stays as it is
	Wanted    func(channel string) bool // nil: everywhere
}

// packer makes the compressed form of publications: for each at most once, when the first connection that takes it is served, on
// that connection's loop. Bound: one deflater, of about 1 MB, for each loop that compresses at the same time; none before.
type packer struct {
	cfg Compression // Immutable.

	// Guarded by mu.
	mu   sync.Mutex
	free []*wsio.Deflater

	// Atomic.
	made, before, after atomic.Uint64 // compressions, and bytes of payload before and after them
}

// packed is the other form of one publication; it is a hub.Packed, shared by all loops.
type packed struct {
	by    *packer
	plain []byte // the whole WebSocket frame
	once  sync.Once
	made  atomic.Pointer[[]byte]
}

// of gives a publication's frame its other form, or nil if it is to have none.
func (p *packer) of(channel string, frame []byte) hub.Packed {
	c := &p.cfg
	if c.Level == 0 || len(frame) < c.Threshold || c.Wanted != nil && !c.Wanted(channel) {
		return nil
	}
	return &packed{by: p, plain: frame}
}

// Frame is hub.Packed's.
func (p *packed) Frame() []byte {
	p.once.Do(func() {
		b := p.by.pack(p.plain)
		p.made.Store(&b)
	})
	return *p.made.Load()
}

// Made is hub.Packed's.
func (p *packed) Made() []byte {
	if b := p.made.Load(); b != nil {
		return *b
	}
	return nil
}

// pack is a frame with its payload compressed, or the frame itself where that is no shorter.
func (p *packer) pack(frame []byte) []byte {
	h, ok, err := wsio.ParseHeader(frame)
	if !ok || err != nil {
		panic(fmt.Sprintf("BUG: a publication is no frame: %v", err))
	}
	payload := frame[h.Size:]
	d := p.take()
	short := d.Deflate(payload)
	defer p.give(d)
	p.made.Add(1)
	p.before.Add(uint64(len(payload)))
	if len(short) >= len(payload) {
		p.after.Add(uint64(len(payload)))
		return frame
	}
	p.after.Add(uint64(len(short)))
	return wsio.AppendDeflated(make([]byte, 0, wsio.MaxHeader-4+len(short)), h.OpCode, short)
}

func (p *packer) take() *wsio.Deflater {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free) - 1; n >= 0 {
		d := p.free[n]
		p.free = p.free[:n]
		return d
	}
	d, err := wsio.NewDeflater(p.cfg.Level)
	if err != nil {
		panic("BUG: the level was not checked: " + err.Error())
	}
	return d
}

func (p *packer) give(d *wsio.Deflater) {
	p.mu.Lock()
	p.free = append(p.free, d)
	p.mu.Unlock()
}
