package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/millracehq/millrace/backend/reward"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// countTimeout is the most time of one transaction. It is under ClaimAfter, so that what is in hand is touched in time.
const countTimeout = 15 * time.Second

// job is an entry and the event in it.
type job struct {
	redis.Delivery
	event entry
}

// run is one batch on its way.
type run struct {
	w       *Worker
	queue   *redis.Queue
	refs    []redis.Ref // all that is in hand
	touched time.Time
	done    []redis.Ref
	failed  []redis.Failed
}

// do has a batch counted, tells users, and settles its entries. An error means that ctx is done: then what is not settled stays
// pending.
func (w *Worker) do(ctx context.Context, q *redis.Queue, batch []redis.Delivery) error {
	if len(batch) == 0 {
		return nil
	}
	r := &run{w: w, queue: q, touched: time.Now()}
	jobs := make([]job, 0, len(batch))
	for _, d := range batch {
		r.refs = append(r.refs, d.Ref)
		e, err := decode(d.Fields)
		switch {
		case err != nil:
			r.bury(job{d, e}, causeUndecodable, err, 1)
		case d.Attempt > deadlyAfter:
			r.bury(job{d, e}, causeKilled, errKilled, int(d.Attempt))
		default:
			jobs = append(jobs, job{d, e})
		}
	}
	if err := r.count(ctx, jobs); err != nil {
		return err
	}
	return w.redis(ctx, func(ctx context.Context) error { return q.Settle(ctx, r.done, r.failed) })
}

// errKilled is why an entry dies that nobody has settled.
var errKilled = errors.New("the processes that had it have died, or lost Redis, again and again")

// count counts jobs together, or halves of them.
func (r *run) count(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	events := make([]Event, len(jobs))
	for i := range jobs {
		events[i] = jobs[i].event.Event
	}
	counted, err := r.try(ctx, events)
	switch {
	case err == nil:
		return r.counted(ctx, jobs, counted)
	case !ofData(err):
		return err
	case len(jobs) == 1:
		r.fail(jobs[0], err)
		return nil
	}
	r.w.metrics.bisections.Inc()
	half := len(jobs) / 2
	if err := r.count(ctx, jobs[:half]); err != nil {
		return err
	}
	return r.count(ctx, jobs[half:])
}

// try counts events, again while what fails will pass.
func (r *run) try(ctx context.Context, events []Event) (reward.Counted, error) {
	w := r.w
	for b := (backoff{}); ; {
		start := time.Now()
		counted, err := w.call(ctx, events)
		took := time.Since(start)
		if err == nil {
			w.metrics.commit.Update(took.Seconds())
			w.metrics.batch.Update(float64(len(events)))
			for old := w.slowest.Load(); int64(took) > old && !w.slowest.CompareAndSwap(old, int64(took)); old = w.slowest.Load() {
			}
			return counted, nil
		}
		if ctx.Err() != nil {
			return counted, ctx.Err()
		}
		if ofData(err) {
			return counted, err
		}
		w.metrics.transient.Inc()
		w.cfg.Logger.Warn("a batch was not counted, it will be tried again", "events", len(events), "error", err)
		w.cfg.Alert(Alert{Kind: AlertBatch, Text: err.Error()})
		if err := b.wait(ctx); err != nil {
			return counted, err
		}
		r.touch(ctx)
	}
}

