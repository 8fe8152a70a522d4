package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

const maxRetryAfter = 10 * time.Second

// Causes of death: labels of the metric.
const (
	causeUndecodable = "undecodable"
	causePermanent   = "permanent"
	causeAttempts    = "attempts"
	causeKilled      = "killed"
)

// errKilled is why an entry dies that no handler has returned from.
var errKilled = errors.New("the processes that handled it have died, or lost their lease")

// permanentError is what [Permanent] marks.
type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

// Permanent marks an error of a handler that the next attempt would meet as well: the entry becomes a dead letter at once.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// failed has an entry wait for its next attempt, or gives it up.
func (s *shard) failed(ctx context.Context, it *item, err error) {
	if _, permanent := errors.AsType[permanentError](err); permanent {
		s.bury(it, causePermanent, err)
		return
	}
	if it.d.Attempt >= int64(s.w.cfg.MaxAttempts) {
		s.bury(it, causeAttempts, err)
		return
	}
	if it.d.Attempt > 1 { // Redis knows of the first
		touched := []redis.Touched{{ID: it.d.ID, Attempt: it.d.Attempt}}
		if err := s.w.group.Touch(ctx, it.p.Lease, touched); err != nil { // a count that is too low does less harm than waiting
			s.w.cfg.Logger.Debug("an attempt is not written down", "entry", it.d.ID, "error", err)
		}
	}
	wait := retryAfter(s.w.cfg.RetryAfter, it.d.Attempt)
	s.w.logFailure("handler failed, the entry will be handled again", it.e, err, "attempt", it.d.Attempt, "after", wait)
	it.d.Attempt++
	it.p.enqueue(*it)
	it.p.lines[it.line()].due = time.Now().Add(wait)
}

// retryAfter is first after the first attempt and twice as long after each one more, less up to a half by chance.
func retryAfter(first time.Duration, attempt int64) time.Duration {
	d := first
	for ; attempt > 1 && d < maxRetryAfter; attempt-- {
		d *= 2
	}
	d = min(d, maxRetryAfter)
	return d - rand.N(d/2+1)
}

// retry handles the entries whose wait is over, and those that have waited behind them if they succeed.
func (s *shard) retry(work context.Context) error {
	now := time.Now()
	for _, p := range s.parts {
		for key, l := range p.lines {
			if l.due.After(now) || p.over() {
				continue
			}
			items := p.dequeue(key)
			s.w.metrics.retries.Inc()
			if err := s.handle(work, items[:1]); err != nil {
				return err
			}
			if p.lines[key] == nil {
				if err := s.handle(work, items[1:]); err != nil {
					return err
				}
				continue
			}
			for _, it := range items[1:] {
				p.enqueue(it)
			}
		}
	}
	return nil
}

// bury makes a dead letter of an entry. Who waits for an answer to it gets one.
func (s *shard) bury(it *item, cause string, err error) {
	o := redis.Outcome{Ref: it.d.Ref, Dead: &redis.Death{
		Reason: redis.Reason(err), Attempts: min(it.d.Attempt, int64(s.w.cfg.MaxAttempts)), At: time.Now(), Most: s.w.cfg.DeadLetters,
	}}
	args := []any{"reason", o.Dead.Reason, "cause", cause, "attempts", o.Dead.Attempts, "partition", it.d.Partition, "entry", it.d.ID}
	if it.e != nil {
		it.e.fail(codeFailed, "backend failed")
		o.Answers = it.e.answers
		args = append(args, "kind", it.e.Kind, "channel", it.e.Channel, "user", it.e.User)
	}
	s.w.metrics.dead[cause].Inc()
	s.w.cfg.Logger.Error("gave up an entry, it is a dead letter now", args...)
	it.p.outcomes = append(it.p.outcomes, o)
}
