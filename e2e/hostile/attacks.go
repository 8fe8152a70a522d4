package main

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/gateway/client"
)

// attack is one way to be hostile. do returns a note about what became of it, and an error when the gateway did not answer it as it
// should.
type attack struct {
	name string
	tls  bool
	do   func(ctx context.Context, t *target, size size) (note string, err error)
}

// size is how much of everything.
type size struct {
	half  int           // connections that never get on
	some  int           // connections that do
	time  time.Duration // of floods
	crowd int           // TLS connections whose memory is measured
}

var attacks = []attack{
	{"slowloris", false, slowloris},
	{"half-open TCP", false, silent},
	{"half-open TCP to TLS", true, silent},
	{"half-open TLS: half a ClientHello", true, halfHello},
	{"half-open TLS: no second flight", true, noFinish},
	{"endless heads", false, endlessHeads},
	{"endless ClientHellos", true, endlessHellos},
	{"no TLS, and broken TLS", true, brokenTLS},
	{"length of 2^62", false, hugeLength},
	{"length of 2^62 over TLS", true, hugeLength},
	{"deflate bomb", false, bomb},
	{"unmasked frames", false, unmasked},
	{"frames cut at every offset", false, cuts},
	{"frames cut at every offset over TLS", true, cuts},
	{"control flood", false, controlFlood},
	{"control flood over TLS", true, controlFlood},
	{"RST and half-close", false, resets},
	{"RST and half-close over TLS", true, resets},
	{"subscribers that never read", false, neverRead},
	{"subscribers that never read over TLS", true, neverRead},
	{"connect and disconnect", false, churn},
	{"connect and disconnect over TLS", true, churn},
}

// each runs f for n connections at once, and returns the first error that is not for the gateway to answer for.
func each(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func (t *target) raw() (net.Conn, error) {
	c, err := net.DialTimeout("tcp", t.addr, 10*time.Second)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return c, err
}

// untilClosed reads until the gateway has ended it, which must be within 12 s: it gives 5 for a handshake, and 5 for the client to close.
func untilClosed(c net.Conn) ([]byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(12 * time.Second))
	b, err := io.ReadAll(c)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return b, errors.New("a connection that does not get on is still open after 12 s")
	}
	return b, nil // a reset is an end
}

func slowloris(ctx context.Context, t *target, size size) (string, error) {
	var refused atomic.Int64
	err := each(size.half/10, func(int) error {
		c, err := t.raw()
		if err != nil {
			return err
		}
		defer c.Close()
		for i := 0; wait(ctx, 100*time.Millisecond); i++ {
			if _, err := c.Write([]byte{upgrade[i%40]}); err != nil || i > 70 {
				break
			}
		}
		b, err := untilClosed(c)
		if bytes.Contains(b, []byte(" 408 ")) {
			refused.Add(1)
		}
		return err
	})
	return fmt.Sprintf("%d connections, %d were told 408", size.half/10, refused.Load()), err
}

// saying opens connections that say b and no more.
func saying(t *target, n int, b func(i int) []byte) (string, error) {
	begun := time.Now()
	err := each(n, func(i int) error {
		c, err := t.raw()
		if err != nil {
			return err
		}
		defer c.Close()
		_, _ = c.Write(b(i))
		_, err = untilClosed(c)
		return err
	})
	return fmt.Sprintf("%d connections, all ended within %.1f s", n, time.Since(begun).Seconds()), err
}

func silent(_ context.Context, t *target, size size) (string, error) {
	return saying(t, size.half, func(int) []byte { return nil })
}

// hello is the ClientHello of a common client.
func hello() ([]byte, error) {
	a, b := net.Pipe()
	defer a.Close()
	go func() { _ = tls.Client(b, &tls.Config{ServerName: "127.0.0.1"}).Handshake(); _ = b.Close() }() //nolint:gosec // it talks to nobody
	buf := make([]byte, 8192)
	n, err := a.Read(buf)
	return buf[:n], err
}

func halfHello(_ context.Context, t *target, size size) (string, error) {
	h, err := hello()
	if err != nil {
		return "", err
	}
	return saying(t, size.half, func(i int) []byte { return h[:1+i%(len(h)-1)] })
}

