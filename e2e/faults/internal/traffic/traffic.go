// Package traffic loads the system under test and writes down what it said.
//
//	publishers ──pub──▶ gateways     one a channel: n+1 is sent when n is acknowledged, n again when it was not
//	requesters ──req──▶ gateways     one question at a time, whose answer must be itself
//	subscribers ◀─msg── gateways     all channels each; resume on the other gateway when the connection is lost
//	tail ◀──XREAD── Redis's master   the streams themselves, past all links
//
// Each record belongs to one goroutine until Stop, and to whoever asks for the History behind that; counters are atomic. What a run
// costs is its history: about 32 bytes for each publication, entry and delivery, 250 MB for 20 minutes with the defaults at most.
package traffic

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/check"
	"github.com/millracehq/millrace/gateway/stream"
)

// Config of the load.
type Config struct {
	Gateways    []string // WebSocket addresses
	Master      func(context.Context) (string, error)
	Echo        int     // channels behind the backends
	Direct      int     // channels without
	Rate        float64 // publications a second, all channels together
	Subscribers int
	Requesters  int
	Start       time.Time // zero of all times
	Length      time.Duration
}

// Traffic is the load and its record.
type Traffic struct {
	// Immutable after New.
	cfg      Config
	channels []*channel
	byName   map[string]int
	subs     []*subscriber
	tail     *Tail

	publishing, listening sync.WaitGroup
	stopPublishing        context.CancelFunc // no new publications
	giveUp                context.CancelFunc // those that have no acknowledgement yet are left
	stopListening         context.CancelFunc

	heard []atomic.Bool // by tenth of a second: a publication was delivered

	Counts Counts
}

// Counts are what has happened so far. Atomic.
type Counts struct {
	Published, Acknowledged, Sends, Delivered, Gaps, Revoked, Byes, Connections atomic.Int64
	Asked, Answered, Refused, WrongAnswers, Odd                                 atomic.Int64
}

// channel is what its publisher knows; the publisher's own until Stop.
type channel struct {
	index     int
	name      string
	direct    bool
	published []check.Publication
}

// tick is the resolution of silences.
const tick = 100 * time.Millisecond

// New makes the load; Run starts it.
func New(cfg Config) *Traffic {
	t := &Traffic{cfg: cfg, byName: map[string]int{}, heard: make([]atomic.Bool, int(cfg.Length/tick)+1)}
	for i := range cfg.Echo + cfg.Direct {
		c := &channel{index: i, name: fmt.Sprintf("echo:f%d", i)}
		if i >= cfg.Echo {
			c.name, c.direct = fmt.Sprintf("direct:f%d", i), true
		}
		t.channels = append(t.channels, c)
		t.byName[c.name] = i
	}
	for i := range cfg.Subscribers {
		t.subs = append(t.subs, newSubscriber(t, i))
	}
	t.tail = newTail(t)
	return t
}

// Run starts everything and returns when every subscriber has all its subscriptions.
func (t *Traffic) Run(ctx context.Context) error {
	listening, stopListening := context.WithCancel(context.WithoutCancel(ctx))
	publishing, stopPublishing := context.WithCancel(listening)
	trying, giveUp := context.WithCancel(listening)
	t.stopListening, t.stopPublishing, t.giveUp = stopListening, stopPublishing, giveUp
	t.listening.Go(func() { t.tail.run(listening) })
	for _, s := range t.subs {
		t.listening.Go(func() { s.run(listening) })
	}
	if err := t.awaitSubscribed(ctx); err != nil {
		return err
	}
	for _, c := range t.channels {
		p := publisher{t: t, ch: c}
		t.publishing.Go(func() { p.run(publishing, trying) })
	}
	for i := range t.cfg.Requesters {
		q := requester{t: t, number: i}
		t.publishing.Go(func() { q.run(publishing) })
	}
	return nil
}

