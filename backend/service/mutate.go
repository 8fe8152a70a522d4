package service

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
)

// Bounds of what is committed together for several requests: mutations by default, and bytes of requests, so that their delta mostly fits into one
// publication. Larger requests are committed alone.
const (
	DefaultTogether = 50
	maxGroupBytes   = maxPublished / 2
)

// group is requests to change one board that are committed together.
type group struct {
	board     string
	requests  []*worker.Event
	ends      []int // of the mutations of each, in mutations
	mutations []*board.Mutation
	bytes     int
}

// add takes up a request.
func (g *group) add(e *worker.Event, bodies []json.RawMessage) {
	for _, body := range bodies {
		m := board.DecodeMutation(body)
		m.User = e.User
		g.mutations = append(g.mutations, m)
	}
	g.requests, g.ends, g.bytes = append(g.requests, e), append(g.ends, len(g.mutations)), g.bytes+len(e.Data)
}

// fits reports whether one more request may go with the others.
func (g *group) fits(e *worker.Event, mutations, most int) bool {
	return len(g.requests) == 0 || len(g.mutations)+mutations <= most && g.bytes+len(e.Data) <= maxGroupBytes
}

// Together handles what came for one board at once: what changes it is committed in as few transactions as may be, and all else
// comes behind it, in its order.
func (s *Service) Together(ctx context.Context, events []*worker.Event) error {
	g := group{board: boardOf(events[0])}
	var rest []*worker.Event
	for _, e := range events {
		r, ok := mutations(e)
		if !ok {
			rest = append(rest, e)
			continue
		}
		if !g.fits(e, len(r.Mutations), s.most) {
			if err := s.commit(ctx, &g); err != nil {
				return err
			}
			g = group{board: g.board}
		}
		g.add(e, r.Mutations)
	}
	if len(g.requests) > 0 {
		if err := s.commit(ctx, &g); err != nil {
			return err
		}
	}
	for _, e := range rest {
		if err := s.Board(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// commit commits, and then tells everybody. Who asked alone gets what changed with the results; of several each gets its results, and what
// changed by the publication.
func (s *Service) commit(ctx context.Context, g *group) error {
	start := time.Now()
	e := g.requests[0]
	d, err := s.store.Commit(store.WithTrace(ctx, firstTrace(g.requests)), g.board, g.mutations)
	if err != nil {
		return fmt.Errorf("service: %s: %w", e.Channel, err)
	}
	s.metrics.commit.UpdateDuration(start)
	s.measure(g, &d)
	if s.committed != nil && len(d.Records) > 0 {
		s.committed(d.Records)
	}
	s.trace(ctx, g, &d)
	if err := s.publish(e, d); err != nil {
		return err
	}
	begin := 0
	for i, e := range g.requests {
		own := d
		if len(g.requests) > 1 {
			own = board.Delta{Board: d.Board}
		}
		own.Results = d.Results[begin:g.ends[i]]
		begin = g.ends[i]
		if err := answer(e, own, nil); err != nil {
			return err
		}
	}
	return s.sweep(ctx, g, &d)
}

func (s *Service) measure(g *group, d *board.Delta) {
	s.metrics.group.Update(float64(len(g.mutations)))
	s.metrics.requests.Update(float64(len(g.requests)))
	now := s.now().UnixMilli()
	for i, r := range d.Results {
		s.metrics.mutations[r.Status].Inc()
		s.metrics.skew.Update(float64(now-g.mutations[i].TS/1000) / 1000)
	}
	for _, c := range d.Conflicts {
		s.metrics.conflict(c.Group)
	}
}

// publish sends a delta to the subscribers. Where only strangers and viewers tried something there is nothing to tell.
func (s *Service) publish(e *worker.Event, d board.Delta) error {
	known := false
	var public []board.ClientResult
	for _, r := range d.Results {
		known = known || r.Seq > 0
		if !r.Private {
			public = append(public, r)
		}
	}
	if !known {
		return nil
	}
	d.Results = public
	return s.tell(e, d)
}

// tell publishes a delta, or that there is one.
func (s *Service) tell(e *worker.Event, d board.Delta) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if d.From == d.To || len(data) > maxPublished {
		// Only repeated: the delta may have been lost with the backend that had it. Or too much: a copy that is behind pulls.
		look := board.Delta{Board: d.Board, From: d.To, To: d.To, HLC: d.HLC, Hash: d.Hash}
		if data, err = json.Marshal(look); err != nil {
			return err
		}
	}
	e.Publish(e.Channel, data, worker.Binary(false))
	return nil
}

func boardOf(e *worker.Event) string { return strings.TrimPrefix(e.Channel, BoardNamespace+":") }