func noFinish(ctx context.Context, t *target, size size) (string, error) {
	h, err := hello()
	if err != nil {
		return "", err
	}
	var newcomers, failed int
	var longest time.Duration
	coming, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { // somebody who connects meanwhile
		for ; wait(coming, 50*time.Millisecond); newcomers++ {
			begun := time.Now()
			c, err := t.dial()
			if err != nil {
				failed++
				continue
			}
			longest = max(longest, time.Since(begun))
			_ = c.Close()
		}
	})
	note, err := saying(t, size.half, func(int) []byte { return h })
	stop()
	wg.Wait()
	if err == nil && failed > newcomers/10 {
		err = fmt.Errorf("%d of %d honest handshakes failed", failed, newcomers)
	}
	return fmt.Sprintf("%s; %d honest handshakes meanwhile, %d failed, the longest took %d ms", note, newcomers, failed, longest.Milliseconds()), err
}

func endlessHeads(_ context.Context, t *target, size size) (string, error) {
	var refused atomic.Int64
	line := []byte("X-Header: " + string(bytes.Repeat([]byte("a"), 1000)) + "\r\n")
	err := each(size.some, func(int) error {
		c, err := t.raw()
		if err != nil {
			return err
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\n")
		for range 9 {
			if _, err := c.Write(line); err != nil {
				break
			}
		}
		b := make([]byte, 64)
		n, _ := c.Read(b)
		if bytes.Contains(b[:n], []byte(" 431 ")) {
			refused.Add(1)
		}
		for range 1000 { // it does not stop because it was told so
			if _, err := c.Write(line); err != nil {
				break
			}
		}
		_, err = untilClosed(c)
		return err
	})
	if err == nil && refused.Load() == 0 {
		err = errors.New("nobody was told 431")
	}
	return fmt.Sprintf("%d connections, %d were told 431", size.some, refused.Load()), err
}

func endlessHellos(_ context.Context, t *target, size size) (string, error) {
	record := append([]byte{22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xf0}, make([]byte, 100)...)
	return saying(t, size.some, func(i int) []byte {
		if i%2 == 0 {
			return append(record, make([]byte, 100_000)...)
		}
		return append([]byte{22, 3, 1, 0x00, 0x04, 1, 0xff, 0xff, 0xff}, make([]byte, 100)...)
	})
}

func brokenTLS(_ context.Context, t *target, size size) (string, error) {
	noise := make([]byte, 4000)
	_, _ = rand.Read(noise)
	err := each(size.some, func(i int) error {
		var c net.Conn
		var err error
		if i%3 == 0 { // no TLS at all
			if c, err = t.raw(); err == nil {
				_, _ = io.WriteString(c, upgrade)
			}
		} else if c, err = t.dial(); err == nil {
			inner := c.(*tls.Conn).NetConn()
			record := append([]byte{23, 3, 3, byte(len(noise) >> 8), byte(len(noise))}, noise...)
			if i%3 == 1 { // no such type, version or length
				record = noise
			}
			_, _ = inner.Write(record)
			c = inner
		}
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = untilClosed(c)
		return err
	})
	return fmt.Sprintf("%d connections", size.some), err
}

// violating sends b on WebSockets and wants them closed with that code.
func violating(t *target, n, code int, b []byte) (string, error) {
	err := each(n, func(int) error {
		s, err := t.open()
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := s.Write(b); err != nil {
			return err
		}
		if got := s.closeCode(); got != code {
			return fmt.Errorf("closed with %d, want %d", got, code)
		}
		return nil
	})
	return fmt.Sprintf("%d connections, each closed with %d", n, code), err
}

func hugeLength(_ context.Context, t *target, size size) (string, error) {
	return violating(t, size.some, 1009, append(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<62), 1, 2, 3, 4))
}

func unmasked(_ context.Context, t *target, size size) (string, error) {
	return violating(t, size.some, 1002, []byte{0x81, 4, 'p', 'i', 'n', 'g'})
}

// bomb is 64 MiB of zeros in a frame of some 64 KiB.
func bomb(_ context.Context, t *target, size size) (string, error) {
	s, err := t.open()
	if err != nil {
		return "", err
	}
	_ = s.Close()
	if !s.deflate { // then RSV1 is a violation, and nothing is inflated
		return violating(t, size.some, 1002, masked(0xc1, []byte("ping")))
	}
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.BestCompression) // the level is one
	zeros := make([]byte, 1<<20)
	for range 60 {
		_, _ = w.Write(zeros) // to memory
	}
	_ = w.Flush()
	return violating(t, size.some, 1009, masked(0xc1, bytes.TrimSuffix(packed.Bytes(), []byte{0, 0, 0xff, 0xff})))
}

