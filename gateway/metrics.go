package gateway

import (
	"fmt"

	"github.com/millracehq/millrace/gateway/internal/conn"
	"github.com/millracehq/millrace/gateway/internal/hub"
	"github.com/millracehq/millrace/gateway/internal/limit"
	"github.com/millracehq/millrace/gateway/internal/relay"
	"github.com/millracehq/millrace/gateway/internal/route"
	"github.com/millracehq/millrace/gateway/protocol"
	"github.com/millracehq/millrace/internal/auth"
	"github.com/millracehq/millrace/internal/loop"
)

// registerMetrics names everything that /metrics shows of the gateway (docs/OPERATIONS.md lists it). All are read when
// they are asked for, from numbers that the loops copy once a second: but for the stages, no metric costs the hot path anything.
func (g *Gateway) registerMetrics() {
	g.sumRouters("millrace_connections", func(s *route.Stats) float64 { return float64(s.Connections) })
	g.sumRouters("millrace_connections_compressed", func(s *route.Stats) float64 { return float64(s.Deflating) })
	g.sumRouters("millrace_channels", func(s *route.Stats) float64 { return float64(s.Channels) })
	g.sumRouters("millrace_subscriptions", func(s *route.Stats) float64 { return float64(s.Subscriptions) })
	g.sumRouters("millrace_connections_paused", func(s *route.Stats) float64 { return float64(s.Paused) })
	g.sumRouters("millrace_requests_waiting", func(s *route.Stats) float64 { return float64(s.Requests) })
	g.sumRouters("millrace_publications_total", func(s *route.Stats) float64 { return float64(s.Published) })
	g.sumRouters("millrace_deliveries_total", func(s *route.Stats) float64 { return float64(s.Delivered) })
	g.sumRouters("millrace_replayed_total", func(s *route.Stats) float64 { return float64(s.Replayed) })
	g.sumRouters("millrace_subscriptions_behind", func(s *route.Stats) float64 { return float64(s.Behind) })
	g.sumRouters("millrace_window_bytes", func(s *route.Stats) float64 { return float64(s.WindowBytes) })
	for why := range hub.GapReasons {
		g.sumRouters(fmt.Sprintf("millrace_gaps_total{reason=%q}", why), func(s *route.Stats) float64 { return float64(s.Gaps[why]) })
	}
	g.sumRouters("millrace_answers_late_total", func(s *route.Stats) float64 { return float64(s.LateAnswers) })
	for why := range auth.Reasons {
		g.sumRouters(fmt.Sprintf("millrace_credentials_refused_total{reason=%q}", why), func(s *route.Stats) float64 { return float64(s.Refused[why]) })
	}
	for l := limit.None + 1; l < limit.Limits; l++ {
		g.sumRouters(fmt.Sprintf("millrace_limited_total{limit=%q}", l), func(s *route.Stats) float64 { return float64(s.Limited[l]) })
	}
	for i, result := range route.AskResults {
		g.sumRouters(fmt.Sprintf("millrace_permissions_asked_total{result=%q}", result), func(s *route.Stats) float64 { return float64(s.Asked[i]) })
	}
	g.sumRouters("millrace_permissions_waiting", func(s *route.Stats) float64 { return float64(s.Asking) })
	g.sumRouters("millrace_permissions_kept", func(s *route.Stats) float64 { return float64(s.Grants) })
	g.sumRouters("millrace_kicked_total", func(s *route.Stats) float64 { return float64(s.Kicked) })
	g.sumRouters("millrace_revoked_total", func(s *route.Stats) float64 { return float64(s.Revoked) })
	g.sumRouters("millrace_notices_lost_total", func(s *route.Stats) float64 { return float64(s.Untold) })
	g.ofKeys("millrace_keys", func(s auth.SourceStats) float64 { return float64(s.Keys) })
	g.ofKeys("millrace_keys_age_seconds", func(s auth.SourceStats) float64 { return s.Age.Seconds() })
	g.ofKeys("millrace_keys_fetched_total", func(s auth.SourceStats) float64 { return float64(s.Fetched) })
	g.ofKeys("millrace_keys_fetch_failed_total", func(s auth.SourceStats) float64 { return float64(s.Failed) })
	g.ofKeys("millrace_keys_unknown_total", func(s auth.SourceStats) float64 { return float64(s.Unknown) })
	for verb := protocol.VerbNone; verb <= protocol.VerbPing; verb++ {
		name := verb.String()
		if name == "" {
			name = "unknown"
		}
		g.sumRouters(fmt.Sprintf("millrace_commands_total{verb=%q}", name), func(s *route.Stats) float64 { return float64(s.Commands[verb]) })
	}
	for _, code := range []protocol.Code{
		protocol.CodeMalformed, protocol.CodeUnauthorized, protocol.CodeForbidden, protocol.CodeNotFound, protocol.CodeTimeout,
		protocol.CodeConflict, protocol.CodeTooLarge, protocol.CodeTooFast, protocol.CodeFailed, protocol.CodeUnavailable,
	} {
		g.sumRouters(fmt.Sprintf("millrace_errors_total{code=\"%d\"}", code), func(s *route.Stats) float64 { return float64(s.Errors[code]) })
	}
	for why := range conn.Reasons {
		g.sumRouters(fmt.Sprintf("millrace_connections_ended_total{reason=%q}", conn.ReasonName(loop.Reason(why))), func(s *route.Stats) float64 { return float64(s.Ended[why]) })
	}

	g.sumLoops("millrace_accepted_total", func(s loop.Stats) float64 { return float64(s.Accepted) })
	g.sumLoops("millrace_accept_refused_total", func(s loop.Stats) float64 { return float64(s.Refused) })
	g.sumLoops("millrace_panics_total", func(s loop.Stats) float64 { return float64(s.Panics) })
	g.sumLoops("millrace_received_bytes_total", func(s loop.Stats) float64 { return float64(s.BytesIn) })
	g.sumLoops("millrace_sent_bytes_total", func(s loop.Stats) float64 { return float64(s.BytesOut) })
	g.sumLoops("millrace_reads_total", func(s loop.Stats) float64 { return float64(s.Reads) })
	g.sumLoops("millrace_sends_total", func(s loop.Stats) float64 { return float64(s.Sends) })
	g.sumLoops("millrace_loop_turns_total", func(s loop.Stats) float64 { return float64(s.Turns) })
	g.sumLoops("millrace_loop_inbox_tasks", func(s loop.Stats) float64 { return float64(s.Inbox) })
	g.sumLoops("millrace_unread_bytes", func(s loop.Stats) float64 { return float64(s.Unread) })
	g.sumLoops("millrace_proxy_refused_total", func(s loop.Stats) float64 { return float64(s.ProxyRefused) })
	g.registerTLSMetrics()
	g.gauge("millrace_outbox_bytes", func() float64 { return float64(g.budget.Used()) })

	g.ofRelay("millrace_stream_appended_total", func(s relay.Stats) float64 { return float64(s.Appended) })
	g.ofRelay("millrace_stream_failed_total", func(s relay.Stats) float64 { return float64(s.Failed) })
	g.ofRelay("millrace_stream_append_batches_total", func(s relay.Stats) float64 { return float64(s.Batches) })
	g.ofRelay("millrace_stream_entries_total", func(s relay.Stats) float64 { return float64(s.Entries) })
	g.ofRelay("millrace_stream_entries_bad_total", func(s relay.Stats) float64 { return float64(s.Bad) })
	g.ofRelay("millrace_stream_reads_total", func(s relay.Stats) float64 { return float64(s.Reads) })
	g.ofRelay("millrace_stream_outages_total", func(s relay.Stats) float64 { return float64(s.Outages) })
	g.ofRelay("millrace_stream_trimmed_total", func(s relay.Stats) float64 { return float64(s.Trimmed) })
	g.ofRelay("millrace_stream_history_trimmed_total", func(s relay.Stats) float64 { return float64(s.TrimmedOut) })
	g.ofRelay("millrace_stream_history_reads_total", func(s relay.Stats) float64 { return float64(s.Older) })
	g.ofRelay("millrace_stream_lost_total", func(s relay.Stats) float64 { return float64(s.Lost) })
	g.ofRelay("millrace_stream_backlog_entries", func(s relay.Stats) float64 { return float64(s.Backlog) })
	g.ofRelay("millrace_canary_age_seconds", func(s relay.Stats) float64 { return s.Canary.Seconds() })
	g.ofRelay("millrace_compressions_total", func(s relay.Stats) float64 { return float64(s.Packed) })
	g.ofRelay("millrace_compression_in_bytes_total", func(s relay.Stats) float64 { return float64(s.PackedFrom) })
	g.ofRelay("millrace_compression_out_bytes_total", func(s relay.Stats) float64 { return float64(s.PackedTo) })
	g.ofRelay("millrace_ring_entries", func(s relay.Stats) float64 { return float64(s.Ring) })
	g.ofRelay("millrace_ring_bytes", func(s relay.Stats) float64 { return float64(s.RingBytes) })
	g.ofRelay("millrace_unswept_bytes", func(s relay.Stats) float64 { return float64(s.Unswept) })
	g.flag("millrace_ready", func() bool { return g.Ready() == nil })
	g.flag("millrace_draining", g.stopping.Load)
	g.flag("millrace_streams_lost", g.lost.Load)
	g.gauge("millrace_gateways", func() float64 { return float64(1 + g.fleet.seen.Load().gateways) })
	g.gauge("millrace_gateways_accept_rate", func() float64 { return float64(g.fleet.seen.Load().rate) })
}

