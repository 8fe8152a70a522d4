package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
)

const (
	interval = time.Second
	timeout  = 5 * time.Second // of one reading
	stale    = 3 * time.Second // a reading that old is none any more
)

// source is one target.
type source interface {
	// read gives what the target says now: by name of the metric, as it is or as a counter; see reading.
	read(ctx context.Context) (readings, error)
	close()
}

// readings are what one target says: sums of gauges and counters by entry, and histograms.
type readings struct {
	values  map[string]float64           // by entry; of rates the counter
	buckets map[string]map[float64]int64 // by entry: values by the upper end of their bucket in seconds, since the target began
}

// Watch reads targets until Close.
type Watch struct {
	// Immutable after Start.
	wants  []want
	names  []string // of sources
	parts  []string
	logger *slog.Logger
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex // guards all below
	set    metric.Set // what came since the last Take
	last   map[key]value
	unread *metric.Tagged
}

type key struct {
	entry  string
	source int
}

type value struct {
	v     float64
	at    time.Time
	fresh bool // not taken yet
}

// Start reads each target once, and then each second. A target that does not answer at all is an error.
func Start(ctx context.Context, c Config, logger *slog.Logger) (*Watch, error) {
	w := &Watch{parts: c.parts(), logger: logger, last: make(map[key]value)}
	w.set, w.wants = c.set()
	w.unread = w.set[len(w.set)-1].Metric.(*metric.Tagged)
	var sources []source
	var faults []error
	add := func(text string, open func(rest string) (source, string, error)) {
		name, rest := named(text)
		s, own, err := open(rest)
		if err != nil {
			faults = append(faults, err)
			return
		}
		if name == "" {
			name = own
		}
		sources, w.names = append(sources, s), append(w.names, name)
	}
	for _, m := range c.Metrics {
		add(m, func(rest string) (source, string, error) { return openMetrics(rest, w.wants, len(c.PIDs) > 0) })
	}
	for _, p := range c.PIDs {
		add(p, openProcess)
	}
	for _, r := range c.Redis {
		add(r, openRedis)
	}
	first := make([]readings, len(sources))
	for i, s := range sources {
		var err error
		ctx, stop := context.WithTimeout(ctx, timeout)
		if first[i], err = s.read(ctx); err != nil {
			faults = append(faults, fmt.Errorf("target %s: %w", w.names[i], err))
		}
		stop()
	}
	if len(faults) > 0 {
		for _, s := range sources {
			s.close()
		}
		return nil, errors.Join(faults...)
	}
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx)) // an interrupted run is still measured to its end
	for i, s := range sources {
		w.done.Go(func() { w.follow(ctx, i, s, first[i]) })
	}
	return w, nil
}

// Close ends the watching and waits for it.
func (w *Watch) Close() {
	w.cancel()
	w.done.Wait()
}

// follow reads one target each second.
func (w *Watch) follow(ctx context.Context, i int, s source, before readings) {
	defer s.close()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	at := time.Now()
	told := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limited, stop := context.WithTimeout(ctx, timeout)
		now, err := s.read(limited)
		stop()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if !told {
				w.logger.Warn("target cannot be read", "target", w.names[i], "error", err)
			}
			told = true
			w.failed(i)
			continue
		}
		told = false
		then := time.Now()
		w.enter(i, before, now, then.Sub(at), then)
		before, at = now, then
	}
}

func (w *Watch) failed(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread.Add(w.names[i], 1)
}

// enter keeps what a target said, and how much that is more than before.
func (w *Watch) enter(i int, before, now readings, span time.Duration, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, x := range w.wants {
		if x.mode == histogram {
			w.enterBuckets(w.set[n].Metric.(*metric.Trend), before.buckets[x.entry], now.buckets[x.entry])
			continue
		}
		v, ok := now.values[x.entry]
		if x.mode == rate && ok {
			old, known := before.values[x.entry]
			ok = known && v >= old && span > 0
			v = (v - old) / span.Seconds()
		}
		if ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			w.last[key{x.entry, i}] = value{v, at, true}
		}
	}
}

// enterBuckets records the growth of each bucket; none when the histogram began anew.
func (w *Watch) enterBuckets(t *metric.Trend, before, now map[float64]int64) {
	if before == nil {
		return // the first time that there is one
	}
	for top, n := range now {
		if n < before[top] {
			return
		}
	}
	for top, n := range now {
		if more := n - before[top]; more > 0 {
			t.RecordMany(int64(min(top, math.MaxInt64/2e9)*1e9), more)
		}
	}
}

// Take hands over what has come since the last Take, in the order of the configuration's Set. The caller releases it with the snapshot
// that it becomes part of.
func (w *Watch) Take() []metric.Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for n, x := range w.wants {
		if g, ok := w.set[n].Metric.(*metric.Gauge); ok {
			if v, ok := w.total(x.entry, now); ok {
				g.Set(v)
			}
		}
	}
	for p, part := range w.parts {
		for n, x := range w.wants[:2] {
			for i, name := range w.names { // a page and a process may have the same name; one of them has this
				if v := w.last[key{x.entry, i}]; name == part && v.fresh {
					w.set[len(w.wants)+2*p+n].Metric.(*metric.Gauge).Set(v.v)
				}
			}
		}
	}
	for k, v := range w.last {
		v.fresh = false
		w.last[k] = v
	}
	return w.set.Take().Samples
}

// total adds up what all targets that have this metric say. There is none when one of them has fallen silent, or when nothing is new.
func (w *Watch) total(entry string, now time.Time) (sum float64, ok bool) {
	for i := range w.names {
		v, has := w.last[key{entry, i}]
		if !has {
			continue
		}
		if now.Sub(v.at) > stale {
			return 0, false
		}
		sum += v.v
		ok = ok || v.fresh
	}
	return sum, ok
}
