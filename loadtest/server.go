package loadtest

import (
	"context"
	"log/slog"
	"slices"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
	targets "github.com/millracehq/millrace/loadtest/internal/target"
)

// Target is what is watched of the server, each second: its metrics are those that begin with server_. A target may be NAME=…
type Target struct {
	Metrics []string          `yaml:"metrics" json:"metrics,omitempty"` // URLs of pages in Prometheus's text format
	PIDs    []string          `yaml:"pids" json:"pids,omitempty"`       // processes of this machine
	Redis   []string          `yaml:"redis" json:"-"`                   // redis://[USER:PASSWORD@]HOST:PORT
	Read    map[string]string `yaml:"read" json:"read,omitempty"`       // server_NAME: what it is read from in the metrics
}

func (t Target) config() targets.Config {
	return targets.Config{Metrics: t.Metrics, PIDs: t.PIDs, Redis: t.Redis, Read: t.Read}
}

func (s *Scenario) validateTargets(f *faults) {
	if err := s.Target.config().Validate(); err != nil {
		f.add(false, "%v", err)
	}
}

// metrics are all that a run of the scenario has: those of the load, with the parts that thresholds ask for, and those of the server.
func (s *Scenario) metrics(m *swarm.Metrics) (metric.Set, error) {
	return append(m.Set(), s.Target.config().Set()...).With(s.selectors())
}

// server is the watching of a run's targets. It belongs to the goroutine of Run.
type server struct {
	watch *targets.Watch // nil: nothing is watched
	set   metric.Set     // totals of the steady phase
}

func startServer(ctx context.Context, t Target, logger *slog.Logger) (sv server, err error) {
	sv.set = t.config().Set()
	if !t.config().Empty() {
		sv.watch, err = targets.Start(ctx, t.config(), logger)
	}
	return sv, err
}

func (sv *server) close() {
	if sv.watch != nil {
		sv.watch.Close()
	}
}

// enter puts what the server said behind what a snapshot has already, and into the totals when the phase is the one that counts.
func (sv *server) enter(snap *metric.Snapshot) {
	samples := make([]metric.Sample, len(sv.set))
	for i, e := range sv.set {
		samples[i].Name, samples[i].Kind = e.Name, e.Metric.Kind()
	}
	if sv.watch != nil {
		samples = sv.watch.Take()
	}
	if snap.Phase == swarm.PhaseSteady.String() {
		sv.set.Add(metric.Snapshot{Samples: samples}, metric.Source{})
	}
	snap.Samples = append(snap.Samples, samples...)
}

// all are the metrics of the load and of the server, in the order of snapshots.
func (r *run) all() metric.Set { return slices.Concat(r.set, r.server.set) }
