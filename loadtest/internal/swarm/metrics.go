package swarm

import (
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/unit"
)

// Metrics is all that a run measures. Unless its help says otherwise, a metric counts the publications that were due in the
// steady phase, and what came of them.
type Metrics struct {
	Latency, Service, SendLag, LastSubscriber *metric.Trend
	Ack, Request                              *metric.Trend
	Connecting, Reconnect, CaughtUp           *metric.Trend
	Session, Ping, Iteration                  *metric.Trend
	ChurnBack, ChurnRenewed, Poll             *metric.Trend

	Delivery                                        metric.Rate
	Expected, Received, Lost, Duplicate             metric.Counter
	Reordered, Announced, Unsure                    metric.Counter
	Misrouted, Damaged, Foreign                     metric.Counter
	Published, Acked, Unacked, Failed, Resent       metric.Counter
	RequestsDue, RequestsAnswered, RequestsFailed   metric.Counter
	Gaps, BytesSent, BytesReceived                  metric.Counter
	Errs, Closed, ConnectFailed, PollsFailed        *metric.Tagged
	StoppedMsgs, StoppedFirst, StoppedClosed        *metric.Tagged
	Cut                                             *metric.Tagged
	StoppedGaps, ChurnLeft, ChurnFailed             metric.Counter
	Connections                                     metric.Gauge
	VUs, VUsMax                                     metric.Gauge
	Iterations, Dropped                             *metric.Tagged
	Checks                                          *metric.Checks
	Sessions, MsgsSent, MsgsReceived                metric.Counter
	tags                                            *metric.Tags
	GeneratorCPU, GeneratorDelay, GeneratorResident metric.Gauge
}

// Phases of load, as labels of trends.
const (
	labelWarmup uint8 = iota + 1
	labelSteady
)

// NewMetrics makes all metrics, empty. Parts of trends can be named by the loads, and by their tags.
func NewMetrics(loads ...metric.ScenarioTags) *Metrics {
	return &Metrics{
		Connections: metric.Gauge{Sums: true}, GeneratorResident: metric.Gauge{Sums: true}, VUs: metric.Gauge{Sums: true}, VUsMax: metric.Gauge{Sums: true},
		tags:    &metric.Tags{Phases: []string{PhaseWarmup.String(), PhaseSteady.String()}, Scenarios: loads},
		Session: metric.NewTrend(), Ping: metric.NewTrend(), Iteration: metric.NewTrend(),
		Iterations: metric.NewTagged(metric.TagScenario), Dropped: metric.NewTagged(metric.TagScenario), Checks: metric.NewChecks(),
		Latency: metric.NewTrend(), Service: metric.NewTrend(), SendLag: metric.NewTrend(), LastSubscriber: metric.NewTrend(),
		Ack: metric.NewTrend(), Request: metric.NewTrend(), Connecting: metric.NewTrend(), Reconnect: metric.NewTrend(), CaughtUp: metric.NewTrend(),
		ChurnBack: metric.NewTrend(), ChurnRenewed: metric.NewTrend(), Poll: metric.NewTrend(), Cut: metric.NewTagged("code"),
		Errs: metric.NewTagged("code"), Closed: metric.NewTagged("code"), ConnectFailed: metric.NewTagged("reason"), PollsFailed: metric.NewTagged("status"),
		StoppedMsgs: metric.NewTagged("what"), StoppedFirst: metric.NewTagged("is"), StoppedClosed: metric.NewTagged("code"),
	}
}

// Groups of the summary, in its order.
const (
	GroupChecks    = "CHECKS"
	GroupDelivery  = "DELIVERY"
	GroupPublish   = "PUBLISH"
	GroupRequest   = "REQUEST"
	GroupExecution = "EXECUTION"
	GroupWebSocket = "WEBSOCKET"
	GroupStopped   = "STOPPED READERS"
	GroupChurn     = "CHURN"
	GroupPolling   = "POLLING"
	GroupNetwork   = "NETWORK"
	GroupGenerator = "GENERATOR"
)

