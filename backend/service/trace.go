package service

import (
	"context"
	"log/slog"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
)

// adopt has an event go by the traceparent that its request names, where the streams have named none: the protocol has no place
// for one, and bodies are the application's.
func adopt(e *worker.Event, traceparent string) {
	if e.Trace == "" && store.ValidTrace(traceparent) {
		e.Trace = traceparent
	}
}

// firstTrace is the one that the database sees of requests that are committed together.
func firstTrace(events []*worker.Event) string {
	for _, e := range events {
		if e.Trace != "" {
			return e.Trace
		}
	}
	return ""
}

// trace logs the end of the way of requests that are traced: which commit has them all.
func (s *Service) trace(ctx context.Context, g *group, d *board.Delta) {
	if firstTrace(g.requests) == "" || !s.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	begin := 0
	for i, e := range g.requests {
		if e.Trace != "" {
			s.log.InfoContext(ctx, "committed", "traceparent", e.Trace, "board", g.board, "from", d.From, "to", d.To, "mutations", g.ends[i]-begin, "together", len(g.mutations))
		}
		begin = g.ends[i]
	}
}
