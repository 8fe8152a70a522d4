package hub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millracehq/millrace/gateway/stream"
)

// world is a naive model of streams, a gateway's reading of them, connections that read as they like, and clients that
// remember where they are.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	hub  *Hub

	parts   [2]worldPart
	conns   map[int32]*worldConn
	asked   []ask
	clients []*worldClient
	tick    uint32
}

type worldPart struct {
	next    uint64 // of IDs
	epoch   stream.Epoch
	all     []entry // as the stream ever was, in this epoch
	trimmed int     // entries that the stream has lost to trimming
	read    int     // entries that the hub has been given
}

type entry struct {
	id      stream.ID
	channel string
}

type ask struct {
	partition int
	from, to  stream.ID
	epoch     stream.Epoch
}

// worldConn is a connection's outbox: what was pushed and not read yet.
type worldConn struct {
	bound  int
	queue  []string
	bytes  int
	client map[string]*worldClient // by channel
	slow   bool
}

// worldClient is one client's view of one channel, which outlives its connections.
type worldClient struct {
	channel string
	policy  Policy
	seat    int32 // 0: not connected
	at      stream.Position
	lossy   bool // it may have been too slow since its last gap
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

func worldPartition(channel string) int { return int(channel[0]) % 2 }

var worldPolicies = map[string]Policy{"a": Close, "b": Close, "c": DropOldest, "d": Latest}

func (w *world) Push(seat int32, b []byte) bool {
	c := w.conns[seat]
	if c.slow {
		return true // it is being closed and takes nothing more
	}
	if c.bytes > 0 && c.bytes+len(b) > c.bound {
		return false
	}
	c.queue = append(c.queue, strings.Fields(string(b))...)
	c.bytes += len(b)
	return true
}
func (w *world) PushCopy(seat int32, b []byte) bool { return w.Push(seat, b) }
func (w *world) Near([]int32)                       {}
func (w *world) Room(seat int32) (int, bool) {
	c := w.conns[seat]
	return max(0, c.bound-c.bytes), c.bytes == 0
}

func (w *world) Gap(seat int32, channel string, at stream.Position) {
	c := w.conns[seat]
	if c.slow {
		return
	}
	c.queue = append(c.queue, "gap/"+channel+"/"+at.String())
	c.bytes += 10
}
func (w *world) Slow(seat int32)           { w.conns[seat].slow = true }
func (w *world) Find(string) (int32, bool) { return 0, false }
func (w *world) Older(partition int, from, to stream.ID) {
	w.asked = append(w.asked, ask{partition, from, to, w.hub.windows[partition].epoch})
}

func (w *world) frame(p int, e entry) Publication {
	at := stream.Position{ID: e.id, Epoch: w.parts[p].epoch}
	return Publication{ID: e.id, Partition: int32(p), Channel: e.channel, Frame: fmt.Appendf(nil, "msg/%s/%s ", e.channel, at)}
}

// opening is what a relay would say of a partition: it has read everything.
func (w *world) opening(p int) *Opening {
	part := &w.parts[p]
	o := &Opening{Partition: p, At: stream.Position{Epoch: part.epoch}}
	if n := len(part.all); n > 0 {
		o.At.ID = part.all[n-1].id
	}
	from := max(part.trimmed, len(part.all)-w.rng.IntN(10))
	if from > 0 {
		o.Floor = part.all[from-1].id
	}
	for _, e := range part.all[from:] {
		o.Recent = append(o.Recent, w.frame(p, e))
	}
	part.read = len(part.all)
	return o
}

func (w *world) publish() {
	ch := string(rune('a' + w.rng.IntN(4)))
	p := &w.parts[worldPartition(ch)]
	p.next++
	p.all = append(p.all, entry{stream.ID{MS: p.next}, ch})
}

// read gives the hub some of what it has not been given.
func (w *world) read() {
	b := &Batch{}
	for i := range w.parts {
		p := &w.parts[i]
		n := w.rng.IntN(len(p.all) - p.read + 1)
		for range n {
			b.Publications = append(b.Publications, w.frame(i, p.all[p.read]))
			p.read++
		}
		if n > 0 {
			b.Cursors = append(b.Cursors, Cursor{i, p.all[p.read-1].id})
		}
	}
	if len(b.Cursors) > 0 {
		w.hub.Take(b)
	}
}

func (w *world) trim() {
	p := &w.parts[w.rng.IntN(2)]
	if n := p.read - p.trimmed; n > 0 { // a stream is trimmed minutes behind
		p.trimmed += w.rng.IntN(n)
	}
}

func (w *world) lose() {
	i := w.rng.IntN(2)
	next := w.parts[i].next
	if w.rng.IntN(2) == 0 {
		next -= min(next, 5) // back in time
	}
	w.parts[i] = worldPart{epoch: w.parts[i].epoch + 1, next: next}
	for range w.rng.IntN(3) {
		w.publish()
	}
	w.hub.Lost(w.opening(i))
}

// answer is the relay's to the oldest request for older entries, or an error.
func (w *world) answer() {
	if len(w.asked) == 0 {
		return
	}
	a := w.asked[0]
	w.asked = w.asked[1:]
	past := &Past{Partition: a.partition, Epoch: a.epoch, From: a.from, To: a.to}
	part := &w.parts[a.partition]
	switch {
	case a.epoch != part.epoch:
	case w.rng.IntN(5) == 0:
		past.Err = fmt.Errorf("test")
	default:
		limit := 1 + w.rng.IntN(20)
		for _, e := range part.all[part.trimmed:] {
			if e.id.Before(a.from) || a.to.Before(e.id) {
				continue
			}
			if past.First == (stream.ID{}) {
				past.First = e.id
			}
			past.Publications = append(past.Publications, w.frame(a.partition, e))
			if limit--; limit == 0 {
				past.To = e.id
				break
			}
		}
	}
	w.hub.Older(past)
}

// connect has a client subscribe on a connection: for the first time, or to resume.
func (w *world) connect(c *worldClient) {
	seat := int32(10 + w.rng.IntN(6))
	conn := w.conns[seat]
	if conn == nil {
		conn = &worldConn{bound: 40 + w.rng.IntN(200), client: map[string]*worldClient{}}
		w.conns[seat] = conn
	}
	if conn.client[c.channel] != nil || conn.slow {
		return
	}
	conn.client[c.channel] = c
	c.seat, c.lossy = seat, false
	p := worldPartition(c.channel)
	if (c.at == stream.Position{}) {
		w.hub.Subscribe(seat, []byte(c.channel), p, c.policy)
		c.at = w.hub.Position(p)
		return
	}
	w.hub.Resume(seat, []byte(c.channel), p, c.policy, c.at)
}

// elsewhere has a client that is not connected here read to the end of its stream, as on a faster gateway.
func (w *world) elsewhere(c *worldClient) {
	p := &w.parts[worldPartition(c.channel)]
	if n := len(p.all); n > 0 && c.seat == 0 {
		c.at = stream.Position{ID: p.all[n-1].id, Epoch: p.epoch}
	}
}

func (w *world) hangUp(seat int32) {
	if c := w.conns[seat]; c != nil {
		for _, client := range c.client {
			client.seat = 0
		}
		w.hub.Remove(seat)
		delete(w.conns, seat)
	}
}

// drain has a connection read some or all of what waits.
func (w *world) drain(seat int32, all bool) {
	c := w.conns[seat]
	if c == nil {
		return
	}
	n := len(c.queue)
	if !all {
		n = w.rng.IntN(n + 1)
	}
	words := c.queue[:n]
	c.queue = c.queue[n:]
	for _, word := range words {
		w.receive(c, word)
	}
	if had := c.bytes; len(c.queue) == 0 {
		if c.bytes = 0; had > 0 {
			w.hub.Drained(seat)
		}
	}
}

// receive checks one frame against all that its client knows and all that ever was.
func (w *world) receive(conn *worldConn, word string) {
	parts := strings.Split(word, "/")
	at, err := stream.ParsePosition([]byte(parts[2]))
	if err != nil {
		w.fail("%q: %v", word, err)
	}
	c := conn.client[parts[1]]
	if c == nil {
		return // unsubscribed meanwhile
	}
	part := &w.parts[worldPartition(c.channel)]
	if parts[0] == "gap" {
		first := stream.ID{} // the newest that was trimmed: who stands there cannot be told from who missed it
		if part.trimmed > 0 {
			first = part.all[part.trimmed-1].id
		}
		late := at.ID.Before(c.at.ID) // this gateway took too long to get where another one was
		if !late && c.at.Epoch == at.Epoch && c.policy == Close && first.Before(c.at.ID) && at.Epoch == part.epoch {
			w.fail("%v at %v, trimmed to %v: gap without a reason to %v", *c, c.at, first, at)
		}
		c.at = at
		return
	}
	if at.Epoch != c.at.Epoch || !c.at.ID.Before(at.ID) {
		w.fail("%+v got %q: twice or out of order", *c, word)
	}
	if at.Epoch == part.epoch {
		for _, e := range part.all {
			if e.channel == c.channel && c.at.ID.Before(e.id) && e.id.Before(at.ID) {
				w.fail("%+v got %q without %v before", *c, word, e.id)
			}
		}
	}
	c.at = at
}

// settle lets everything come to rest, and checks that everybody who is connected has everything.
func (w *world) settle() {
	for range 400 {
		for i := range w.parts {
			if p := &w.parts[i]; p.read < len(p.all) {
				w.read()
			}
		}
		w.hub.Finish()
		w.answer()
		for seat, c := range w.conns {
			w.drain(seat, true)
			if c.slow {
				w.hangUp(seat)
			}
		}
		w.tick++
		w.hub.Tick(w.tick, 0)
	}
	if n := w.hub.Chasers(); n > 0 {
		w.fail("%d subscriptions never catch up", n)
	}
	for _, c := range w.clients {
		if c.seat == 0 {
			continue
		}
		p := &w.parts[worldPartition(c.channel)]
		for _, e := range p.all {
			if e.channel == c.channel && c.at.Epoch == p.epoch && c.at.ID.Before(e.id) {
				w.fail("%+v never gets %v", *c, e.id)
			}
		}
		if c.at.Epoch != p.epoch {
			w.fail("%+v never hears of epoch %d", *c, p.epoch)
		}
	}
}

// Whatever the order in which publications, subs, resumes, cuts, slow reading, trimming, losses of a stream and answers
// from Redis come: each client gets its channel in order, nothing twice, and nothing is missing without a gap before.
func TestDeliveryAgainstModel(t *testing.T) {
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), conns: map[int32]*worldConn{}}
		w.hub = New(Config{Partitions: 2, WindowBytes: 200 + w.rng.IntN(8000)}, w)
		for i := range w.parts {
			w.parts[i].epoch = 1
			w.hub.Open(w.opening(i))
		}
		for i := range 20 {
			ch := string(rune('a' + i%4))
			w.clients = append(w.clients, &worldClient{channel: ch, policy: worldPolicies[ch]})
		}
		for range 600 {
			c := w.clients[w.rng.IntN(len(w.clients))]
			seat := int32(10 + w.rng.IntN(6))
			switch w.rng.IntN(24) {
			case 0, 1, 2, 3, 4, 5:
				w.publish()
			case 6, 7, 8:
				w.read()
			case 9, 10, 11:
				w.hub.Step(1 + w.rng.IntN(4))
			case 12, 13, 14:
				if c.seat == 0 {
					w.connect(c)
				}
			case 15, 16, 17:
				w.drain(seat, w.rng.IntN(2) == 0)
			case 18:
				w.hangUp(seat)
			case 19:
				if c.seat != 0 {
					w.hub.Unsubscribe(c.seat, []byte(c.channel))
					delete(w.conns[c.seat].client, c.channel)
					w.conns[c.seat].queue = without(w.conns[c.seat].queue, "/"+c.channel+"/")
					c.seat = 0
				}
			case 20:
				w.answer()
			case 21:
				w.trim()
			case 22:
				if w.rng.IntN(6) == 0 {
					w.lose()
				}
				w.elsewhere(c)
			case 23:
				w.tick++
				w.hub.Tick(w.tick, 0)
			}
			for seat, conn := range w.conns {
				if conn.slow {
					w.hangUp(seat)
				}
			}
		}
		w.settle()
		n := 0
		for _, c := range w.clients {
			if c.seat != 0 {
				n++
			}
		}
		checkInvariants(t, w.hub, n)
		bytes := 0
		for i := range w.hub.windows {
			bytes += w.hub.windows[i].bytes
		}
		if bytes != w.hub.bytes || bytes > w.hub.cfg.WindowBytes+1000 {
			w.fail("windows hold %d bytes, counted %d, bound %d", bytes, w.hub.bytes, w.hub.cfg.WindowBytes)
		}
	}
}

