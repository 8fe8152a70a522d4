package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Options of a run beside the scenario; the zero value is a quiet one.
type Options struct {
	Name     string       // of the scenario, for reports
	Version  string       // of the program, for reports
	Command  []string     // that began the run, for reports: without secrets
	Progress io.Writer    // live progress; nil: none
	Terminal bool         // Progress is one: redraw a line instead of writing one a second
	Phases   io.Writer    // gets a JSON line at the beginning of each phase and at each event; nil: nobody
	Outputs  []Output     // get what is measured as it is
	Logger   *slog.Logger // nil: none
	Agents   []string     // HOST:PORT of agents that make the load together ([ServeAgent]); none: this process makes it

	marks func(swarm.Mark) // of an agent: gets each phase, behind what was measured before it

	// OnCut is called when [Scenario.Cut] is due, beside the run, which waits for it at its end. It is how a run with [CutByServer] has the server end
	// its connections. An error fails the run. nil: nothing is called.
	OnCut func(context.Context) error
}

// Errors that Run wraps.
var (
	ErrConfig = errors.New("the scenario is not valid")
	ErrStart  = errors.New("the run could not start")
	ErrAgent  = errors.New("an agent was lost, so that there is no verdict")
	ErrOutput = errors.New("the run is over, but an output is not complete")
)

const (
	snapshotInterval  = time.Second
	thresholdInterval = 2 * time.Second
)

// Run runs a scenario to its end and judges it. When ctx ends, the load stops, what is under way is still waited for, and the
// report says that the run was interrupted. Errors wrap [ErrConfig], [ErrStart], [ErrAgent] or, with a report
// beside it, [ErrOutput]; a run that failed is a report.
func Run(ctx context.Context, s *Scenario, o Options) (*Report, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrConfig, err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s = s.Resolved()
	if len(o.Agents) > 0 {
		return runAgents(ctx, s, o)
	}
	r, err := prepare(ctx, s, o, swarm.Part{})
	if err != nil {
		return nil, err
	}
	if err := r.watchServer(ctx); err != nil {
		return nil, err
	}
	defer r.server.close()
	return r.alone(ctx)
}

