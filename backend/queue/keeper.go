package queue

import (
	"context"
	"time"
)

const (
	wakeEvery  = 250 * time.Millisecond
	stateEvery = time.Second
	trimEvery  = 5 * time.Second
	sweepEvery = 10 * time.Minute
	forgetIdle = time.Hour // a consumer that has nothing and was away for so long is forgotten
)

// keep wakes what is due, measures the queue, scales, and trims, until ctx is done. What every worker may do at the same time they
// all do; trimming is one's at a time.
func (w *Worker) keep(ctx context.Context) {
	tick := time.NewTicker(wakeEvery)
	defer tick.Stop()
	s := newScale(&w.cfg)
	var state, trim, sweep time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := w.wake(ctx)
		now := time.Now()
		if err == nil && now.Sub(state) >= stateEvery {
			state = now
			err = w.look(ctx, &s)
		}
		if err == nil && now.Sub(trim) >= trimEvery {
			trim = now
			err = w.trim(ctx)
		}
		if err == nil && now.Sub(sweep) >= sweepEvery {
			sweep = now
			_, err = w.keeper.Sweep(ctx, forgetIdle)
		}
		if err != nil && ctx.Err() == nil {
			w.cfg.Logger.Debug("the queue is not looked after", "error", err) // the hands find out, and report it
		}
	}
}

func (w *Worker) wake(ctx context.Context) error {
	_, err := w.keeper.Wake(ctx)
	return err
}

// look measures, and uses as many hands and as large batches as are needed.
func (w *Worker) look(ctx context.Context, s *scale) error {
	state, err := w.keeper.State(ctx)
	if err != nil {
		return err
	}
	w.metrics.state(state)
	before := *s
	s.look(state.Lag, time.Duration(w.slowest.Swap(0)))
	if s.hands != before.hands || s.batch != before.batch {
		w.cfg.Logger.Debug("scaled", "hands", s.hands, "batch", s.batch, "lag", state.Lag)
	}
	w.use(s)
	return nil
}

func (w *Worker) trim(ctx context.Context) error {
	mine, err := w.keeper.Turn(ctx, "trim", 2*trimEvery)
	if err != nil || !mine {
		return err
	}
	n, err := w.keeper.Trim(ctx)
	w.metrics.trimmed.Add(int(n))
	return err
}
