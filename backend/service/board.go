package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
)

// request is any request on a board's channel.
type request struct {
	Do        string            `json:"do"`
	Mutations []json.RawMessage `json:"mutations"` // mutate
	Since     int64             `json:"since"`     // pull: what the client has
	GC        int64             `json:"gc"`        // pull: the last purge that it knows of
	Client    string            `json:"client"`    // pull: whose results are wanted
	N         int64             `json:"n"`         // pull: after this one
	After     int64             `json:"after"`     // log
	Title     string            `json:"title"`     // rename
	Version   int64             `json:"version"`   // rename
}

// head is what a client compares itself with.
type head struct {
	store.Board
	Now int64 `json:"now"` // unix ms: the server's clock
}

// fault is an answer that is none of the streams' errors: the request was understood and is refused.
type fault struct {
	Code    int    `json:"code"`
	Text    string `json:"text"`
	Current any    `json:"current,omitempty"` // what it is now, where the version was another
}

const maxLog = 500

// Board handles what comes on board:ID.
func (s *Service) Board(ctx context.Context, e *worker.Event) error {
	id := strings.TrimPrefix(e.Channel, BoardNamespace+":")
	if e.Kind != stream.KindReq && e.Kind != stream.KindPub {
		return nil
	}
	var r request
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return refuse(e, 400, "the body is not a request: "+err.Error(), nil)
	}
	switch r.Do {
	case "mutate":
		return s.mutate(ctx, e, id, r.Mutations)
	case "pull":
		since := store.Since{Seq: r.Since, GC: r.GC, Client: r.Client, N: r.N}
		d, err := s.store.Pull(ctx, e.User, id, since)
		if err == nil {
			err = store.Page(&d, since, maxPage)
		}
		return answer(e, d, err)
	case "head":
		b, err := s.store.Board(ctx, e.User, id)
		return answer(e, head{b, s.now().UnixMilli()}, err)
	case "log":
		log, err := s.store.Log(ctx, e.User, id, r.After, maxLog)
		return answer(e, log, err)
	case "rename":
		b, err := s.store.Rename(ctx, e.User, id, r.Title, r.Version)
		return answer(e, b, err)
	default:
		return refuse(e, 400, fmt.Sprintf("do: %.40q is not mutate, pull, head, log or rename", r.Do), nil)
	}
}

// mutate commits, and then tells everybody. The answer to the one who asked has the results, and what has changed, too.
func (s *Service) mutate(ctx context.Context, e *worker.Event, id string, bodies []json.RawMessage) error {
	if len(bodies) == 0 || len(bodies) > store.MaxBatch {
		return refuse(e, 413, fmt.Sprintf("%d mutations, 1 to %d go together", len(bodies), store.MaxBatch), nil)
	}
	mutations := make([]*board.Mutation, len(bodies))
	for i, body := range bodies {
		mutations[i] = board.DecodeMutation(body)
		mutations[i].User = e.User
	}
	start := time.Now()
	d, err := s.store.Commit(ctx, id, mutations)
	if err != nil {
		return fmt.Errorf("service: %s: %w", e.Channel, err)
	}
	s.metrics.commit.UpdateDuration(start)
	s.measure(mutations, &d)
	if s.committed != nil && len(d.Records) > 0 {
		s.committed(d.Records)
	}
	if err := s.publish(e, d); err != nil {
		return err
	}
	if e.Kind == stream.KindPub {
		return nil
	}
	return answer(e, d, nil)
}

func (s *Service) measure(mutations []*board.Mutation, d *board.Delta) {
	s.metrics.group.Update(float64(len(mutations)))
	now := s.now().UnixMilli()
	for i, r := range d.Results {
		s.metrics.mutations[r.Status].Inc()
		s.metrics.skew.Update(float64(now-mutations[i].TS/1000) / 1000)
	}
	for _, c := range d.Conflicts {
		s.metrics.conflict(c.Group)
	}
}

// publish sends a delta to the subscribers. Where only strangers and viewers tried something there is nothing to tell.
func (s *Service) publish(e *worker.Event, d board.Delta) error {
	known := false
	for _, r := range d.Results {
		known = known || r.Seq > 0
	}
	if !known {
		return nil
	}
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

// answer replies with v, or with what err says of the request. Other errors are the store's.
func answer(e *worker.Event, v any, err error) error {
	if version, ok := errors.AsType[*store.VersionError](err); ok {
		return refuse(e, 409, "changed meanwhile", version.Current)
	}
	for known, code := range map[error]int{store.ErrNotFound: 404, store.ErrDenied: 403, store.ErrExists: 409, store.ErrLastOwner: 409} {
		if errors.Is(err, known) {
			return refuse(e, code, known.Error(), nil)
		}
	}
	if err != nil {
		return fmt.Errorf("service: %s: %w", e.Channel, err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	e.Reply(data, worker.Binary(false))
	return nil
}

func refuse(e *worker.Event, code int, text string, current any) error {
	data, err := json.Marshal(map[string]fault{"error": {code, text, current}})
	if err != nil {
		return err
	}
	e.Reply(data, worker.Binary(false))
	return nil
}
