package service

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

const (
	// DefaultKeep is how long deleted rows and conflicts are kept.
	DefaultKeep = 30 * 24 * time.Hour

	sweepEvery = 24 * time.Hour
	maxSwept   = 100_000 // boards of which the next time is known; policy: any one goes, and is swept earlier or later than it should be
)

// sweeper says when a board is due. Each backend has its own: there is no leader, since the board's lock has one sweep at a time, and
// the second finds nothing. Boards that nobody changes need none.
type sweeper struct {
	every time.Duration
	mu    sync.Mutex
	next  map[string]time.Time // Guarded by mu.
}

// due reports whether a board is to be swept now, and if so notes the next time. One that was not seen before is due at some time within a
// twenty-fourth of the interval: a backend that starts does not sweep everything at once.
func (s *sweeper) due(board string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, known := s.next[board]
	if known && now.Before(next) {
		return false
	}
	if !known && len(s.next) >= maxSwept {
		for other := range s.next { // the map gives them in no order
			delete(s.next, other)
			break
		}
	}
	if s.next == nil {
		s.next = make(map[string]time.Time)
	}
	if known {
		s.next[board] = now.Add(s.every)
	} else {
		s.next[board] = now.Add(rand.N(s.every/24 + 1))
	}
	return known
}

// sweep purges what has been deleted in a board for long, and old conflicts, behind a commit and in the name of one of its users: nobody else has
// the right. What comes of it is one more delta.
func (s *Service) sweep(ctx context.Context, g *group, d *board.Delta) error {
	user := ""
	for i, r := range d.Results {
		if r.Seq > 0 {
			user = g.mutations[i].User
		}
	}
	if user == "" || !s.sweeper.due(g.board, s.now()) {
		return nil
	}
	purged, err := s.store.Collect(ctx, user, g.board, s.now().Add(-s.keep))
	if errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrNotFound) {
		return nil // the right has gone meanwhile
	}
	if err != nil {
		s.metrics.sweepErrors.Inc()
		s.log.WarnContext(ctx, "a board is not swept, it will be tomorrow", "board", g.board, "error", err)
		return nil
	}
	s.metrics.purged.Add(len(purged.Purged))
	if purged.From == purged.To {
		return nil
	}
	return s.tell(g.requests[0], purged)
}
