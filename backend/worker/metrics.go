package worker

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/millracehq/millrace/gateway/stream"
)

// instruments are the worker's metrics; all times are in seconds.
type instruments struct {
	set           *metrics.Set
	entries       map[stream.Kind]*metrics.Counter // decoded, of all deliveries
	batch         *metrics.Histogram               // entries committed at once
	lag           *metrics.Histogram               // from the gateway's clock to our reading
	duplicates    *metrics.Counter
	claims        *metrics.Counter // entries taken over
	settled       *metrics.Counter // commits that found the entry committed already
	undecodable   *metrics.Counter
	noHandler     *metrics.Counter
	handlerErrors *metrics.Counter
	panics        *metrics.Counter
	outages       *metrics.Counter
}

func newInstruments(set *metrics.Set) *instruments {
	failures := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("millrace_backend_errors_total{reason=%q}", reason))
	}
	m := &instruments{
		set:           set,
		entries:       make(map[stream.Kind]*metrics.Counter),
		batch:         set.GetOrCreateHistogram("millrace_backend_batch_entries"),
		lag:           set.GetOrCreateHistogram("millrace_backend_lag_seconds"),
		duplicates:    set.GetOrCreateCounter("millrace_backend_duplicates_total"),
		claims:        set.GetOrCreateCounter("millrace_backend_claims_total"),
		settled:       set.GetOrCreateCounter("millrace_backend_settled_elsewhere_total"),
		undecodable:   failures("undecodable"),
		noHandler:     failures("no_handler"),
		handlerErrors: failures("handler"),
		panics:        failures("panic"),
		outages:       set.GetOrCreateCounter("millrace_backend_redis_outages_total"),
	}
	for _, k := range []stream.Kind{
		stream.KindPub, stream.KindReq, stream.KindOpen, stream.KindClose, stream.KindSub, stream.KindUnsub, stream.KindAuth,
	} {
		m.entries[k] = set.GetOrCreateCounter(fmt.Sprintf("millrace_backend_entries_total{kind=%q}", k))
	}
	return m
}

// handler is the histogram of the time that a namespace's handler takes.
func (m *instruments) handler(namespace string) *metrics.Histogram {
	return m.set.GetOrCreateHistogram(fmt.Sprintf("millrace_backend_handler_seconds{namespace=%q}", namespace))
}