// stageBounds are the upper bounds of the buckets of stages, in seconds.
var stageBounds = []float64{
	1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10,
}

// stages are the histograms of the way through the gateway: all that is counted for each command, entry and publication.
func (g *Gateway) stages() relay.Stages {
	of := func(name string) relay.Observer { return g.set.NewPrometheusHistogramExt(name, stageBounds) }
	return relay.Stages{
		Append: of("millrace_stream_append_seconds"), Lag: of("millrace_stream_lag_seconds"), Delivery: of("millrace_delivery_seconds"),
	}
}

func (g *Gateway) flag(name string, on func() bool) {
	g.gauge(name, func() float64 {
		if on() {
			return 1
		}
		return 0
	})
}

func (g *Gateway) gauge(name string, f func() float64) { g.set.NewGauge(name, f) }

func (g *Gateway) sumRouters(name string, of func(*route.Stats) float64) {
	g.gauge(name, func() (sum float64) {
		for _, r := range g.routers {
			sum += of(r.Stats())
		}
		return sum
	})
}

func (g *Gateway) sumLoops(name string, of func(loop.Stats) float64) {
	g.gauge(name, func() (sum float64) {
		for _, l := range g.loops {
			sum += of(l.Stats())
		}
		return sum
	})
}

// ofKeys is about the key set, if there is one.
func (g *Gateway) ofKeys(name string, of func(auth.SourceStats) float64) {
	g.gauge(name, func() float64 {
		if v := g.verifier.Load(); v != nil {
			return of(v.Stats())
		}
		return 0
	})
}

func (g *Gateway) ofRelay(name string, of func(relay.Stats) float64) {
	g.gauge(name, func() float64 { return of(g.relay.Stats()) })
}
