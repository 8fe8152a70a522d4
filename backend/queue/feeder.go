package queue

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Adds are the entries of events: each belongs to the partition of its user, so that events of one user meet in one batch.
func Adds(c *redis.Client, events []Event) []stream.Add {
	adds := make([]stream.Add, len(events))
	for i := range events {
		fields := (&entry{Event: events[i]}).fields()
		values := make([]any, len(fields))
		for k, f := range fields {
			values[k] = f
		}
		adds[i] = stream.Add{Key: c.Keys().Queue(partition(c, &events[i]), Name), Values: values}
	}
	return adds
}

func partition(c *redis.Client, e *Event) int { return stream.Partition(e.User, c.Partitions()) }

// Add puts events into the queue and returns when Redis has them all. After an error it may have some of them; the same
// call does no harm.
func Add(ctx context.Context, c *redis.Client, events []Event) error {
	return errors.Join(c.Append(ctx, Adds(c, events))...)
}

const (
	feederRoom  = 1 << 16 // events that wait for Redis
	feederBatch = 1000
	warnEvery   = time.Minute
	lookEvery   = time.Second
)

// Room is the most entries that the queue should have: whoever adds looks before, now and then. Beyond it boards' events are left to the reconciler,
// and other applications are asked to come back.
const Room = 1_000_000

// Feeder puts what boards have brought about into the queue, without keeping who has committed it waiting. What does not fit, or Redis does not
// take, is left to the reconciler.
type Feeder struct {
	client *redis.Client
	log    *slog.Logger
	room   chan Event

	// Owned by Run.
	warned time.Time
	looked time.Time
	full   bool

	fed, lost *metrics.Counter
}

// NewFeeder is a Feeder that writes by a client, of two connections or more. The client stays its owner's.
func NewFeeder(c *redis.Client, set *metrics.Set, log *slog.Logger) *Feeder {
	f := &Feeder{
		client: c, log: log, room: make(chan Event, feederRoom),
		fed:  set.GetOrCreateCounter("millrace_rewards_fed_total"),
		lost: set.GetOrCreateCounter("millrace_rewards_feed_lost_total"),
	}
	set.GetOrCreateGauge("millrace_rewards_feed_waiting", func() float64 { return float64(len(f.room)) })
	return f
}

// Committed takes what a commit has brought about. It never blocks.
func (f *Feeder) Committed(records []board.Record) {
	for i := range records {
		for _, e := range BoardEvents(&records[i]) {
			select {
			case f.room <- e:
			default:
				f.lost.Inc()
			}
		}
	}
}

// Run writes until ctx is done, and then what it still has, once.
func (f *Feeder) Run(ctx context.Context) {
	for {
		select {
		case e := <-f.room:
			f.write(ctx, f.more(e))
		case <-ctx.Done():
			for len(f.room) > 0 {
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				f.write(last, f.more(<-f.room))
				cancel()
			}
			return
		}
	}
}

// more is an event and those that wait behind it.
func (f *Feeder) more(e Event) []Event {
	events := []Event{e}
	for len(events) < feederBatch {
		select {
		case e := <-f.room:
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

func (f *Feeder) write(ctx context.Context, events []Event) {
	lost := 0
	var failure error
	if f.isFull(ctx) {
		lost, failure = len(events), ErrFull
		events = nil
	}
	for _, err := range f.client.Append(ctx, Adds(f.client, events)) {
		if err != nil {
			lost, failure = lost+1, err
		}
	}
	f.fed.Add(max(len(events)-lost, 0))
	if lost == 0 {
		return
	}
	f.lost.Add(lost)
	if now := time.Now(); now.Sub(f.warned) >= warnEvery {
		f.warned = now
		f.log.Warn("events are left to the reconciler", "events", lost, "error", failure)
	}
}

// ErrFull says that the queue has as many entries as it should have.
var ErrFull = errors.New("the queue of rewards is full: are its workers running?")

// isFull looks at the queue each second.
func (f *Feeder) isFull(ctx context.Context) bool {
	if now := time.Now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		if n, err := f.client.Queue(Name, "").Length(ctx); err == nil {
			f.full = n >= Room
		}
	}
	return f.full
}
