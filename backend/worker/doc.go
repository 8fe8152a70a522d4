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
//	            one shard: a goroutine and the partitions that it holds leases of
//	           ┌──────────────────────────────────────────────────┐
//	XREADGROUP │ decode ─▶ seen? ─▶ handler(ctx, e) ─▶ effects ──┐ │ a script for each partition:
//	──────────▶│                      │ error                    ├─┼──────────▶ out, node streams, dead letters,
//	XCLAIM     │                      ├─▶ req: err 500 ──────────┤ │            seen keys, XACK
//	──────────▶│                      ├─▶ enough: dead letter ───┘ │
//	           │                      └─▶ again later; its channel waits
//	           └──────────────────────────────────────────────────┘
//
// None of the three arrows does anything when the lease is over.
//
// An entry is delivered at least once and its effects in the streams happen once: they are written together with the
// acknowledgement, or not at all, whatever dies in between. A handler's own effects, in a database for example, may
// happen again when the process dies before the commit; Event.ID is there to recognize that.
//
// Order: entries of one channel are handled one after the other in their order, by however many workers of the group, of
// which each holds leases of some partitions. Where one fails, the later ones of its channel wait for it, until it is
// given up. A worker that does not notice the end of its lease is refused by Redis, in reads and in commits; a handler
// that runs at that moment is not interrupted, and the next owner runs it again.
//
// Goroutines: Config.Concurrency shards, a keeper of leases, and one that renews the entries which slow handlers hold; all
// end before Run returns. What is in memory is bounded: at most Config.Batch entries of each partition from the last
// read, and 1,024 that wait for a retry, the last batch not counted.
//
// It refuses to store state, to schedule, and to answer when a handler says nothing: the client of such a request gets
// 408 from its gateway.
package worker
