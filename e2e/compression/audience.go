package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/e2e/internal/rig"
)

const channel = "direct:everyone"

// limit is how long anything here may take: one publication to come everywhere, all connections to be made.
const limit = 60 * time.Second

// result is what one load has shown.
type result struct {
	deliveries, compressions int
	bytes                    int64 // of publications, with the headers of their frames, as they came over TCP
	mean                     time.Duration
	cpu                      float64 // seconds of the gateway, while publications came
	memory                   float64 // bytes of the gateway, at the end
}

// audience is all subscribers.
type audience struct {
	*options
	gateway rig.Gateway
	deflate bool

	publisher net.Conn
	members   []*member
	reading   sync.WaitGroup
	arrived   chan error // nil for each member and publication, or what was wrong
	bytes     atomic.Int64
}

// member is one subscriber.
type member struct {
	conn net.Conn
	r    *bufio.Reader
	sum  uint32 // of all publications as they came
	last []byte // the last one as it came, kept by the first member only
}

const makers = 64 // connections that are being made at the same time

// gather makes all connections and subscribes them.
func (a *audience) gather(ctx context.Context) (err error) {
	a.arrived = make(chan error, 2*a.subscribers) // and the end of each
	if a.publisher, err = a.dial(ctx, ""); err != nil {
		return err
	}
	a.members = make([]*member, a.subscribers)
	errs := make([]error, makers)
	var wg sync.WaitGroup
	for i := range makers {
		wg.Go(func() {
			for n := i; n < len(a.members) && errs[i] == nil; n += makers {
				a.members[n], errs[i] = a.join(ctx)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, m := range a.members {
		a.reading.Go(func() { a.read(m, i == 0) })
	}
	return nil
}

// dial opens a WebSocket; what comes behind the response is left unread.
func (a *audience) dial(ctx context.Context, extensions string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", a.gateway.Addr)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+extensions+"\r\n")
	return c, err
}

func (a *audience) join(ctx context.Context) (*member, error) {
	extensions := ""
	if a.deflate {
		extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	c, err := a.dial(ctx, extensions)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	m := &member{conn: c, r: bufio.NewReaderSize(c, 2048)}
	res, err := http.ReadResponse(m.r, nil)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Sec-WebSocket-Extensions") != ""; res.StatusCode != 101 || got != a.deflate {
		return nil, fmt.Errorf("the gateway answered %s, compression %v", res.Status, got)
	}
	if _, err := c.Write(text("sub 1 " + channel)); err != nil {
		return nil, err
	}
	for _, want := range []string{"hello ", "ok 1"} {
		if _, f, err := m.frame(nil); err != nil || !strings.HasPrefix(string(f), want) {
			return nil, fmt.Errorf("%.80q instead of %q: %w", f, want, err)
		}
	}
	return m, c.SetReadDeadline(time.Time{})
}

// text is a masked text frame of up to 64 KiB, with a mask of zeros.
func text(payload string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x81, 0xfe}, uint16(len(payload)))
	if len(payload) < 126 {
		b = []byte{0x81, 0x80 | byte(len(payload))}
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// frame reads one frame of up to 64 KiB into buf and returns its first byte and its payload.
func (m *member) frame(buf []byte) (first byte, payload []byte, err error) {
	var h [4]byte
	if _, err := io.ReadFull(m.r, h[:2]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	if n == 126 {
		if _, err := io.ReadFull(m.r, h[2:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(h[2:]))
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	_, err = io.ReadFull(m.r, buf[:n])
	return h[0], buf[:n], err
}

// read takes publications until the connection ends.
func (a *audience) read(m *member, first bool) {
	var buf []byte
	for {
		bits, payload, err := m.frame(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if buf = payload[:0]; err == nil {
			switch bits {
			case 0x89: // a ping, which a short measurement need not answer
				continue
			case 0x81, 0xc1:
				if (bits == 0xc1) != a.deflate {
					err = fmt.Errorf("a publication is compressed: %v", bits == 0xc1)
				}
			default:
				err = fmt.Errorf("frame %02x", bits)
			}
		}
		if err == nil {
			a.bytes.Add(int64(len(payload)) + 2)
			if len(payload) > 125 {
				a.bytes.Add(2)
			}
			m.sum = crc32.Update(m.sum, crc32.IEEETable, payload)
			if first {
				m.last = bytes.Clone(payload)
			}
		}
		a.arrived <- err
		if err != nil {
			return
		}
	}
}

// listen publishes, one after the other, and waits for each to come everywhere.
func (a *audience) listen(ctx context.Context) (res result, err error) {
	before, err := a.metrics(ctx)
	if err != nil {
		return res, err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var took time.Duration
	for n := range a.publications {
		body := event(rng, n, a.options.bytes)
		begun := time.Now()
		if _, err := a.publisher.Write(text("pub - " + channel + "\n" + body)); err != nil {
			return res, err
		}
		if err := a.everywhere(ctx); err != nil {
			return res, fmt.Errorf("publication %d: %w", n+1, err)
		}
		took += time.Since(begun)
		if err := a.compare(body); err != nil {
			return res, fmt.Errorf("publication %d: %w", n+1, err)
		}
	}
	<-time.After(1500 * time.Millisecond) // the loops copy their numbers once a second
	after, err := a.metrics(ctx)
	if err != nil {
		return res, err
	}
	diff := func(name string) float64 { return after[name] - before[name] }
	res = result{
		deliveries: int(diff("millrace_deliveries_total")), compressions: int(diff("millrace_compressions_total")), bytes: a.bytes.Load(),
		mean: took / time.Duration(a.publications), cpu: diff("process_cpu_seconds_total"), memory: after["process_resident_memory_bytes"],
	}
	want := 0
	if a.deflate {
		want = a.publications
	}
	if res.compressions != want || res.deliveries != a.publications*a.subscribers {
		return res, fmt.Errorf("%d compressions and %d deliveries; want %d and %d", res.compressions, res.deliveries, want, a.publications*a.subscribers)
	}
	return res, nil
}

func (a *audience) everywhere(ctx context.Context) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	for n := range a.subscribers {
		select {
		case err := <-a.arrived:
			if err != nil {
				return err
			}
		case <-late.C:
			return fmt.Errorf("%d of %d have it after %v", n, a.subscribers, limit)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// compare holds what came against what was published, and all members against the first.
func (a *audience) compare(body string) error {
	first := a.members[0]
	payload := first.last
	if a.deflate {
		whole := io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
		var err error
		if payload, err = io.ReadAll(flate.NewReader(whole)); err != nil {
			return err
		}
	}
	if head, got, _ := strings.Cut(string(payload), "\n"); !strings.HasPrefix(head, "msg "+channel+" ") || got != body {
		return fmt.Errorf("it came as %.80q", payload)
	}
	for _, m := range a.members {
		if m.sum != first.sum {
			return errors.New("two subscribers have got different bytes")
		}
	}
	return nil
}

// event is JSON of n bytes, as applications publish it: the names repeat, the values do not.
func event(rng *rand.Rand, number, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"seq":%d,"items":[`, number)
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"user":"user-%d","price":%d.%02d,"state":%q,"updated_at":%d},`, rng.IntN(1e6), rng.IntN(5000), rng.IntN(900), rng.IntN(100), []string{"open", "closed", "pending"}[rng.IntN(3)], 1_764_000_000_000+rng.Int64N(1e9))
	}
	return b.String()[:n]
}

// metrics are the gateway's numbers by name, without those that have labels.
func (a *audience) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.gateway.Admin+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	all := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				all[name] = v
			}
		}
	}
	return all, nil
}

// leave ends all connections and waits for their readers.
func (a *audience) leave() {
	if a.publisher != nil {
		_ = a.publisher.Close()
	}
	for _, m := range a.members {
		if m != nil {
			_ = m.conn.Close()
		}
	}
	a.reading.Wait()
}
