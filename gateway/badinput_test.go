package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/internal/wsio"
)

// wire is a TCP connection on which the test writes what it likes.
type wire struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (g *testGateway) wire() *wire {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	return &wire{Conn: c, t: g.t, r: bufio.NewReader(c)}
}

// upgrade does the handshake and reads hello. What is in behind goes out in the same packet as the request.
func (w *wire) upgrade(behind ...byte) *wire {
	w.t.Helper()
	w.send(append(wsio.AppendRequest(nil, "x", "/ws", [16]byte{1}, "millrace.v1", ""), behind...))
	res, err := http.ReadResponse(w.r, nil)
	if err != nil || res.StatusCode != 101 {
		w.t.Fatalf("%v, %v", res, err)
	}
	if f := w.frame(); !strings.HasPrefix(string(f.Payload), "hello ") {
		w.t.Fatalf("first frame %q", f.Payload)
	}
	return w
}

func (w *wire) send(b []byte) {
	w.t.Helper()
	if _, err := w.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) frame() ws.Frame {
	w.t.Helper()
	h, err := ws.ReadHeader(w.r)
	if err != nil {
		w.t.Fatalf("read a frame: %v", err)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(w.r, f.Payload); err != nil {
		w.t.Fatalf("read a frame: %v", err)
	}
	return f
}

// wantClose reads to the Close frame, which must be the only one and the last bytes, and have that code.
func (w *wire) wantClose(code ws.StatusCode) {
	w.t.Helper()
	for {
		f := w.frame()
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		if got, _, err := wsio.ParseClose(f.Payload); err != nil || got != code {
			w.t.Fatalf("closed with %d %v (%q), want %d", got, err, f.Payload, code)
		}
		if rest, err := io.ReadAll(w.r); err != nil || len(rest) > 0 {
			w.t.Fatalf("after the Close frame: %q, %v", rest, err)
		}
		return
	}
}

func masked(op ws.OpCode, payload string) []byte {
	return wsio.AppendMasked(nil, op, []byte(payload), [4]byte{1, 2, 3, 4})
}

// While anything below happens to others, somebody else on the gateway must not notice.
func TestBadInputCostsOnlyItsSender(t *testing.T) {
	g := newTestGateway(t, Config{MaxFrame: 4096})
	bystander := g.connect(client.Options{})
	bystander.ask("sub 1 direct:x", "ok 1")

	t.Run("commands", func(t *testing.T) {
		c := g.connect(client.Options{})
		for _, f := range []struct{ frame, answer string }{
			{"", "err - 400"},
			{"hullo", "err - 400"},
			{"sub direct:x", "err - 400"},
			{"pub\nbody", "err - 400"},
			{"sub 1 bad!channel", "err 1 400"},
			{"sub 2 " + strings.Repeat("x", 1100), "err - 400"},
			{"sub 3 $sys:x", "err 3 403"},
			{"pub 4 nowhere:x\nbody", "err 4 403"},
		} {
			c.ask(f.frame, f.answer)
		}
		c.ask("ping 9", "pong 9")
	})
	t.Run("ten malformed heads", func(t *testing.T) {
		c := g.connect(client.Options{})
		for range 10 {
			c.ask("what is this", "err - 400")
		}
		if bye := c.wantClosed(4103); bye == nil || bye.Code != 4103 {
			t.Fatalf("%+v", bye)
		}
	})
	for name, f := range map[string]struct {
		bytes []byte
		code  ws.StatusCode
	}{
		"text that is not UTF-8":      {masked(ws.OpText, "pub 1 direct:x\n\xff\xfe"), 1007},
		"frame over the limit":        {masked(ws.OpText, "pub 1 direct:x\n"+strings.Repeat("x", 5000)), 1009},
		"announced frame of 2^40":     {[]byte{0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009},
		"frame without a mask":        {wsio.AppendFrame(nil, ws.OpText, []byte("ping")), 1002},
		"reserved bit":                {[]byte{0xc1, 0x80, 1, 2, 3, 4}, 1002},
		"reserved opcode":             {[]byte{0x83, 0x80, 1, 2, 3, 4}, 1002},
		"continuation of nothing":     {masked(ws.OpContinuation, "x"), 1002},
		"length not in shortest form": {[]byte{0x81, 0xfe, 0, 1, 1, 2, 3, 4, 'x'}, 1002},
		"close code that must not be": {masked(ws.OpClose, "\x03\xed"), 1002},
		"fragments over the limit":    {append([]byte{0x01, 0xfe, 0x0f, 0xa0, 0, 0, 0, 0}, append(bytes.Repeat([]byte{'a'}, 4000), 0x80, 0xe4, 0, 0, 0, 0)...), 1009},
		"fragment that is not UTF-8":  {[]byte{0x01, 0x82, 0, 0, 0, 0, 'a', 0xff}, 1007},
		"character cut at the end":    {append([]byte{0x01, 0x81, 0, 0, 0, 0, 0xc3}, 0x80, 0x80, 0, 0, 0, 0), 1007},
		"new message in a fragmented": {append([]byte{0x01, 0x81, 0, 0, 0, 0, 'a'}, masked(ws.OpText, "ping")...), 1002},
		"close by the client":         {masked(ws.OpClose, "\x03\xe8bye"), 1000},
		"close without a code":        {masked(ws.OpClose, ""), 1005},
		"ping, then close":            {append(masked(ws.OpPing, "hi"), masked(ws.OpClose, "\x0f\xa0")...), 4000},
	} {
		t.Run(name, func(t *testing.T) {
			w := g.wire()
			w.t = t
			w.upgrade().send(f.bytes)
			w.wantClose(f.code)
		})
	}
	t.Run("handshakes", func(t *testing.T) {
		for name, f := range map[string]struct {
			head   string
			status int
		}{
			"endless head":   {"GET /ws HTTP/1.1\r\nX: " + strings.Repeat("x", 9000), 431},
			"long head":      {"GET /ws HTTP/1.1\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", 431},
			"garbage":        {"hello\r\n\r\n", 400},
			"other path":     {"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", 404},
			"slow head":      {"GET /ws HTTP/1.1\r\nHost: x\r\n", 408},
			"nothing at all": {"", 408},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := g.wire()
				w.t = t
				w.send([]byte(f.head))
				res, err := http.ReadResponse(w.r, nil)
				if err != nil || res.StatusCode != f.status {
					t.Fatalf("%v, %v; want %d", res, err, f.status)
				}
			})
		}
	})
	bystander.ask("pub - direct:x\nstill here", "msg direct:x")
}

