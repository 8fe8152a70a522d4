package queue

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream/redis"
)

// Causes of death: labels of the metric.
const (
	causeUndecodable = "undecodable"
	causeAttempts    = "attempts"
	causeKilled      = "killed"
)

// instruments are the worker's metrics; all times are in seconds.
type instruments struct {
	counted    *metrics.Counter
	duplicates *metrics.Counter
	batch      *metrics.Histogram
	commit     *metrics.Histogram
	toLedger   *metrics.Histogram // from when an event happened
	toPush     *metrics.Histogram
	pushes     *metrics.Counter
	claims     *metrics.Counter
	retries    *metrics.Counter // of events, alone
	transient  *metrics.Counter // failures of a batch that will pass
	bisections *metrics.Counter
	dead       map[string]*metrics.Counter
	outages    *metrics.Counter // of Redis
	readded    *metrics.Counter // by the reconciler
	trimmed    *metrics.Counter

	// Atomic.
	hands, batchNow                    atomic.Int64
	lag, pending, waiting, deadLetters atomic.Int64
	oldest                             atomic.Uint64 // bits of seconds
}

func newInstruments(set *metrics.Set) *instruments {
	m := &instruments{
		counted:    set.GetOrCreateCounter("millrace_rewards_events_total"),
		duplicates: set.GetOrCreateCounter("millrace_rewards_duplicates_total"),
		batch:      set.GetOrCreateHistogram("millrace_rewards_batch_events"),
		commit:     set.GetOrCreateHistogram("millrace_rewards_commit_seconds"),
		toLedger:   set.GetOrCreateHistogram("millrace_rewards_ledger_latency_seconds"),
		toPush:     set.GetOrCreateHistogram("millrace_rewards_push_latency_seconds"),
		pushes:     set.GetOrCreateCounter("millrace_rewards_pushes_total"),
		claims:     set.GetOrCreateCounter("millrace_rewards_claims_total"),
		retries:    set.GetOrCreateCounter("millrace_rewards_retries_total"),
		transient:  set.GetOrCreateCounter("millrace_rewards_batch_failures_total"),
		bisections: set.GetOrCreateCounter("millrace_rewards_bisections_total"),
		dead:       make(map[string]*metrics.Counter),
		outages:    set.GetOrCreateCounter("millrace_rewards_redis_errors_total"),
		readded:    set.GetOrCreateCounter("millrace_rewards_readded_total"),
		trimmed:    set.GetOrCreateCounter("millrace_rewards_trimmed_total"),
	}
	for _, cause := range []string{causeUndecodable, causeAttempts, causeKilled} {
		m.dead[cause] = set.GetOrCreateCounter(fmt.Sprintf("millrace_rewards_dead_letters_total{reason=%q}", cause))
	}
	for name, v := range map[string]*atomic.Int64{
		"hands": &m.hands, "batch_limit": &m.batchNow, "lag_entries": &m.lag, "pending_entries": &m.pending,
		"waiting_entries": &m.waiting, "dead_letters": &m.deadLetters,
	} {
		set.GetOrCreateGauge("millrace_rewards_"+name, func() float64 { return float64(v.Load()) })
	}
	set.GetOrCreateGauge("millrace_rewards_oldest_entry_seconds", func() float64 { return math.Float64frombits(m.oldest.Load()) })
	return m
}

func (m *instruments) state(s redis.QueueState) {
	m.lag.Store(s.Lag)
	m.pending.Store(s.Pending)
	m.waiting.Store(s.Waiting)
	m.deadLetters.Store(s.Dead)
	m.oldest.Store(math.Float64bits(s.Oldest.Seconds()))
}
