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
	"github.com/millracehq/millrace/gateway/client"
	"github.com/millracehq/millrace/gateway/stream"
)

const (
	pingEvery   = time.Second
	deadAfter   = 3 * time.Second // without a frame, though pings were sent
	comeBackMax = 500 * time.Millisecond
)

// subscriber has all channels, resumes on the other gateway when it loses its connection, and writes everything down.
type subscriber struct {
	// Immutable after newSubscriber.
	t     *Traffic
	index int

	// Owned by run, and by others after Stop.
	events   [][]check.Event // by channel
	position []string        // by channel: to resume from, "" before the first
	live     []bool          // by channel: subscribed on this connection
	refused  []int           // channels whose sub was answered err: to be asked again

	subscriptions atomic.Int64 // of this connection

	// Guarded by mu.
	mu sync.Mutex
	at []stream.ID // by channel
}

func newSubscriber(t *Traffic, index int) *subscriber {
	n := len(t.channels)
	return &subscriber{
		t: t, index: index, events: make([][]check.Event, n), position: make([]string, n), live: make([]bool, n), at: make([]stream.ID, n),
	}
}

func (s *subscriber) subscribed() bool { return int(s.subscriptions.Load()) == len(s.t.channels) }

// behind is a channel of which it has not got the newest entry, or -1.
func (s *subscriber) behind(newest []stream.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range newest {
		if s.at[c].Before(newest[c]) {
			return c
		}
	}
	return -1
}

// run goes from gateway to gateway until ctx is done.
func (s *subscriber) run(ctx context.Context) {
	for gateway := s.index; ctx.Err() == nil; gateway++ {
		dial, cancel := context.WithTimeout(ctx, dialTimeout)
		raw, err := client.DialRaw(dial, s.t.cfg.Gateways[gateway%len(s.t.cfg.Gateways)], client.Options{})
		cancel()
		if err == nil {
			s.t.Counts.Connections.Add(1)
			s.converse(ctx, raw)
		}
		pause(ctx, retryAfter)
	}
}

// converse is one connection from its first sub to its end.
func (s *subscriber) converse(ctx context.Context, raw *client.Raw) {
	var pinging sync.WaitGroup
	alive, ended := context.WithCancel(ctx)
	defer pinging.Wait()
	defer raw.Abort()
	defer ended()
	defer s.lost()
	pinging.Go(func() {
		for pause(alive, pingEvery) && s.write(alive, raw, "ping 1000000") {
		}
	})
	for c := range s.t.channels {
		if !s.subscribe(ctx, raw, c) {
			return
		}
	}
	for {
		read, cancel := context.WithTimeout(ctx, deadAfter)
		f, err := raw.Read(read)
		cancel()
		if err != nil {
			return
		}
		if !s.take(ctx, raw, f) {
			return
		}
	}
}

func (s *subscriber) subscribe(ctx context.Context, raw *client.Raw, c int) bool {
	frame := fmt.Sprintf("sub %d %s", c+1, s.t.channels[c].name)
	if s.position[c] != "" {
		frame += " " + s.position[c]
	}
	return s.write(ctx, raw, frame)
}

func (s *subscriber) write(ctx context.Context, raw *client.Raw, frame string) bool {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return raw.Write(ctx, false, []byte(frame)) == nil
}

// take reads one frame. It reports false when the connection is to be left.
func (s *subscriber) take(ctx context.Context, raw *client.Raw, f client.Frame) bool {
	words := strings.Split(f.Head, " ")
	word := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch words[0] {
	case "msg":
		_, n, _ := parseBody(string(f.Body))
		s.note(word(1), word(2), check.Event{Kind: check.Delivered, N: n})
		s.t.Counts.Delivered.Add(1)
		s.t.heardOne()
	case "gap":
		s.note(word(1), word(2), check.Event{Kind: check.Gap})
		s.t.Counts.Gaps.Add(1)
	case "ok":
		s.answered(word(1), word(2))
	case "err":
		if ref, err := strconv.Atoi(word(1)); err == nil && ref >= 1 && ref <= len(s.t.channels) {
			s.refused = append(s.refused, ref-1)
		} else {
			s.t.Counts.Odd.Add(1)
		}
	case "pong":
		again := s.refused
		s.refused = nil
		for _, c := range again {
			if !s.subscribe(ctx, raw, c) {
				return false
			}
		}
	case "revoke":
		s.t.Counts.Revoked.Add(1)
		if c, ok := s.t.byName[word(1)]; ok && s.live[c] {
			s.live[c] = false
			s.subscriptions.Add(-1)
			s.events[c] = append(s.events[c], check.Event{Kind: check.Ended, At: s.t.now()})
			s.refused = append(s.refused, c)
		}
	case "bye":
		s.t.Counts.Byes.Add(1)
		delay, _ := strconv.Atoi(word(2))
		pause(ctx, min(time.Duration(delay)*time.Millisecond, comeBackMax))
		return false
	case "hello":
	default:
		s.t.Counts.Odd.Add(1)
	}
	return true
}

// answered is the ok of a sub.
func (s *subscriber) answered(ref, position string) {
	n, err := strconv.Atoi(ref)
	c := n - 1
	if err != nil || c < 0 || c >= len(s.t.channels) || s.live[c] {
		s.t.Counts.Odd.Add(1)
		return
	}
	s.live[c] = true
	s.subscriptions.Add(1)
	if s.position[c] != "" {
		s.events[c] = append(s.events[c], check.Event{Kind: check.Resumed, At: s.t.now()})
		return
	}
	s.note(s.t.channels[c].name, position, check.Event{Kind: check.Subscribed})
}

// note writes an event down and moves the position.
func (s *subscriber) note(channel, position string, e check.Event) {
	c, ok := s.t.byName[channel]
	id, isID := entryID(position)
	if !ok || !isID || !s.live[c] {
		s.t.Counts.Odd.Add(1)
		return
	}
	e.ID, e.At = id, s.t.now()
	s.events[c] = append(s.events[c], e)
	s.position[c] = position
	s.mu.Lock()
	s.at[c] = id
	s.mu.Unlock()
}

// lost ends the subscriptions with their connection.
func (s *subscriber) lost() {
	for c := range s.live {
		if s.live[c] {
			s.events[c] = append(s.events[c], check.Event{Kind: check.Ended, At: s.t.now()})
		}
		s.live[c] = false
	}
	s.refused = nil
	s.subscriptions.Store(0)
}
