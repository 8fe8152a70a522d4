package worker

import (
	"fmt"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream"
	"github.com/millracehq/millrace/gateway/stream/redis"
)

// instruments are the worker's metrics; all times are in seconds.
type instruments struct {
	set           *metrics.Set
	entries       map[stream.Kind]*metrics.Counter // decoded, of all deliveries
	batch         *metrics.Histogram               // entries handled at once
	groups        *metrics.Histogram               // events of one call of a batch handler
	lag           *metrics.Histogram               // from the gateway's clock to our reading
	duplicates    *metrics.Counter
	claims        *metrics.Counter // entries taken over
	settled       *metrics.Counter // commits that found the entry committed already
	retries       *metrics.Counter
	dead          map[string]*metrics.Counter // by cause
	leaseLosses   *metrics.Counter
	takeOvers     *metrics.Counter // leases got that another worker has had
	undecodable   *metrics.Counter
	noHandler     *metrics.Counter
	handlerErrors *metrics.Counter
	batchErrors   *metrics.Counter // of batch handlers, whose events were handled again one by one
	panics        *metrics.Counter
	outages       *metrics.Counter

	// Atomic.
	leases  atomic.Int64
	waiting atomic.Int64 // entries behind a retry, the first included
	backlog backlog
}

// backlog is what the keeper has last measured of the partitions that this worker holds.
type backlog struct {
	pending, pendingMax, lag, lagMax, oldest, dead atomic.Int64 // oldest in ms
}

func (b *backlog) set(all []redis.Backlog) {
	var sum, most redis.Backlog
	for _, p := range all {
		sum.Pending += p.Pending
		sum.Lag += p.Lag
		sum.Dead += p.Dead
		most.Pending = max(most.Pending, p.Pending)
		most.Lag = max(most.Lag, p.Lag)
		most.Oldest = max(most.Oldest, p.Oldest)
	}
	b.pending.Store(sum.Pending)
	b.pendingMax.Store(most.Pending)
	b.lag.Store(sum.Lag)
	b.lagMax.Store(most.Lag)
	b.oldest.Store(most.Oldest.Milliseconds())
	b.dead.Store(sum.Dead)
}

func newInstruments(set *metrics.Set, group string) *instruments {
	failures := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("millrace_backend_errors_total{reason=%q}", reason))
	}
	m := &instruments{
		set:           set,
		entries:       make(map[stream.Kind]*metrics.Counter),
		batch:         set.GetOrCreateHistogram("millrace_backend_batch_entries"),
		groups:        set.GetOrCreateHistogram("millrace_backend_group_entries"),
		lag:           set.GetOrCreateHistogram("millrace_backend_lag_seconds"),
		duplicates:    set.GetOrCreateCounter("millrace_backend_duplicates_total"),
		claims:        set.GetOrCreateCounter("millrace_backend_claims_total"),
		settled:       set.GetOrCreateCounter("millrace_backend_settled_elsewhere_total"),
		retries:       set.GetOrCreateCounter("millrace_backend_retries_total"),
		dead:          make(map[string]*metrics.Counter),
		leaseLosses:   set.GetOrCreateCounter("millrace_backend_lease_losses_total"),
		takeOvers:     set.GetOrCreateCounter("millrace_backend_take_overs_total"),
		undecodable:   failures("undecodable"),
		noHandler:     failures("no_handler"),
		handlerErrors: failures("handler"),
		batchErrors:   failures("batch"),
		panics:        failures("panic"),
		outages:       set.GetOrCreateCounter("millrace_backend_redis_outages_total"),
	}
	for _, k := range []stream.Kind{
		stream.KindPub, stream.KindReq, stream.KindOpen, stream.KindClose, stream.KindSub, stream.KindUnsub, stream.KindAuth,
	} {
		m.entries[k] = set.GetOrCreateCounter(fmt.Sprintf("millrace_backend_entries_total{kind=%q}", k))
	}
	for _, cause := range []string{causeUndecodable, causePermanent, causeAttempts, causeKilled} {
		m.dead[cause] = set.GetOrCreateCounter(fmt.Sprintf("millrace_backend_dead_letters_total{reason=%q}", cause))
	}
	gauge := func(name string, v *atomic.Int64, unit float64) {
		set.GetOrCreateGauge(fmt.Sprintf("millrace_backend_%s{group=%q}", name, group), func() float64 { return float64(v.Load()) * unit })
	}
	gauge("leases", &m.leases, 1)
	gauge("waiting_entries", &m.waiting, 1)
	gauge("pending_entries", &m.backlog.pending, 1)
	gauge("pending_entries_max", &m.backlog.pendingMax, 1)
	gauge("lag_entries", &m.backlog.lag, 1)
	gauge("lag_entries_max", &m.backlog.lagMax, 1)
	gauge("oldest_entry_seconds", &m.backlog.oldest, 1e-3)
	gauge("dead_letters", &m.backlog.dead, 1)
	return m
}

// handler is the histogram of the time that a namespace's handler takes.
func (m *instruments) handler(namespace string) *metrics.Histogram {
	return m.set.GetOrCreateHistogram(fmt.Sprintf("millrace_backend_handler_seconds{namespace=%q}", namespace))
}
