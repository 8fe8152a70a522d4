package loadtest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// Executors of loads, named as k6 names them.
const (
	SharedIterations    = "shared-iterations"
	PerVUIterations     = "per-vu-iterations"
	ConstantVUs         = "constant-vus"
	RampingVUs          = "ramping-vus"
	ConstantArrivalRate = "constant-arrival-rate"
	RampingArrivalRate  = "ramping-arrival-rate"
)

// What an iteration of a load can be.
const (
	ExecPublish = "publish" // a publication, to its ok
	ExecRequest = "request" // a request, to its res
	ExecSession = "session" // connect, subscribe, hold, close
)

// Load is one entry of scenarios, as in k6: work for virtual users (VUs), each with a connection of its own. NewLoad has the defaults.
type Load struct {
	Executor     string            `yaml:"executor" json:"executor"`
	Exec         string            `yaml:"exec" json:"exec"`                 // what an iteration is
	StartTime    Duration          `yaml:"startTime" json:"startTime"`       // from the beginning of the steady phase
	GracefulStop Duration          `yaml:"gracefulStop" json:"gracefulStop"` // how long iterations may go on when its time is over
	Tags         map[string]string `yaml:"tags" json:"tags,omitempty"`       // that thresholds can select by, beside scenario
	Checks       map[string]string `yaml:"checks" json:"checks,omitempty"`   // on what its iterations bring

	VUs              int      `yaml:"vus" json:"vus,omitempty"`
	Iterations       int64    `yaml:"iterations" json:"iterations,omitempty"`   // of all VUs together, or of each
	MaxDuration      Duration `yaml:"maxDuration" json:"maxDuration,omitempty"` // for so many iterations
	Duration         Duration `yaml:"duration" json:"duration,omitempty"`
	StartVUs         int      `yaml:"startVUs" json:"startVUs,omitempty"`
	Stages           []Stage  `yaml:"stages" json:"stages,omitempty"`
	GracefulRampDown Duration `yaml:"gracefulRampDown" json:"gracefulRampDown,omitempty"` // how long an iteration may go on when its VU is taken away

	Rate            float64  `yaml:"rate" json:"rate,omitempty"` // iterations per timeUnit
	StartRate       float64  `yaml:"startRate" json:"startRate,omitempty"`
	TimeUnit        Duration `yaml:"timeUnit" json:"timeUnit,omitempty"`
	PreAllocatedVUs int      `yaml:"preAllocatedVUs" json:"preAllocatedVUs,omitempty"`
	MaxVUs          int      `yaml:"maxVUs" json:"maxVUs,omitempty"` // default: preAllocatedVUs

	Hold                 Duration `yaml:"hold" json:"hold,omitempty"`                                 // length of a session; default: until its VU has to stop
	MinIterationDuration Duration `yaml:"minIterationDuration" json:"minIterationDuration,omitempty"` // of VUs that loop
}

// Stage is a ramp of ramping-vus (target: VUs) or ramping-arrival-rate (target: iterations per timeUnit) from the target before.
type Stage struct {
	Duration Duration `yaml:"duration" json:"duration"`
	Target   float64  `yaml:"target" json:"target"`
}

// NewLoad is a load with k6's defaults for an executor.
func NewLoad(executor string) Load {
	return Load{
		Executor: executor, Exec: ExecPublish, GracefulStop: Duration(30 * time.Second), VUs: 1, Iterations: 1, MaxDuration: Duration(10 * time.Minute),
		StartVUs: 1, GracefulRampDown: Duration(30 * time.Second), TimeUnit: Duration(time.Second),
	}
}

// UnmarshalYAML reads a load over the defaults.
func (l *Load) UnmarshalYAML(decode func(any) error) error {
	*l = NewLoad("")
	type plain Load // without this method
	return decode((*plain)(l))
}

// names of the loads, in the order in which they are numbered and shown.
func (s *Scenario) names() []string { return slices.Sorted(maps.Keys(s.Scenarios)) }

// open says whether the executor begins iterations by the clock, whatever becomes of those before.
func (l *Load) open() bool {
	return l.Executor == ConstantArrivalRate || l.Executor == RampingArrivalRate
}

// users is how many VUs the load has at most, and how many from the start.
func (l *Load) users() (most, ready int) {
	switch l.Executor {
	case RampingVUs:
		most = l.StartVUs
		for _, stage := range l.Stages {
			most = max(most, int(stage.Target))
		}
		return most, most
	case ConstantArrivalRate, RampingArrivalRate:
		return max(l.MaxVUs, l.PreAllocatedVUs), l.PreAllocatedVUs
	}
	return l.VUs, l.VUs
}

// users is how many VUs all loads have at most.
func (s *Scenario) users() (n int) {
	for _, l := range s.Scenarios {
		most, _ := l.users()
		n += most
	}
	return n
}

// writers is how many VUs publish.
func (s *Scenario) writers() (n int) {
	for _, l := range s.Scenarios {
		if l.Exec == ExecPublish {
			most, _ := l.users()
			n += most
		}
	}
	return n
}

