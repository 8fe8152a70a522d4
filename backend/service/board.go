package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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
	Diverged  string            `json:"diverged"`  // pull: the hash of the client's copy, which is not the server's
	Heads     bool              `json:"heads"`     // pull: without the bodies of rows
	Rows      []board.Key       `json:"rows"`      // bodies: whose
	After     int64             `json:"after"`     // log
	Title     string            `json:"title"`     // rename
	Version   int64             `json:"version"`   // rename
	Trace     string            `json:"trace"`     // W3C traceparent
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
	id := boardOf(e)
	switch e.Kind {
	case stream.KindReq, stream.KindPub:
	case stream.KindSub:
		_, err := s.store.Board(ctx, e.User, id)
		return admit(e, err)
	default:
		return nil
	}
	var r request
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return refuse(e, 400, "the body is not a request: "+err.Error(), nil)
	}
	adopt(e, r.Trace)
	switch r.Do {
	case "mutate":
		if n := len(r.Mutations); n == 0 || n > store.MaxBatch {
			return refuse(e, 413, fmt.Sprintf("%d mutations, 1 to %d go together", n, store.MaxBatch), nil)
		}
		g := group{board: id}
		g.add(e, r.Mutations)
		return s.commit(ctx, &g)
	case "pull":
		return s.pull(ctx, e, id, &r)
	case "bodies":
		return s.bodies(ctx, e, id, r.Rows)
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
		return refuse(e, 400, fmt.Sprintf("do: %.40q is not mutate, pull, bodies, head, log or rename", r.Do), nil)
	}
}

// mutations is the request in an event, if it is one that [Service.commit] takes.
func mutations(e *worker.Event) (r request, ok bool) {
	if e.Kind != stream.KindReq && e.Kind != stream.KindPub || json.Unmarshal(e.Data, &r) != nil || r.Do != "mutate" {
		return r, false
	}
	adopt(e, r.Trace)
	return r, len(r.Mutations) > 0 && len(r.Mutations) <= store.MaxBatch
}

// pull answers what a client lacks. Whether its copy has gone another way than the board shows by their hashes; and whether the rows in the store
// are those that the log has led to, by the hash of a whole board against the one that is kept with its number.
func (s *Service) pull(ctx context.Context, e *worker.Event, id string, r *request) error {
	since := store.Since{Seq: r.Since, GC: r.GC, Client: r.Client, N: r.N, Limit: maxRows}
	d, err := s.store.Pull(ctx, e.User, id, since)
	if err != nil {
		return answer(e, nil, err)
	}
	if r.Diverged != "" {
		s.metrics.divergedClient.Inc()
		s.log.WarnContext(ctx, "a client's copy differs from the board", "board", id, "user", e.User, "client", r.Client, "seq", r.Since, "hash", fmt.Sprintf("%.16s", r.Diverged))
	}
	if d.Reset && !d.More && board.FormatHash(sum(d.Rows)) != d.Hash {
		s.metrics.divergedStore.Inc()
		s.log.ErrorContext(ctx, "the rows of a board are not those of its hash", "board", id, "seq", d.To)
	}
	if r.Heads {
		for i, row := range d.Rows {
			d.Rows[i] = row.Head()
		}
	}
	return answer(e, d, store.Page(&d, since, maxPage))
}

// sum is the hash of a board with these rows.
func sum(rows []*board.Row) (h uint64) {
	for _, r := range rows {
		h += r.Hash()
	}
	return h
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
