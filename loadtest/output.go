package loadtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Output gets what a run measures while it goes on. All calls come from one goroutine, in this order: Start, Second about each second and at
// the end of each phase, Stop. An error of Start keeps the run from beginning; the others are told when it is over.
type Output interface {
	Start(info Info) error
	// Second gets what was added since the last one. The histograms in it are valid during the call only.
	Second(s metric.Snapshot) error
	// Stop ends the output; rep is nil when the run could not start, or lost an agent.
	Stop(rep *Report) error
}

// Info is what is known when a run begins.
type Info struct {
	Name     string
	Version  string
	Started  time.Time
	Scenario *Scenario  // with all defaults
	Metrics  metric.Set // names, kinds, groups and help; the values are not to be read

	Command     []string // that began the run, without secrets; none when it was not the program
	Environment Environment
}

func (r *run) startOutputs() error {
	info := Info{
		Name: r.options.Name, Version: r.options.Version, Started: r.started, Scenario: r.scenario, Metrics: r.all(),
		Command: r.options.Command, Environment: environment(),
	}
	for i, o := range r.options.Outputs {
		if err := o.Start(info); err != nil {
			for _, begun := range r.options.Outputs[:i] {
				err = errors.Join(err, begun.Stop(nil))
			}
			return err
		}
	}
	return nil
}

func (r *run) stopOutputs(rep *Report) error {
	err := r.outputErr
	for _, o := range r.options.Outputs {
		err = errors.Join(err, o.Stop(rep))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return nil
}

// take enters what has been measured since the last time.
func (r *run) take() { r.enter(r.engine.Take()) }

// enter adds a snapshot to the totals and hands it to the outputs.
func (r *run) enter(snap metric.Snapshot) {
	snap.At = time.Now()
	snap.Span, r.taken = snap.At.Sub(r.taken), snap.At
	if n := len(r.marks); n > 0 {
		snap.Phase = r.marks[n-1].Phase.String()
	}
	r.set.Add(snap, metric.Source{})
	r.server.enter(&snap)
	if snap.Phase == swarm.PhaseSteady.String() {
		metric.Feed(r.bound, snap)
	}
	for _, o := range r.options.Outputs {
		if err := o.Second(snap); err != nil && r.outputErr == nil {
			r.outputErr = err
		}
	}
	snap.Release()
}