// call turns a panic into an error of the data: the other events of the batch must not suffer from it.
func (w *Worker) call(ctx context.Context, events []Event) (counted reward.Counted, err error) {
	defer func() {
		if v := recover(); v != nil {
			w.cfg.Logger.Error("the counter has panicked", "panic", v, "stack", string(debug.Stack()))
			err = &reward.DataError{Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	return w.cfg.Counter.Count(ctx, events)
}

func ofData(err error) bool {
	_, ok := errors.AsType[*reward.DataError](err)
	return ok
}

// touch keeps what is in hand from being claimed. If Redis is gone, too, it may be claimed, and counts once all the same.
func (r *run) touch(ctx context.Context) {
	if time.Since(r.touched) < r.w.cfg.ClaimAfter/3 {
		return
	}
	if err := r.queue.Touch(ctx, r.refs); err != nil {
		r.w.cfg.Logger.Debug("entries in hand are not touched", "error", err)
		return
	}
	r.touched = time.Now()
}

// counted tells users, and measures.
func (r *run) counted(ctx context.Context, jobs []job, c reward.Counted) error {
	m, now := r.w.metrics, time.Now()
	m.duplicates.Add(c.Duplicates)
	m.counted.Add(len(jobs) - c.Duplicates)
	for i := range jobs {
		r.done = append(r.done, jobs[i].Ref)
		if jobs[i].event.attempt == 0 {
			m.toLedger.Update(now.Sub(time.UnixMilli(jobs[i].event.At)).Seconds())
		}
	}
	var news []reward.Gain
	for _, g := range c.Gains {
		if g.LevelUp || len(g.Unlocks) > 0 {
			news = append(news, g)
		}
	}
	if len(news) == 0 {
		return nil
	}
	err := r.w.redis(ctx, func(ctx context.Context) error { return r.w.push(ctx, news) })
	if err == nil {
		m.pushes.Add(len(news))
		now = time.Now()
		for i := range news {
			m.toPush.Update(now.Sub(time.UnixMilli(news[i].At)).Seconds())
		}
	}
	return err
}

// outLength is the MAXLEN of `out` streams: docs/STREAMS.md, section 3.
const outLength = 10_000

// push tells users, each on the own channel. They are told at least once, unless the process dies between the transaction and this;
// what it says can be asked for, too.
func (w *Worker) push(ctx context.Context, gains []reward.Gain) error {
	adds := make([]stream.Add, len(gains))
	for i := range gains {
		g := &gains[i]
		data, err := json.Marshal(g)
		if err != nil {
			return err
		}
		pub := stream.Publication{Channel: Channel(g.User), ID: g.Event, At: time.Now().UnixMilli(), Data: string(data)}
		key := w.client.Keys().Out(stream.Partition(pub.Channel, w.client.Partitions()))
		adds[i] = stream.Add{Key: key, MaxLen: outLength, Values: pub.Values()}
	}
	return errors.Join(w.client.Append(ctx, adds)...)
}

// fail has an event wait for its next attempt, or gives it up.
func (r *run) fail(j job, err error) {
	e := &j.event
	if e.attempt++; e.first == 0 {
		e.first = time.Now().UnixMilli()
	}
	if e.attempt >= r.w.cfg.MaxAttempts {
		r.bury(j, causeAttempts, err, e.attempt)
		return
	}
	r.w.metrics.retries.Inc()
	wait := retryAfter(r.w.cfg.RetryAfter, e.attempt)
	r.w.cfg.Logger.Warn("an event cannot be counted, it will be tried again", "event", e.ID, "attempt", e.attempt, "after", wait, "error", err)
	r.failed = append(r.failed, redis.Failed{Ref: j.Ref, Event: e.ID, Fields: e.fields(), Wait: wait})
}

// retryAfter is first after the first attempt and twice as long after each one more, and up to half as much more by chance.
func retryAfter(first time.Duration, attempt int) time.Duration {
	d := first
	for ; attempt > 1 && d < maxRetryAfter; attempt-- {
		d *= 2
	}
	d = min(d, maxRetryAfter)
	return d + rand.N(d/2+1)
}

// bury makes a dead letter of an entry.
func (r *run) bury(j job, cause string, err error, attempts int) {
	f := redis.Failed{Ref: j.Ref, Event: j.event.ID, Dead: &redis.Death{
		Reason: redis.Reason(err), Attempts: int64(attempts), At: time.Now(), Most: r.w.cfg.DeadLetters,
	}}
	if cause == causeUndecodable {
		f.Event = "" // whatever it says: it may be another's
	}
	r.failed = append(r.failed, f)
	r.w.metrics.dead[cause].Inc()
	r.w.cfg.Logger.Error("gave up an event, it is a dead letter now", "event", j.event.ID, "entry", j.ID, "cause", cause, "reason", f.Dead.Reason)
	r.w.cfg.Alert(Alert{Kind: AlertDead, Event: j.event.ID, Text: f.Dead.Reason})
}