// ramps are the stages, and what other executors do as one; rates are per second.
func (l *Load) ramps() []swarm.Ramp {
	flat := func(length Duration, value float64) []swarm.Ramp {
		return []swarm.Ramp{{Length: time.Duration(length), From: value, To: value}}
	}
	unit := max(time.Duration(l.TimeUnit).Seconds(), 1e-9)
	from, scale := float64(l.StartVUs), 1.0
	switch l.Executor {
	case SharedIterations, PerVUIterations:
		return flat(l.MaxDuration, float64(l.VUs))
	case ConstantVUs:
		return flat(l.Duration, float64(l.VUs))
	case ConstantArrivalRate:
		return flat(l.Duration, l.Rate/unit)
	case RampingArrivalRate:
		from, scale = l.StartRate, unit
	}
	var list []swarm.Ramp
	for _, stage := range l.Stages {
		list = append(list, swarm.Ramp{Length: time.Duration(stage.Duration), From: from / scale, To: stage.Target / scale})
		from = stage.Target
	}
	return list
}

// length is how long the load goes on, without startTime and gracefulStop.
func (l *Load) length() time.Duration {
	w := swarm.Load{Ramps: l.ramps()}
	return w.Length()
}

// longest is when the last load has had its time, with or without gracefulStop.
func (s *Scenario) longest(graceful bool) (end Duration) {
	for _, l := range s.Scenarios {
		at := l.StartTime + Duration(l.length())
		if graceful {
			at += l.GracefulStop
		}
		end = max(end, at)
	}
	return end
}

// loads are the scenarios as the swarm wants them.
func (s *Scenario) loads() (list []swarm.Load) {
	for _, name := range s.names() {
		l := s.Scenarios[name]
		w := swarm.Load{
			Name: name, Tags: l.Tags, Start: time.Duration(l.StartTime), Graceful: time.Duration(l.GracefulStop),
			Open: l.open(), Ramps: l.ramps(), Hold: time.Duration(l.Hold), AtWork: time.Duration(l.MinIterationDuration),
		}
		w.Exec = map[string]swarm.Exec{ExecPublish: swarm.ExecPublish, ExecRequest: swarm.ExecRequest, ExecSession: swarm.ExecSession}[l.Exec]
		w.VUs, w.Ready = l.users()
		switch l.Executor {
		case SharedIterations:
			w.Shared = l.Iterations
		case PerVUIterations:
			w.Each = l.Iterations
		case RampingVUs:
			w.RampDown = time.Duration(l.GracefulRampDown)
		}
		list = append(list, w)
	}
	return list
}

// labels are the tags that parts of metrics can be named by; the first is what is in no load.
func (s *Scenario) labels() []metric.ScenarioTags {
	c := swarm.Config{Loads: s.loads()}
	return c.Scenarios()
}

// checks are all checks, those of the whole file first.
func (s *Scenario) checks() (list []swarm.Check, faults []string) {
	add := func(checks map[string]string, scenarios uint64) {
		for _, name := range slices.Sorted(maps.Keys(checks)) {
			c, err := swarm.ParseCheck(name, checks[name])
			if err != nil {
				faults = append(faults, err.Error())
				continue
			}
			c.Scenarios = scenarios
			list = append(list, c)
		}
	}
	add(s.Checks, 0)
	for i, name := range s.names() {
		add(s.Scenarios[name].Checks, 1<<(i+1))
	}
	return list, faults
}

// describe says what a load does, as k6 does before a run.
func (l *Load) describe() string {
	most, ready := l.users()
	var text string
	switch l.Executor {
	case SharedIterations:
		text = fmt.Sprintf("%d iterations shared among %d VUs (maxDuration: %s", l.Iterations, most, l.MaxDuration)
	case PerVUIterations:
		text = fmt.Sprintf("%d iterations for each of %d VUs (maxDuration: %s", l.Iterations, most, l.MaxDuration)
	case ConstantVUs:
		text = fmt.Sprintf("%d looping VUs for %s (", most, l.Duration)
	case RampingVUs:
		text = fmt.Sprintf("Up to %d looping VUs for %s over %d stages (gracefulRampDown: %s", most, l.length(), len(l.Stages), l.GracefulRampDown)
	case ConstantArrivalRate:
		text = fmt.Sprintf("%.2f iterations/s for %s (maxVUs: %s", l.ramps()[0].From, l.Duration, span(ready, most))
	case RampingArrivalRate:
		top := 0.0
		for _, r := range l.ramps() {
			top = max(top, r.From, r.To)
		}
		text = fmt.Sprintf("Up to %.2f iterations/s for %s over %d stages (maxVUs: %s", top, l.length(), len(l.Stages), span(ready, most))
	}
	if l.Executor != ConstantVUs {
		text += ", "
	}
	text += "exec: " + l.Exec
	if l.StartTime > 0 {
		text += ", startTime: " + l.StartTime.String()
	}
	return text + ", gracefulStop: " + l.GracefulStop.String() + ")"
}

func span(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}