// Set lists the metrics under their names.
func (m *Metrics) Set() metric.Set {
	expected, received := m.Expected.Count, m.Received.Count
	return metric.Set{
		{Name: "checks", Group: GroupChecks, Metric: m.Checks, Help: "share of checks that held"},

		{Name: "delivery_ratio", Group: GroupDelivery, Metric: &m.Delivery, Late: true, Help: "share of msgs_expected that arrived"},
		{Name: "msg_latency", Group: GroupDelivery, Metric: m.Latency, Tags: m.tags, Help: "from when a publication was due to when a subscriber had it"},
		{Name: "msg_service", Group: GroupDelivery, Metric: m.Service, Tags: m.tags, Help: "from when a publication was sent to when a subscriber had it"},
		{Name: "msg_last_subscriber", Group: GroupDelivery, Metric: m.LastSubscriber, Tags: m.tags, Help: "from when a publication was due to when its last subscriber had it"},
		{Name: "msgs_expected", Group: GroupDelivery, Metric: &m.Expected, Late: true, Help: "acknowledged publications, each times its subscribers"},
		{Name: "msgs_received", Group: GroupDelivery, Metric: &m.Received, Help: "deliveries, not counting duplicates"},
		{Name: "msgs_lost", Group: GroupDelivery, Metric: &m.Lost, Late: true, Basis: expected, Help: "expected, not received before the end of the drain, and no gap was announced"},
		{Name: "msgs_duplicate", Group: GroupDelivery, Metric: &m.Duplicate, Basis: received, Help: "deliveries of what the subscriber already had"},
		{Name: "msgs_reordered", Group: GroupDelivery, Metric: &m.Reordered, Basis: received, Help: "deliveries after a later one of the same publisher and channel"},
		{Name: "msgs_announced", Group: GroupDelivery, Metric: &m.Announced, Late: true, Basis: expected, Help: "expected, not received, and announced as missing by a gap"},
		{Name: "msgs_unsure", Group: GroupDelivery, Metric: &m.Unsure, Late: true, Help: "not received, of publications that were never acknowledged: not lost"},
		{Name: "msgs_misrouted", Group: GroupDelivery, Metric: &m.Misrouted, Help: "deliveries on a channel that is not theirs, or to who is not subscribed; whole run"},
		{Name: "msgs_damaged", Group: GroupDelivery, Metric: &m.Damaged, Help: "deliveries whose body is not what was published, and unreadable frames; whole run"},
		{Name: "msgs_foreign", Group: GroupDelivery, Metric: &m.Foreign, Help: "deliveries that are not of this run; whole run"},
		{Name: "gaps", Group: GroupDelivery, Metric: &m.Gaps, Help: "gap pushes; whole run"},

		{Name: "pub_ack", Group: GroupPublish, Metric: m.Ack, Tags: m.tags, Help: "from when a publication was sent to its ok"},
		{Name: "pubs_sent", Group: GroupPublish, Metric: &m.Published, Help: "publications sent, not counting repetitions"},
		{Name: "pubs_acked", Group: GroupPublish, Metric: &m.Acked, Help: "publications answered by ok"},
		{Name: "pubs_failed", Group: GroupPublish, Metric: &m.Failed, Help: "publications refused, or not sent for want of a connection"},
		{Name: "pubs_unacked", Group: GroupPublish, Metric: &m.Unacked, Late: true, Help: "publications that were sent and never answered"},
		{Name: "pubs_resent", Group: GroupPublish, Metric: &m.Resent, Help: "repetitions after an error or a new connection; whole run"},

		{Name: "req_latency", Group: GroupRequest, Metric: m.Request, Tags: m.tags, Help: "from when a request was due to its res"},
		{Name: "reqs_due", Group: GroupRequest, Metric: &m.RequestsDue, Help: "requests that were due"},
		{Name: "reqs_answered", Group: GroupRequest, Metric: &m.RequestsAnswered, Help: "requests answered by res"},
		{Name: "reqs_failed", Group: GroupRequest, Metric: &m.RequestsFailed, Late: true, Help: "requests answered by err, or not at all"},

		{Name: "dropped_iterations", Group: GroupExecution, Metric: m.Dropped, Tags: m.tags, Help: "iterations of arrival rates that were due when no virtual user was free, by scenario"},
		{Name: "iteration_duration", Group: GroupExecution, Metric: m.Iteration, Tags: m.tags, Help: "from when an iteration was due (arrival rates) or began to its end"},
		{Name: "iterations", Group: GroupExecution, Metric: m.Iterations, Tags: m.tags, Help: "iterations that came to their end, by scenario"},
		{Name: "vus", Group: GroupExecution, Metric: &m.VUs, Help: "virtual users at work, each second of the steady phase and when a scenario begins; without scenarios, connections that are subscribed"},
		{Name: "vus_max", Group: GroupExecution, Metric: &m.VUsMax, Help: "virtual users that there are, each second of the steady phase and when a scenario begins; without scenarios, connections asked for"},

		{Name: "ws_sessions", Group: GroupWebSocket, Metric: &m.Sessions, Help: "connects begun, those that failed too; whole run"},
		{Name: "ws_session_duration", Group: GroupWebSocket, Metric: m.Session, Tags: m.tags, Help: "from the dial of a connection to its end; whole run"},
		{Name: "ws_msgs_sent", Group: GroupWebSocket, Metric: &m.MsgsSent, Help: "frames sent in the steady phase, pings and closes too"},
		{Name: "ws_msgs_received", Group: GroupWebSocket, Metric: &m.MsgsReceived, Help: "messages received in the steady phase"},
		{Name: "ws_ping", Group: GroupWebSocket, Metric: m.Ping, Help: "from a ping to its pong"},
		{Name: "ws_connecting", Group: GroupWebSocket, Metric: m.Connecting, Tags: m.tags, Help: "from the dial to the end of the WebSocket handshake; whole run"},
		{Name: "ws_reconnect_duration", Group: GroupWebSocket, Metric: m.Reconnect, Help: "from the loss of a connection to all subscriptions being back; whole run"},
		{Name: "ws_cut", Group: GroupWebSocket, Metric: m.Cut, Help: "connections that the scenario cut off, or had the server end, by close code; reset: here; whole run"},
		{Name: "ws_caught_up", Group: GroupWebSocket, Metric: m.CaughtUp, Help: "from the cut to having all that was published before the subscriptions were back; whole run"},
		{Name: "ws_connect_failed", Group: GroupWebSocket, Metric: m.ConnectFailed, Help: "connects that did not come to a hello, by reason; whole run"},
		{Name: "ws_closed", Group: GroupWebSocket, Metric: m.Closed, Help: "connections that ended unasked, by close code; whole run"},
		{Name: "ws_connections", Group: GroupWebSocket, Metric: &m.Connections, Help: "clients that are connected and subscribed, each second of the steady phase"},
		{Name: "errs", Group: GroupWebSocket, Metric: m.Errs, Help: "err and revoke frames, by code; whole run"},

		{Name: "stopped_msgs", Group: GroupStopped, Metric: m.StoppedMsgs, Late: true, Help: "deliveries to clients that stop reading, by what they were: received, duplicate, reordered, lost, announced, unsure; whole run"},
		{Name: "stopped_gaps", Group: GroupStopped, Metric: &m.StoppedGaps, Help: "gap pushes to clients that stop reading; whole run"},
		{Name: "stopped_first", Group: GroupStopped, Metric: m.StoppedFirst, Help: "first publication behind a gap of clients that read again: older than the newest of its channel when they began to, newest, or later than all that others have"},
		{Name: "stopped_closed", Group: GroupStopped, Metric: m.StoppedClosed, Help: "connections of clients that stop reading that ended unasked, by close code; whole run"},

		{Name: "churn_left", Group: GroupChurn, Metric: &m.ChurnLeft, Help: "connections that their clients closed, to come back later"},
		{Name: "churn_back", Group: GroupChurn, Metric: m.ChurnBack, Help: "from when a client that left was due to come back to all its subscriptions being back; whole run"},
		{Name: "churn_renewed", Group: GroupChurn, Metric: m.ChurnRenewed, Help: "from the unsub of a subscription to the ok of its new sub; whole run"},
		{Name: "churn_failed", Group: GroupChurn, Metric: &m.ChurnFailed, Late: true, Basis: m.churned, Help: "clients that left and were not back, and subscriptions that were not renewed, at the end; whole run"},

		{Name: "poll_latency", Group: GroupPolling, Metric: m.Poll, Help: "from when a poll was due to its answer; whole run"},
		{Name: "polls_failed", Group: GroupPolling, Metric: m.PollsFailed, Help: "polls that were answered by something else than 200, by status; whole run"},

		{Name: "data_sent", Group: GroupNetwork, Metric: &m.BytesSent, Unit: unit.Bytes, Help: "bytes in the steady phase, WebSocket frames and all"},
		{Name: "data_received", Group: GroupNetwork, Metric: &m.BytesReceived, Unit: unit.Bytes, Help: "bytes in the steady phase, WebSocket frames and all"},

		{Name: "msg_send_lag", Group: GroupGenerator, Metric: m.SendLag, Tags: m.tags, Help: "how late this program sent, from when a publication was due"},
		{Name: "loadgen_cpu", Group: GroupGenerator, Metric: &m.GeneratorCPU, Unit: unit.Cores, Help: "CPU time of this program in the steady phase, as a share of one core"},
		{Name: "loadgen_sched_delay", Group: GroupGenerator, Metric: &m.GeneratorDelay, Unit: unit.Share, Help: "time its threads waited for a core in the steady phase, as a share of the phase"},
		{Name: "loadgen_resident", Group: GroupGenerator, Metric: &m.GeneratorResident, Unit: unit.Bytes, Help: "resident memory of this program at the end of the steady phase, bytes"},
	}
}

// churned is how many comings and goings there were.
func (m *Metrics) churned() int64 { return m.ChurnLeft.Count() + m.ChurnRenewed.Samples() }
