// Package faulty is a small millrace.v1 server that does one thing wrong, for tests of the harness: whatever it does must show
// in the right metric. It is a goroutine per connection over gobwas/ws and shares no code with the gateway or the harness.
package faulty

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// Faults are what the server does wrong. Every counts deliveries over all subscribers: 100 is each hundredth.
type Faults struct {
	Refuse     int                        // HTTP status for every handshake
	RefuseSub  int                        // code for every sub
	BusySub    int                        // every n-th sub is answered 503
	Silent     bool                       // upgrades and says nothing more
	Drop       int                        // every n-th delivery is not made
	Gap        int                        // every n-th delivery is replaced by a gap push
	Duplicate  int                        // every n-th delivery is made twice
	Reorder    int                        // every n-th delivery is made behind the next one to the same subscriber
	Misroute   int                        // every n-th delivery says another channel
	Damage     int                        // every n-th delivery has one byte changed
	NoAck      int                        // every n-th pub is published but not answered
	Busy       int                        // every n-th pub is answered 503 and not published, unless it is a repetition
	CutAt      int                        // at the n-th pub, before it is looked at, every connection is cut off once
	CloseAfter int                        // each connection is closed after n deliveries …
	CloseCode  int                        // … with this code; 0: cut off without a Close frame
	Ping       bool                       // a ping before every delivery
	Resume     string                     // what is wrong with a sub from a POSITION: ResumeGap, ResumeLoses, ResumeDoubles
	KeepOpen   bool                       // a client's Close is not answered
	LateUnsub  bool                       // behind the ok of an unsub the newest publication comes
	Subscribed func()                     // no fault: is told of each ok to a sub
	Published  func(channel, body string) // no fault: is told of what is published; nil: nobody
	Slow       string                     // what becomes of who does not read: SlowClose, SlowOldest, SlowLatest, SlowSilent; empty: all of it waits
	StallEvery time.Duration              // nothing is delivered for StallFor, every StallEvery
	StallFor   time.Duration
}

// Server is a running server. Close ends it.
type Server struct {
	URL string

	faults   Faults
	listener net.Listener
	serving  sync.WaitGroup
	pongs    atomic.Int64

	mu         sync.Mutex
	channels   map[string]*channel
	conns      map[*conn]bool
	seen       map[string]bool // publication IDs
	deliveries int
	pubs       int
	subs       int
	start      time.Time
}

type channel struct {
	history [][]byte // bodies; POSITION is the number of those before and with it
	subs    map[*conn]bool
}

// longestHeld is how long a delivery is held back when no other comes.
const longestHeld = 100 * time.Millisecond

// conn is one connection; out is written by its own goroutine.
type conn struct {
	net.Conn
	out       chan []byte
	gone      chan struct{}
	closeOnce sync.Once
	held      []byte // a delivery that is to come behind the next
	delivered int
	behind    bool // its outbox was full and has not been empty since
}

// Start begins to listen on a free port of 127.0.0.1, or on addr when it is not empty.
func Start(addr string, faults Faults) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: "ws://" + l.Addr().String() + "/ws", faults: faults, listener: l, start: time.Now(),
		channels: map[string]*channel{}, conns: map[*conn]bool{}, seen: map[string]bool{},
	}
	s.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.serve(c) })
		}
	})
	return s, nil
}

// Addr is where it listens, HOST:PORT.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Pongs is how many pings have been answered.
func (s *Server) Pongs() int64 { return s.pongs.Load() }

// Close stops listening, cuts every connection and waits.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.cutAll()
	s.mu.Unlock()
	s.serving.Wait()
}

// CutAll ends every connection without a Close frame; they may come again.
func (s *Server) CutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutAll()
}

// cutAll ends every connection without a Close frame; they may come again.
func (s *Server) cutAll() {
	for c := range s.conns {
		c.cut()
	}
}

func (c *conn) cut() {
	c.closeOnce.Do(func() { close(c.gone); c.Conn.Close() })
}

func (s *Server) serve(raw net.Conn) {
	defer raw.Close()
	upgrader := ws.Upgrader{
		Protocol: func(p []byte) bool { return string(p) == "millrace.v1" },
		OnRequest: func([]byte) error {
			if s.faults.Refuse == 0 {
				return nil
			}
			return ws.RejectConnectionError(ws.RejectionStatus(s.faults.Refuse), ws.RejectionReason(http.StatusText(s.faults.Refuse)))
		},
	}
	if _, err := upgrader.Upgrade(raw); err != nil {
		return
	}
	if s.faults.Slow != "" {
		_ = raw.(*net.TCPConn).SetWriteBuffer(slowBuffer)
	}
	c := &conn{Conn: raw, out: make(chan []byte, 1<<14), gone: make(chan struct{})}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	s.serving.Go(c.write)
	if !s.faults.Silent {
		c.text("hello", "s1", "\n{}")
	}
	for s.read(c) {
	}
	c.cut()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	for _, ch := range s.channels {
		delete(ch.subs, c)
	}
}

