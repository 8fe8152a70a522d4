package client

import (
	"context"
	"sync"
)

// Publication is what a subscription delivers.
type Publication struct {
	Gap      bool   // publications before this point were lost to this client: fetch the state anew; no body
	Position string // where to resume after this one
	Binary   bool   // sent as a binary message
	Data     []byte
}

// Subscription delivers the publications of one channel in their order. Next may be called by one goroutine at a time.
type Subscription struct {
	// Immutable after newSubscription.
	channel string
	queue   chan Publication
	ended   chan struct{} // closed after err was set

	once sync.Once
	err  error // set before ended is closed

	mu       sync.Mutex
	position string // Guarded by mu.
}

func newSubscription(channel string, queue int) *Subscription {
	return &Subscription{channel: channel, queue: make(chan Publication, queue), ended: make(chan struct{})}
}

// Channel is the subscribed channel.
func (s *Subscription) Channel() string { return s.channel }

// Position is where to resume: after the last publication that Next gave, at first where the subscription began.
func (s *Subscription) Position() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

// Next waits for a publication. After the end of the subscription it gives what is still queued, then the reason:
// [*Closed], [ErrUnsubscribed], or [*Error] when the gateway revoked it.
func (s *Subscription) Next(ctx context.Context) (Publication, error) {
	select {
	case p := <-s.queue:
		return s.taken(p), nil
	default:
	}
	select {
	case p := <-s.queue:
		return s.taken(p), nil
	case <-s.ended:
		select {
		case p := <-s.queue: // it came before the end
			return s.taken(p), nil
		default:
			return Publication{}, s.err
		}
	case <-ctx.Done():
		return Publication{}, ctx.Err()
	}
}

func (s *Subscription) taken(p Publication) Publication {
	s.setPosition(p.Position)
	return p
}

func (s *Subscription) setPosition(position string) {
	s.mu.Lock()
	s.position = position
	s.mu.Unlock()
}

// deliver queues p; while the queue is full it waits, until the subscription or the connection ends.
func (s *Subscription) deliver(p Publication, closing <-chan struct{}) {
	select {
	case s.queue <- p:
	case <-s.ended:
	case <-closing:
	}
}

func (s *Subscription) end(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.ended)
	})
}