func (t *Traffic) awaitSubscribed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, s := range t.subs {
		for !s.subscribed() {
			if !pause(ctx, 20*time.Millisecond) {
				return fmt.Errorf("subscriber %d has not got its subscriptions: %w", s.index+1, ctx.Err())
			}
		}
	}
	return nil
}

// Settle ends the load and waits until everything that is under way has arrived, or limit is over: then the error says what has not.
func (t *Traffic) Settle(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t.stopPublishing()
	stop := context.AfterFunc(ctx, t.giveUp)
	defer stop()
	t.publishing.Wait()
	for {
		err := t.settled(ctx)
		if err == nil || !pause(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

func (t *Traffic) settled(ctx context.Context) error {
	if err := t.tail.idle(ctx); err != nil {
		return err
	}
	newest := t.tail.newest()
	for _, s := range t.subs {
		if !s.subscribed() {
			return fmt.Errorf("subscriber %d has not got its subscriptions", s.index+1)
		}
		if c := s.behind(newest); c >= 0 {
			return fmt.Errorf("subscriber %d has not got all of %s", s.index+1, t.channels[c].name)
		}
	}
	return nil
}

// Stop ends all that is left and waits for it.
func (t *Traffic) Stop() {
	if t.stopListening == nil {
		return
	}
	t.stopListening()
	t.publishing.Wait()
	t.listening.Wait()
}

// History is the record; after Stop. The streams are read once more, from end to end.
func (t *Traffic) History(ctx context.Context) (*check.History, error) {
	if err := t.tail.final(ctx); err != nil {
		return nil, fmt.Errorf("reading the streams at the end: %w", err)
	}
	h := &check.History{Partitions: t.tail.entries, Limits: check.Limits{Entries: 9000, Age: 270_000}} // a little less than is promised
	for i, c := range t.channels {
		ch := check.Channel{Name: c.name, Direct: c.direct, Partition: t.tail.partitionOf[i], Published: c.published}
		for _, s := range t.subs {
			ch.Subs = append(ch.Subs, s.events[i])
		}
		h.Channels = append(h.Channels, ch)
	}
	return h, nil
}

// now is in milliseconds since the start.
func (t *Traffic) now() int32 { return int32(time.Since(t.cfg.Start).Milliseconds()) }

// heardOne notes that a publication got through.
func (t *Traffic) heardOne() {
	if i := int(time.Since(t.cfg.Start) / tick); i < len(t.heard) {
		t.heard[i].Store(true)
	}
}

// body is that of publication n of a channel: what it is, and something to carry.
func body(channel int, n uint32) []byte {
	return fmt.Appendf(nil, "c%d-%d %s", channel, n, padding[:20+(int(n)*37+channel)%200])
}

var padding = strings.Repeat("0123456789abcdef", 16)

// parseBody reads what body has written.
func parseBody(s string) (channel int, n uint32, ok bool) {
	id, _, _ := strings.Cut(s, " ")
	c, number, found := strings.Cut(strings.TrimPrefix(id, "c"), "-")
	ci, err1 := strconv.Atoi(c)
	ni, err2 := strconv.ParseUint(number, 10, 32)
	ok = found && err1 == nil && err2 == nil && ci >= 0 && ni > 0 && s == string(body(ci, uint32(ni)))
	return ci, uint32(ni), ok
}

// entryID finds the stream ID in a POSITION. Clients must not do that; an observer that knows the streams may: the ID is the base of
// the position, whatever else an epoch puts around it. The newest of several is the ID: epochs are small numbers.
func entryID(position string) (stream.ID, bool) {
	var best stream.ID
	found := false
	for i := range len(position) {
		if position[i] != '-' {
			continue
		}
		from, to := i, i+1
		for from > 0 && digit(position[from-1]) {
			from--
		}
		for to < len(position) && digit(position[to]) {
			to++
		}
		if id, err := stream.ParseID(position[from:to]); err == nil && (!found || best.Before(id)) {
			best, found = id, true
		}
	}
	return best, found
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// pause reports false when ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
