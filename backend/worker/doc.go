// Package worker makes a Go program a backend of Millrace: it gets what clients do as events, and what its handlers
// answer and publish goes back, once. The contract underneath is docs/STREAMS.md.
//
//	w, err := worker.New(worker.Config{Redis: "redis://127.0.0.1:6379/0"})
//	if err != nil {
//		return err
//	}
//	w.Handle("chat", func(ctx context.Context, e *worker.Event) error {
//		e.Publish(e.Channel, e.Data)
//		return nil
//	})
//	return w.Run(ctx)
//
// What happens to an entry:
//
//	            one shard: a goroutine and its partitions
//	           ┌──────────────────────────────────────────────────┐
//	XREADGROUP │ decode ─▶ seen? ─▶ handler(ctx, e) ─▶ effects ──┐ │ one script: effects, seen keys, XACK
//	──────────▶│                      │ error                    ├─┼──────────▶ out, node streams
//	XAUTOCLAIM │                      ▼                          │ │
//	──────────▶│           pub: stays pending, is claimed again  │ │
//	           │           req: err 500 ─────────────────────────┘ │
//	           └──────────────────────────────────────────────────┘
//
// An entry is delivered at least once and its effects in the streams happen once: they are written together with the
// acknowledgement, or not at all, whatever dies in between. A handler's own effects, in a database for example, may
// happen again when the process dies before the commit; Event.ID is there to recognize that.
//
// Order: entries of one partition, and so of one channel, are handled one after the other in their order, as long as
// one worker runs and no handler fails. Several workers of a group take turns with one stream, as Redis gives it to them.
//
// Goroutines: Config.Concurrency shards, which own their partitions, and one that renews the entries which slow
// handlers hold; all end before Run returns. Nothing is queued in memory but the entries of the last read: at most
// Config.Batch for each partition.
//
// It refuses to store state, to schedule, to retry in memory, and to answer when a handler says nothing: the client of
// such a request gets 408 from its gateway.
package worker