// Frames are frames however they are cut: in the packet of the handshake, byte by byte, in fragments with a ping between.
func TestFramesHoweverTheyCome(t *testing.T) {
	g := newTestGateway(t, Config{})
	w := g.wire().upgrade(masked(ws.OpText, "ping 1")...)
	if f := w.frame(); string(f.Payload) != "pong 1" {
		t.Fatalf("%q", f.Payload)
	}
	for _, b := range masked(ws.OpBinary, "ping 2") {
		w.send([]byte{b})
	}
	if f := w.frame(); string(f.Payload) != "pong 2" {
		t.Fatalf("%q", f.Payload)
	}
	w.send([]byte{0x01, 0x83, 0, 0, 0, 0, 'p', 'i', 'n'})
	w.send(masked(ws.OpPing, "between"))
	if f := w.frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "between" {
		t.Fatalf("%+v", f)
	}
	w.send([]byte{0x80, 0x83, 0, 0, 0, 0, 'g', ' ', '3'})
	if f := w.frame(); string(f.Payload) != "pong 3" {
		t.Fatalf("%q", f.Payload)
	}
	var many []byte
	for i := range 1000 {
		many = append(many, masked(ws.OpText, fmt.Sprintf("ping %d", i+4))...)
	}
	w.send(many)
	for i := range 1000 {
		if f := w.frame(); string(f.Payload) != fmt.Sprintf("pong %d", i+4) {
			t.Fatalf("%q", f.Payload)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	g := newTestGateway(t, Config{Heartbeat: time.Second})
	alive, ctx := g.connect(client.Options{}), t.Context()
	go func() { _, _ = alive.Read(ctx) }() // answers the pings
	w := g.wire().upgrade()
	if f := w.frame(); f.Header.OpCode != ws.OpPing {
		t.Fatalf("%+v", f)
	}
	w.wantClose(4002)
	eventually(t, "the metrics tell why", func() bool {
		_, body := g.get("/metrics")
		return strings.Contains(body, `millrace_connections_ended_total{reason="heartbeat"} 1`) && strings.Contains(body, "\nmillrace_connections 1\n")
	})
}

// TestPingGoesOutWithNews: who is silent but hears something all the time is asked for life in a write with something else.
func TestPingGoesOutWithNews(t *testing.T) {
	g := newTestGateway(t, Config{Heartbeat: 8 * time.Second}) // the first pings are due after 4 to 8 s, and go out 1 s before
	const readers = 5
	pings := make(chan []byte, readers)
	for range readers {
		w := g.wire().upgrade(masked(ws.OpText, "sub 1 direct:x")...)
		if f := w.frame(); !strings.HasPrefix(string(f.Payload), "ok 1") {
			t.Fatalf("%q", f.Payload)
		}
		go func() {
			for buf := make([]byte, 4096); ; {
				n, err := w.Conn.Read(buf)
				if got := buf[:n]; err != nil || bytes.HasPrefix(got, []byte{0x89, 0}) {
					pings <- bytes.Clone(got)
					return
				}
			}
		}()
	}
	pub := g.wire().upgrade()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for seen := 0; seen < 2; {
		select {
		case got := <-pings:
			if !bytes.Contains(got, []byte("news")) {
				t.Errorf("%q with a ping", got)
			}
			seen++
		case <-every.C:
			pub.send(masked(ws.OpText, "pub - direct:x\nnews"))
		}
	}
}

func TestSlowConsumerIsClosed(t *testing.T) {
	g := newTestGateway(t, Config{OutboxBytes: 256 << 10})
	w := g.wire()
	_ = w.Conn.(*net.TCPConn).SetReadBuffer(4096)
	w.upgrade().send(masked(ws.OpText, "sub 1 direct:x"))
	if f := w.frame(); !strings.HasPrefix(string(f.Payload), "ok 1") {
		t.Fatalf("%q", f.Payload)
	}
	reader := g.connect(client.Options{})
	reader.ask("sub 1 direct:x", "ok 1")
	body := strings.Repeat("x", 30_000)
	got := 0
	closed := func() bool {
		_, metrics := g.get("/metrics")
		return strings.Contains(metrics, `millrace_connections_ended_total{reason="slow_consumer"} 1`)
	}
	for i := range 200 {
		if i == 40 { // 1.2 MB, more than the kernel and the outbox hold; and it is not waited for long that the slow one reads what it is told
			w.wantClose(4001)
		}
		reader.write(fmt.Sprintf("pub %d direct:x\n%s", i+1, body))
		for seen := map[string]bool{}; !seen["ok"] || !seen["msg"]; got++ {
			seen[reader.read().Verb()] = true
		}
	}
	if got < 400 {
		t.Fatalf("the fast reader got %d frames", got)
	}
	eventually(t, "the metrics tell why", closed)
}

// A frame that never ends costs its sender the connection after 30 seconds, also when bytes keep dribbling in.
func TestUnfinishedFrameEndsTheConnection(t *testing.T) {
	t.Parallel()
	g := newTestGateway(t, Config{})
	w := g.wire().upgrade()
	begun := time.Now()
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for frame := masked(ws.OpText, strings.Repeat("x", 1000)); ; frame = frame[1:] {
			if _, err := w.Write(frame[:1]); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	w.wantClose(4002)
	close(stop)
	<-done
	if took := time.Since(begun); took < 29*time.Second || took > 55*time.Second {
		t.Fatalf("closed after %v, want about 30 s", took)
	}
}
