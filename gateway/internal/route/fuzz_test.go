package route

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/internal/wsio"
)

// FuzzConnection writes anything to an open WebSocket, in up to 64 pieces. Whatever it is, no handler panics; what comes back is whole
// frames that a client may be sent, at most one of them Close, and nothing behind that.
func FuzzConnection(f *testing.F) {
	mask := [4]byte{1, 2, 3, 4}
	f.Add(wsio.AppendMasked(nil, ws.OpText, []byte("sub 1 a:x"), mask), uint8(3))
	f.Add(wsio.AppendMasked(nil, ws.OpBinary, []byte("pub 1 a:x id\nbody"), mask), uint8(200))
	f.Add(append([]byte{0x01, 0x81, 0, 0, 0, 0, 'p'}, 0x80, 0x83, 0, 0, 0, 0, 'i', 'n', 'g'), uint8(1))
	f.Add(wsio.AppendMasked(wsio.AppendMasked(nil, ws.OpPing, []byte("x"), mask), ws.OpClose, []byte{3, 232}, mask), uint8(9))
	r, _ := newTestRouter(f)
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		c := dialTest(t, r)
		defer func() { _ = c.Close() }()
		go func() {
			for n := len(b)/(int(cut)%64+1) + 1; len(b) > 0; b = b[min(n, len(b)):] {
				if _, err := c.Write(b[:min(n, len(b))]); err != nil {
					return
				}
			}
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		wantFrames(t, c)
		if n := r.loop.Stats().Panics; n != 0 {
			t.Fatalf("%d panics", n)
		}
	})
}

// wantFrames reads to the end.
func wantFrames(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	closed := false
	for in := bufio.NewReader(c); ; {
		h, err := ws.ReadHeader(in)
		if errors.Is(err, io.EOF) {
			return
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Fatal("the connection neither answers nor ends")
		}
		if err != nil { // reset: the server closed with bytes of ours unread
			return
		}
		if closed {
			t.Fatalf("%+v behind Close", h)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(in, payload); err != nil {
			t.Fatalf("a frame of %d bytes is cut: %v", h.Length, err)
		}
		if h.Masked || h.Rsv != 0 || !h.Fin {
			t.Fatalf("%+v from a server", h)
		}
		switch h.OpCode {
		case ws.OpText:
			if err := wsio.CheckText(payload); err != nil || len(bytes.TrimSpace(payload)) == 0 {
				t.Fatalf("%q, %v", payload, err)
			}
		case ws.OpClose:
			closed = true
			if _, _, err := wsio.ParseClose(payload); err != nil {
				t.Fatalf("close %q: %v", payload, err)
			}
		}
	}
}