func cuts(_ context.Context, t *target, size size) (string, error) {
	var b []byte
	for _, f := range [][]byte{
		masked(0x81, []byte("sub 1 direct:cut")), masked(0x01, []byte("pub 2 dir")), masked(0x89, []byte("p")), masked(0x80, []byte("ect:cut\nx")), //nolint:misspell // the second half of direct
		masked(0x82, append([]byte("pub 3 direct:cut\n"), make([]byte, 200)...)), masked(0x88, []byte{3, 0xe8}),
	} {
		b = append(b, f...)
	}
	for at := range len(b) + 1 {
		s, err := t.open()
		if err != nil {
			return "", err
		}
		_, _ = s.Write(b[:at])
		if at%3 == 0 {
			reset(s.Conn)
		}
		_ = s.Close()
	}
	_ = size
	return fmt.Sprintf("%d connections, one for each offset", len(b)+1), nil
}

// reset makes Close send RST.
func reset(c net.Conn) {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func controlFlood(ctx context.Context, t *target, size size) (string, error) {
	ctx, stop := context.WithTimeout(ctx, size.time)
	defer stop()
	var pings atomic.Int64
	batch := bytes.Repeat(masked(0x89, bytes.Repeat([]byte("p"), 100)), 50)
	err := each(8, func(i int) error {
		s, err := t.open()
		if err != nil {
			return err
		}
		defer s.Close()
		if i%2 == 0 { // the others do not read the pongs
			go func() { _, _ = io.Copy(io.Discard, s.in) }()
		}
		_ = s.SetWriteDeadline(time.Now().Add(size.time))
		for ctx.Err() == nil {
			if _, err := s.Write(batch); err != nil {
				break
			}
			pings.Add(50)
		}
		return nil
	})
	return fmt.Sprintf("8 connections, %d pings of 100 bytes a second; half of them read no pong", int(float64(pings.Load())/size.time.Seconds())), err
}

func resets(_ context.Context, t *target, size size) (string, error) {
	err := each(size.some, func(i int) error {
		s, err := t.open()
		if err != nil {
			return err
		}
		defer s.Close()
		_, _ = s.Write(masked(0x81, []byte("sub 1 direct:reset"))[:5+i%10])
		switch i % 3 {
		case 0:
			reset(s.Conn)
		case 1:
			_ = s.Conn.(interface{ CloseWrite() error }).CloseWrite()
			_, err = untilClosed(s.Conn)
		}
		return err
	})
	return fmt.Sprintf("%d connections", size.some), err
}

func neverRead(ctx context.Context, t *target, size size) (string, error) {
	var stuck []*socket
	defer func() {
		for _, s := range stuck {
			_ = s.Close()
		}
	}()
	for range size.some / 2 {
		s, err := t.open()
		if err != nil {
			return "", err
		}
		stuck = append(stuck, s)
		if _, err := s.Write(masked(0x81, []byte("sub 1 direct:flood"))); err != nil {
			return "", err
		}
	}
	conn, err := client.Dial(ctx, t.scheme()+"://"+t.addr+"/ws", client.Options{HTTPClient: t.http()})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	ended := t.metric(`millrace_connections_ended_total{reason="slow_consumer"}`)
	random := make([]byte, 30<<10*3/4)
	_, _ = rand.Read(random)                             // it never fails
	body := base64.StdEncoding.AppendEncode(nil, random) // what compresses well would be sent for nothing
	for n := 0; ; n++ {
		if err := conn.Publish(ctx, "direct:flood", "", body); err != nil {
			return "", err
		}
		if n%10 == 9 && int(t.metric(`millrace_connections_ended_total{reason="slow_consumer"}`)-ended) >= len(stuck) {
			return fmt.Sprintf("%d subscribers, all closed with 4001 after %d publications of 30 KiB", len(stuck), n+1), nil
		}
		if n > 2000 {
			return "", errors.New("subscribers that do not read are still there after 60 MB")
		}
		wait(ctx, 20*time.Millisecond)
	}
}

func churn(ctx context.Context, t *target, size size) (string, error) {
	ctx, stop := context.WithTimeout(ctx, size.time)
	defer stop()
	var n atomic.Int64
	err := each(4, func(int) error {
		for ctx.Err() == nil {
			s, err := t.open()
			if err != nil {
				return err
			}
			if n.Add(1)%2 == 0 {
				reset(s.Conn)
			}
			_ = s.Close()
		}
		return nil
	})
	return fmt.Sprintf("%d connections a second", int(float64(n.Load())/size.time.Seconds())), err
}