// read takes one WebSocket frame and reports whether to go on.
func (s *Server) read(c *conn) bool {
	h, err := ws.ReadHeader(c.Conn)
	if err != nil || h.Length > 1<<20 {
		return false
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(c.Conn, payload); err != nil {
		return false
	}
	ws.Cipher(payload, h.Mask, 0)
	switch h.OpCode {
	case ws.OpPong:
		s.pongs.Add(1)
	case ws.OpPing:
		c.push(ws.MustCompileFrame(ws.NewPongFrame(payload)))
	case ws.OpClose:
		if s.faults.KeepOpen {
			return true
		}
		c.push(ws.MustCompileFrame(ws.NewCloseFrame(payload)))
		c.push(nil)
		<-c.gone
		return false
	case ws.OpText:
		if !s.faults.Silent {
			s.frame(c, string(payload))
		}
	default:
		return false
	}
	return true
}

func (c *conn) write() {
	for {
		select {
		case b := <-c.out:
			if len(b) == 0 { // everything before it is out
				c.cut()
				return
			}
			if _, err := c.Conn.Write(b); err != nil {
				c.cut()
				return
			}
		case <-c.gone:
			return
		}
	}
}

func (c *conn) push(b []byte) {
	select {
	case c.out <- b:
	case <-c.gone:
	}
}

func (c *conn) text(words ...string) {
	c.push(ws.MustCompileFrame(ws.NewTextFrame([]byte(strings.ReplaceAll(strings.Join(words, " "), " \n", "\n")))))
}

func (s *Server) frame(c *conn, text string) {
	head, body, _ := strings.Cut(text, "\n")
	words := strings.Split(head, " ")
	if len(words) < 3 {
		c.text("err", "-", "400", "malformed")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch words[0] {
	case "sub":
		s.subscribe(c, words)
	case "unsub":
		ch := s.channel(words[2])
		delete(ch.subs, c)
		c.text("ok", words[1])
		if n := len(ch.history); s.faults.LateUnsub && n > 0 {
			c.push(message(words[2], n, string(ch.history[n-1])))
		}
	case "pub":
		s.publish(c, words, body)
	case "req":
		c.text("res", words[1], "\n"+body)
	default:
		c.text("err", words[1], "400", "unknown verb")
	}
}

func (s *Server) channel(name string) *channel {
	ch := s.channels[name]
	if ch == nil {
		ch = &channel{subs: map[*conn]bool{}}
		s.channels[name] = ch
	}
	return ch
}

func (s *Server) subscribe(c *conn, words []string) {
	if s.faults.RefuseSub != 0 {
		c.text("err", words[1], strconv.Itoa(s.faults.RefuseSub), "no")
		return
	}
	if s.subs++; s.faults.BusySub > 0 && s.subs%s.faults.BusySub == 0 {
		c.text("err", words[1], "503", "not now")
		return
	}
	ch := s.channel(words[2])
	ch.subs[c] = true
	c.text("ok", words[1], "p"+strconv.Itoa(len(ch.history)))
	if s.faults.Subscribed != nil {
		s.faults.Subscribed()
	}
	if len(words) > 3 {
		from, _ := strconv.Atoi(strings.TrimPrefix(words[3], "p"))
		s.resume(c, words[2], ch, from)
	}
}

func (s *Server) publish(c *conn, words []string, body string) {
	if s.pubs++; s.pubs == s.faults.CutAt {
		s.cutAll()
		return
	}
	id := ""
	if len(words) > 3 {
		id = words[3]
	}
	if s.faults.Busy > 0 && s.pubs%s.faults.Busy == 0 && !s.seen["busy "+id] {
		s.seen["busy "+id] = true
		c.text("err", words[1], "503", "retry_ms=50")
		return
	}
	if s.faults.NoAck == 0 || s.pubs%s.faults.NoAck != 0 {
		c.text("ok", words[1])
	}
	if id != "" && s.seen[id] {
		return
	}
	s.seen[id] = true
	if s.faults.StallFor > 0 {
		s.stall()
	}
	ch := s.channel(words[2])
	ch.history = append(ch.history, []byte(body))
	if s.faults.Published != nil {
		s.faults.Published(words[2], body)
	}
	for sub := range ch.subs {
		s.deliver(sub, words[2], len(ch.history), body)
	}
}

// stall holds everything up, as a stop of the whole process would.
func (s *Server) stall() {
	if into := time.Since(s.start) % s.faults.StallEvery; into < s.faults.StallFor {
		<-time.After(s.faults.StallFor - into)
	}
}

func (s *Server) deliver(c *conn, channel string, position int, body string) {
	s.deliveries++
	now := func(every int) bool { return every > 0 && s.deliveries%every == 0 }
	switch {
	case now(s.faults.Drop):
		return
	case now(s.faults.Gap):
		c.text("gap", channel, "p"+strconv.Itoa(position))
		return
	case now(s.faults.Misroute):
		channel += "x"
	case now(s.faults.Damage):
		body = body[:len(body)-1] + "!"
	}
	if s.faults.Ping {
		c.push(ws.MustCompileFrame(ws.NewPingFrame([]byte("are you there"))))
	}
	frame := message(channel, position, body)
	if s.slow(c, channel, position, frame) {
		return
	}
	if now(s.faults.Reorder) && c.held == nil {
		c.held = frame
		time.AfterFunc(longestHeld, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			c.release()
		})
		return
	}
	c.push(frame)
	if now(s.faults.Duplicate) {
		c.push(frame)
	}
	c.release()
	if c.delivered++; s.faults.CloseAfter > 0 && c.delivered == s.faults.CloseAfter {
		if s.faults.CloseCode != 0 {
			c.push(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(s.faults.CloseCode), "test"))))
		}
		c.push(nil) // its end
	}
}

// release makes the delivery that was held back.
func (c *conn) release() {
	if c.held != nil {
		c.push(c.held)
		c.held = nil
	}
}