// prepare makes a run of a resolved scenario, or of a part of it, that this process does; nothing is dialled yet.
func prepare(ctx context.Context, s *Scenario, o Options, part swarm.Part) (*run, error) {
	t, err := s.preflight(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	config := s.swarmConfig(t, o.Logger)
	config.Part = part
	if config.Poll, err = s.Poll.config(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	sw, err := swarm.New(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	r := newRun(s, o, nil)
	recent, _ := sw.Metrics().Set().With(s.selectors()) // Validate has told the errors
	r.engine = &alone{Swarm: sw, recent: recent, run: r}
	return r, nil
}

func newRun(s *Scenario, o Options, e engine) *run {
	r := &run{scenario: s, options: o, engine: e, total: swarm.NewMetrics(s.labels()...), started: time.Now()}
	r.set, _ = r.total.Set().With(s.selectors()) // Validate has told the errors
	r.server.set = Target{}.config().Set()
	return r
}

// watchServer begins to watch the scenario's targets.
func (r *run) watchServer(ctx context.Context) (err error) {
	if r.server, err = startServer(ctx, r.scenario.Target, r.options.Logger); err != nil {
		return fmt.Errorf("%w: %w", ErrStart, err)
	}
	return nil
}

// alone is the run of a swarm in this process, from its start to the report.
func (r *run) alone(ctx context.Context) (*Report, error) {
	sw := r.engine.(*alone).Swarm
	return r.whole(ctx, sw.Start, sw.Close)
}

// whole is a run from its start to the report; end is called when the load is over, and what is measured then is still taken.
func (r *run) whole(ctx context.Context, start func() error, end func()) (*Report, error) {
	r.bound, _ = r.scenario.bind(r.all())
	if err := r.startOutputs(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, errors.Join(err, r.stopOutputs(nil)))
	}
	r.taken = time.Now()
	r.watch(ctx)
	end()
	if err := r.engine.Err(); err != nil {
		return nil, errors.Join(err, r.stopOutputs(nil))
	}
	r.take()
	rep := r.report()
	return rep, r.stopOutputs(rep)
}

func (s *Scenario) swarmConfig(t target, logger *slog.Logger) swarm.Config {
	channels := make([]string, s.Channels.Count)
	for i := range channels {
		channels[i] = s.Channels.channel(i)
	}
	checks, _ := s.checks() // Validate has told the errors
	return swarm.Config{
		Loads: s.loads(), Checks: checks, Ping: time.Duration(s.Ping),
		Remote: t.remote, Locals: t.locals, Host: t.host, URI: t.uri, TLS: t.tls, Token: s.Token,
		Connections: s.Connections, ConnectRate: s.ConnectRate, ConnectTimeout: time.Duration(s.ConnectTimeout), Handshakes: s.Handshakes, Reconnect: s.Reconnect,
		Channels: channels, Subscriptions: s.Subscriptions, Zipf: s.Channels.Zipf, Churn: s.Churn.config(),
		Rate: s.Publish.Rate, Burst: s.Publish.Burst, Publishers: s.Publish.Publishers, Payload: s.Publish.Payload, IDs: s.Publish.IDs,
		Cut: swarm.Cut{
			At: time.Duration(s.Cut.At), Share: s.Cut.Share, Spread: time.Duration(s.Cut.Spread), Publishers: s.Cut.Publishers,
			Server: s.Cut.By == CutByServer,
		},
		Stop: swarm.Stop{
			Connections: s.StopReading.Connections, At: time.Duration(s.StopReading.At), Until: time.Duration(s.StopReading.Until),
			ReceiveBuffer: s.StopReading.ReceiveBuffer,
		},
		RequestRate: s.Requests.Rate, RequestChannel: s.Requests.Channel,
		Settle: time.Duration(s.Settle), Warmup: time.Duration(s.Warmup), Duration: time.Duration(s.Duration), Drain: time.Duration(s.Drain),
		Logger: logger,
	}
}

// run is a run under way. It belongs to the goroutine of Run. Each second it takes over what the engine has measured.
type run struct {
	scenario *Scenario
	options  Options
	engine   engine
	total    *swarm.Metrics // of all snapshots
	set      metric.Set     // of total
	taken    time.Time      // the last snapshot
	server   server
	bound    []metric.Bound
	started  time.Time

	marks       []swarm.Mark
	from, to    usage // at both ends of the steady phase
	steady      time.Time
	interrupted bool
	aborted     string // threshold that ended the run
	outputErr   error  // the first
	onCut       onCut
}

// watch follows the run to its end.
func (r *run) watch(ctx context.Context) {
	progress := newProgress(r.options.Progress, r.options.Terminal, r.scenario)
	progress.begin(r.options.Name)
	var stand swarm.Progress
	defer func() { progress.finish(stand, r.total.Latency.Percentile(99)) }()
	thresholds := time.NewTicker(thresholdInterval)
	defer thresholds.Stop()
	snapshots := time.NewTicker(snapshotInterval)
	defer snapshots.Stop()
	redraw := time.NewTicker(progress.interval())
	defer redraw.Stop()
	marks, interrupt := r.engine.Marks(), ctx.Done()
	for {
		select {
		case m, ok := <-marks:
			if !ok {
				<-r.engine.Done()
				return
			}
			stand = r.engine.Progress()
			r.mark(m)
			r.onEvent(ctx, m.Event)
		case <-snapshots.C:
			r.take()
		case <-thresholds.C:
			r.abortOnCrossed()
		case <-redraw.C:
			stand = r.engine.Progress()
			progress.show(stand, r.total.Latency.Percentile(99))
		case <-interrupt:
			interrupt = nil
			r.interrupted = true
			r.engine.Stop()
		}
	}
}

// mark takes note of a phase that has begun, or of an event in it.
func (r *run) mark(m swarm.Mark) {
	if m.Event == "" {
		r.take() // so that each snapshot is of one phase
		r.marks = append(r.marks, m)
		if r.options.marks != nil {
			r.options.marks(m)
		}
		switch m.Phase {
		case swarm.PhaseSteady:
			r.from, r.steady = readUsage(), m.At
		case swarm.PhaseDrain:
			r.to = readUsage()
		default:
		}
	}
	if r.options.Phases != nil {
		line := struct {
			Phase string    `json:"phase"`
			Event string    `json:"event,omitempty"`
			Time  time.Time `json:"time"`
			Nanos int64     `json:"monotonic_ns"`
		}{m.Phase.String(), m.Event, m.At, m.Nanos}
		if err := json.NewEncoder(r.options.Phases).Encode(line); err != nil {
			r.options.Logger.Warn("phase file", "error", err)
			r.options.Phases = nil
		}
	}
}

// abortOnCrossed ends the run when a threshold that asks for it is crossed.
func (r *run) abortOnCrossed() {
	if r.steady.IsZero() || r.aborted != "" {
		return
	}
	elapsed := time.Since(r.steady)
	for _, b := range r.bound {
		if !b.AbortOnFail || elapsed < b.AbortDelay {
			continue
		}
		if v := b.Check(elapsed.Seconds()); v.Known && v.Outcome == metric.Failed {
			r.aborted = b.Metric + " " + b.Source
		}
	}
	if r.aborted != "" {
		r.engine.Stop()
	}
}
