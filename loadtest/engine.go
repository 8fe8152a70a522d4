package loadtest

import (
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// engine makes the load of a run: a swarm in this process, or agents. All but Marks and Done are called by the goroutine of Run.
type engine interface {
	// Marks tells the phases and events; it is closed at the end.
	Marks() <-chan swarm.Mark
	// Done is closed when the load is over and the accounts are made up.
	Done() <-chan struct{}
	// Take is what has been measured since the last Take.
	Take() metric.Snapshot
	Progress() swarm.Progress
	// Stop ends the load early; the accounts are still made up.
	Stop()

	// Err, Account and Judge may be called when it is done; Err says why there is nothing to account for.
	Err() error
	Account() swarm.Account
	// Judge gives the verdict on the generator and sets its metrics.
	Judge(m *swarm.Metrics) (Generator, []Agent)
}

// alone is the engine of a run in this process.
type alone struct {
	*swarm.Swarm
	run    *run
	recent metric.Set // what came since the last Take; only touched on the swarm's loop, while there is one
	self   selfUsage  // likewise
}

// Take implements engine.
func (a *alone) Take() (snap metric.Snapshot) {
	take := func() {
		a.self.read(a.Metrics())
		snap = a.recent.Take()
		snap.Ready = int64(a.Swarm.Progress().Ready)
	}
	if !a.Do(take) { // the loop is gone: its metrics are ours
		take()
	}
	return snap
}

// Progress implements engine.
func (a *alone) Progress() (p swarm.Progress) {
	a.Do(func() { p = a.Swarm.Progress() })
	return p
}

// Err implements engine.
func (a *alone) Err() error { return nil }

// Judge implements engine.
func (a *alone) Judge(m *swarm.Metrics) (Generator, []Agent) {
	return judge(m, a.run.from, a.run.to), nil
}