// without takes out the words of a channel, which its client does not want to hear any more.
func without(words []string, part string) (kept []string) {
	for _, word := range words {
		if !strings.Contains(word, part) {
			kept = append(kept, word)
		}
	}
	return kept
}

// Resuming from the window leaves nothing for the collector, beyond the subscription itself.
func TestResumeDoesNotAllocate(t *testing.T) {
	h := New(Config{Partitions: 1}, discard{})
	h.Open(&Opening{At: stream.Position{Epoch: 7}})
	h.Subscribe(3, []byte("a"), 0, Close)
	for i := range uint64(100) {
		b := &Batch{Publications: []Publication{{ID: stream.ID{MS: i + 1}, Channel: "a", Frame: make([]byte, 50)}}, Cursors: []Cursor{{0, stream.ID{MS: i + 1}}}}
		h.Take(b)
		h.Finish()
	}
	name := []byte("a")
	if n := testing.AllocsPerRun(200, func() {
		h.Resume(4, name, 0, Close, stream.Position{ID: stream.ID{MS: 50}, Epoch: 7})
		h.Unsubscribe(4, name)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	if h.Replayed == 0 || h.Chasers() != 0 {
		t.Fatalf("%d replayed, %d chasers", h.Replayed, h.Chasers())
	}
}
