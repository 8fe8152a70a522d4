package main

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// check is one case. Its run is given the addresses of the gateways and says what was wrong.
type check struct {
	group, name string
	run         func(at gateways) error
}

// gateways are the addresses of those that run: one that compresses, and one that does not and takes web pages of
// https://app.example and below https://apps.example only.
type gateways struct{ compressing, plain string }

// suite collects the cases.
type suite struct {
	group string
	all   []check
}

func newSuite() *suite {
	s := &suite{}
	for _, g := range []struct {
		name string
		add  func(*suite)
	}{
		{"framing", framing},
		{"pings", pings},
		{"reserved bits", reservedBits},
		{"opcodes", opcodes},
		{"fragmentation", fragmentation},
		{"utf-8", text},
		{"close", closing},
		{"limits", limits},
		{"handshake", handshake},
		{"negotiation", negotiation},
		{"compression", compression},
	} {
		s.group = g.name
		g.add(s)
	}
	return s
}

func (s *suite) add(name string, run func(gateways) error) {
	s.all = append(s.all, check{s.group, name, run})
}

// exchange is a case in frames: what is sent, each piece in a packet of its own if may be, and what must come back.
type exchange struct {
	extensions string // to offer; then they must be agreed on
	send       [][]byte
	want       []string // payloads of the answers, in order: text frames, or a pong where it begins with "PONG "
	close      int      // the code of the Close behind them; 0: the connection stays
	ours       bool     // the Close was begun by us
}

// exchange adds such a case.
func (s *suite) exchange(name string, e exchange) {
	s.add(name, func(at gateways) error {
		c, err := dial(at.compressing)
		if err != nil {
			return err
		}
		defer c.Close()
		var lines []string
		if e.extensions != "" {
			lines = append(lines, "Sec-WebSocket-Extensions: "+e.extensions)
		}
		r, err := c.open(nil, lines...)
		if err != nil {
			return err
		}
		if agreed := r.header["sec-websocket-extensions"] != ""; agreed != (e.extensions != "") {
			return fmt.Errorf("extensions agreed on: %v", agreed)
		}
		if err := c.pieces(e.send); err != nil && e.close == 0 {
			return err
		}
		return e.answers(c)
	})
}

func (e *exchange) answers(c *conn) error {
	for _, want := range e.want {
		first := byte(fin | opText)
		if pong, ok := strings.CutPrefix(want, "PONG "); ok {
			want, first = pong, fin|opPong
		}
		f, err := c.read()
		if err != nil {
			return fmt.Errorf("no answer %q: %w", want, err)
		}
		if f.first != first || string(f.payload) != want {
			return fmt.Errorf("%v, want %02x %.80q", f, first, want)
		}
	}
	if e.close != 0 {
		return c.closed(e.close, e.ours)
	}
	return c.alive()
}

// between is the time between two pieces of a case, enough for the gateway to read the first alone.
const between = 2 * time.Millisecond

// pieces sends each piece by itself.
func (c *conn) pieces(all [][]byte) error {
	_ = c.Conn.(*net.TCPConn).SetNoDelay(true)
	for i, b := range all {
		if i > 0 {
			<-time.After(between)
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// result is what became of a case.
type result struct {
	check
	err  error
	took time.Duration
}

// atOnce is how many cases run at the same time.
const atOnce = 16

// run runs all cases and returns their results in order.
func (s *suite) run(at gateways) []result {
	results := make([]result, len(s.all))
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				begun := time.Now()
				err := s.all[i].run(at)
				results[i] = result{s.all[i], err, time.Since(begun)}
			}
		})
	}
	for i := range s.all {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

// ok is a case whose single message is taken: ping with a body, which the protocol passes over, is answered.
func ok(first byte, payload string) ([][]byte, []string) {
	return [][]byte{frame(first, "ping 1\n"+payload)}, []string{"pong 1"}
}
