package relay

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
)

func TestPacker(t *testing.T) {
	p := &packer{cfg: Compression{Level: 1, Threshold: 100, Wanted: func(channel string) bool { return channel != "not:x" }}}
	long := wsio.AppendFrame(nil, ws.OpBinary, bytes.Repeat([]byte("words and words "), 100))
	if p.of("not:x", long) != nil || p.of("x", long[:99]) != nil || (&packer{}).of("x", long) != nil {
		t.Fatal("packed what is not to be")
	}
	form := p.of("x", long)
	if form.Made() != nil || p.made.Load() != 0 {
		t.Fatal("made before it was asked for")
	}
	var all sync.WaitGroup
	for range 8 { // loops, all at once
		all.Go(func() {
			b := form.Frame()
			h, ok, err := wsio.ParseHeader(b)
			if !ok || err != nil || !h.RSV1 || h.OpCode != ws.OpBinary || !h.Fin || h.Size+h.Length != len(b) {
				t.Errorf("%+v, %v", h, err)
			}
			var f wsio.Inflater
			if got, err := f.Append(nil, b[h.Size:], 1600); err != nil || !bytes.Equal(got, long[4:]) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
	if p.made.Load() != 1 || p.before.Load() != 1600 || p.after.Load() > 100 || len(p.free) != 1 || &form.Made()[0] != &form.Frame()[0] {
		t.Fatalf("%d compressions of %d bytes to %d, %d deflaters", p.made.Load(), p.before.Load(), p.after.Load(), len(p.free))
	}

	noise := wsio.AppendFrame(nil, ws.OpText, []byte(randomText(500)))
	if same := p.of("x", noise); &same.Frame()[0] != &noise[0] || p.after.Load() < 500 {
		t.Fatal("what became no shorter does not go out as it was")
	}
}

// randomText is text that DEFLATE does not shorten below its own size: each byte is another of all that there are.
func randomText(n int) string {
	var b strings.Builder
	x := uint32(1)
	for range n {
		x = x*1664525 + 1013904223
		b.WriteByte(byte(x >> 24))
	}
	return b.String()
}

func BenchmarkPack(b *testing.B) {
	for level := 1; level <= 9; level += 4 {
		for _, n := range []int{600, 2000, 20_000} {
			p := &packer{cfg: Compression{Level: level}}
			var body strings.Builder
			for i := 0; body.Len() < n; i++ {
				fmt.Fprintf(&body, `{"id":%d,"user":"user-%d","text":"something was said about %d","at":17000000%05d},`, i*7919, i*31%97, i*i, i*131)
			}
			frame := wsio.AppendFrame(nil, ws.OpText, []byte(body.String()[:n]))
			short := 0
			b.Run(fmt.Sprintf("level=%d/bytes=%d", level, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					short = len(p.pack(frame))
				}
				b.ReportMetric(float64(short), "bytes")
			})
		}
	}
}
