package queue

import (
	"context"
	"errors"
	"time"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

const (
	reconcileEvery = 30 * time.Second
	pageBoards     = 500
	pageRecords    = 500
	maxAdded       = 100_000
	maxReadded     = 10_000 // events that one pass adds again; the next one goes on
)

// Reconciler walks the log of each board from its mark, and adds again what was not counted, unless that is under way, or was given up. So
// nothing is lost with Redis. Of several processes one does this at a time. The clocks of backends, database and Redis must not be further
// apart than Grace, else events are added once more than needed.
type Reconciler struct {
	Trail   store.Trail
	Counter Counter
	Every   time.Duration // default 30s
	Grace   time.Duration // what an event has to come by the fast path; default a third of Every

	w     *Worker
	added map[string]time.Time // when events were added again that are not counted yet
}

// Reconcile has a worker's process reconcile, until ctx is done.
func (w *Worker) Reconcile(ctx context.Context, r Reconciler) {
	if r.Every == 0 {
		r.Every = reconcileEvery
	}
	if r.Grace == 0 {
		r.Grace = r.Every / 3
	}
	r.w, r.added = w, make(map[string]time.Time)
	for sleep(ctx, r.Every) == nil {
		mine, err := w.keeper.Turn(ctx, "reconcile", 2*r.Every)
		if err == nil && mine {
			_, err = r.pass(ctx)
		}
		if err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("boards were not reconciled", "error", err)
		}
	}
}

// pass walks all boards that are behind, and says how many events it has added again.
func (r *Reconciler) pass(ctx context.Context) (added int, err error) {
	for after := ""; added < maxReadded; {
		boards, err := r.Trail.Behind(ctx, after, pageBoards)
		if err != nil || len(boards) == 0 {
			return added, err
		}
		for i := range boards {
			n, err := r.board(ctx, &boards[i])
			if added += n; err != nil {
				return added, err
			}
			after = boards[i].Board
		}
	}
	return added, nil
}

// board walks one board, and moves its mark up to the first event that is not settled.
func (r *Reconciler) board(ctx context.Context, b *store.Behind) (added int, err error) {
	young := time.Now().Add(-r.Grace).UnixMilli()
	from, mark, open := b.Marked, b.Marked, false // open: something is not settled, and the mark stays in front of it
	for more := true; more; {
		page, err := r.Trail.Records(ctx, b.Board, from, pageRecords)
		if err != nil {
			return added, err
		}
		more = len(page) == pageRecords
		cut := false
		for i := range page {
			if page[i].Seq > b.Seq || page[i].At > young { // so are those behind it
				page, more, cut = page[:i], false, true
				break
			}
			page[i].Workspace, from = b.Workspace, page[i].Seq
		}
		first, n, err := r.records(ctx, page)
		if added += n; err != nil {
			return added, err
		}
		if !open {
			mark, open = from, cut
			if first > 0 {
				mark, open = first-1, true
			}
		}
	}
	if !open {
		mark = b.Seq
	}
	if mark == b.Marked {
		return added, nil
	}
	return added, r.Trail.Mark(ctx, b.Board, mark)
}

// records adds again what of these is missing, and says how many, and where the first is that is not settled; 0 if all are.
func (r *Reconciler) records(ctx context.Context, records []board.Record) (first int64, added int, err error) {
	var events []Event
	var seqs []int64 // of events
	var ids []string
	for i := range records {
		for _, e := range BoardEvents(&records[i]) {
			events, seqs, ids = append(events, e), append(seqs, records[i].Seq), append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return 0, 0, nil
	}
	counted, err := r.Counter.Known(ctx, ids)
	if err != nil {
		return 0, 0, err
	}
	open := make(map[int][]Event) // by partition
	at := make(map[string]int64, len(events))
	for i := range events {
		if counted[i] {
			delete(r.added, ids[i])
			continue
		}
		p := partition(r.w.client, &events[i])
		open[p] = append(open[p], events[i])
		at[ids[i]] = seqs[i]
	}
	for p, missing := range open {
		settled, n, err := r.partition(ctx, p, missing)
		if added += n; err != nil {
			return first, added, err
		}
		for i := range missing {
			if seq := at[missing[i].ID]; !settled[i] && (first == 0 || seq < first) {
				first = seq
			}
		}
	}
	return first, added, nil
}

// partition adds those events of a partition again that are neither waiting, nor given up, nor in the queue, and says which are given up.
// An event is not in the queue when all that was written at that time is done.
func (r *Reconciler) partition(ctx context.Context, p int, events []Event) (settled []bool, added int, err error) {
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	waiting, dead, err := r.w.keeper.Known(ctx, p, ids)
	if err != nil {
		return nil, 0, err
	}
	age, err := r.w.keeper.Oldest(ctx, p)
	if errors.Is(err, redis.ErrNoGroup) {
		err = r.w.create(ctx)
	}
	if err != nil {
		return nil, 0, err
	}
	now := time.Now()
	var again []Event
	for i := range events {
		written := time.UnixMilli(events[i].At)
		if t, ok := r.added[ids[i]]; ok {
			written = t
		}
		if underWay := age > 0 && now.Add(-age).Before(written.Add(r.Grace)); !waiting[i] && !dead[i] && !underWay {
			again = append(again, events[i])
		}
	}
	if len(again) == 0 {
		return dead, 0, nil
	}
	if err := Add(ctx, r.w.client, again); err != nil {
		return dead, 0, err
	}
	if len(r.added) > maxAdded {
		clear(r.added) // they may be added once more than needed
	}
	for i := range again {
		r.added[again[i].ID] = now
	}
	r.w.metrics.readded.Add(len(again))
	r.w.cfg.Logger.Info("events were added again", "events", len(again), "partition", p)
	return dead, len(again), nil
}
