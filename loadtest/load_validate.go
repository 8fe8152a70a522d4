package loadtest

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

const (
	maxUsers  = maxConnections
	maxStages = 1000
	maxRate   = 1e6 // iterations per second
)

func (s *Scenario) validateLoads(f *faults) {
	f.add(s.Ping >= 0, "ping: %s is below zero", s.Ping)
	f.add(len(s.Scenarios) <= swarm.MaxLoads, "scenarios: %d of them, at most %d can be told apart", len(s.Scenarios), swarm.MaxLoads)
	f.add(s.Channels.Zipf == 0 || s.Connections > 0, "channels.zipf: it is about connections, and there are none")
	f.add(s.Poll.Every == 0 || len(s.Scenarios) == 0, "poll: there are no scenarios beside it")
	_, bad := s.checks()
	*f = append(*f, bad...)
	for _, name := range s.names() {
		l := s.Scenarios[name]
		var own faults
		own.add(metric.IsName(name), "a name has letters, digits, _ and - only")
		own.add(name != "default" || s.Publish.Rate == 0 && s.Requests.Rate == 0, "default is the name of what publish.rate and requests.rate do")
		l.validate(&own)
		own.add(l.Exec != ExecPublish || s.Channels.Count >= 1, "publications need a channel")
		for _, fault := range own {
			*f = append(*f, "scenarios."+name+": "+fault)
		}
	}
}

func (l *Load) validate(f *faults) {
	f.add(l.StartTime >= 0 && l.GracefulStop >= 0 && l.GracefulRampDown >= 0 && l.Hold >= 0 && l.MinIterationDuration >= 0, "a duration is below zero")
	f.add(l.Exec == ExecPublish || l.Exec == ExecRequest || l.Exec == ExecSession, "exec: %q is none of %s, %s and %s", l.Exec, ExecPublish, ExecRequest, ExecSession)
	f.add(l.Hold == 0 || l.Exec == ExecSession, "hold: only a %s is held", ExecSession)
	f.add(l.MinIterationDuration == 0 || !l.open(), "minIterationDuration: the rate says when iterations begin")
	for tag, value := range l.Tags {
		f.add(metric.IsName(tag) && tag != "phase" && tag != "window" && tag != metric.TagScenario && value != "",
			"tags: %q: %q: a tag has letters, digits, _ and - only, and phase, window and scenario are taken", tag, value)
	}
	switch l.Executor {
	case SharedIterations, PerVUIterations:
		f.add(l.Iterations >= 1, "iterations: %d; at least 1 is needed", l.Iterations)
		f.add(l.MaxDuration > 0, "maxDuration: %s; it must be above zero", l.MaxDuration)
		f.add(l.Executor != SharedIterations || l.Iterations >= int64(l.VUs), "iterations: %d are fewer than the %d VUs", l.Iterations, l.VUs)
	case ConstantVUs:
		f.add(l.Duration > 0, "duration: %s; it must be above zero", l.Duration)
	case RampingVUs, RampingArrivalRate:
		l.validateStages(f)
	case ConstantArrivalRate:
		f.add(l.Duration > 0, "duration: %s; it must be above zero", l.Duration)
		f.add(l.Rate > 0, "rate: %v; it must be above zero", l.Rate)
	default:
		f.add(false, "executor: %q is none of %s, %s, %s, %s, %s and %s", l.Executor,
			SharedIterations, PerVUIterations, ConstantVUs, RampingVUs, ConstantArrivalRate, RampingArrivalRate)
		return
	}
	if l.open() {
		f.add(l.TimeUnit > 0, "timeUnit: %s; it must be above zero", l.TimeUnit)
		f.add(l.PreAllocatedVUs >= 1, "preAllocatedVUs: %d; at least 1 is needed", l.PreAllocatedVUs)
		f.add(l.MaxVUs == 0 || l.MaxVUs >= l.PreAllocatedVUs, "maxVUs: %d are fewer than the %d of preAllocatedVUs", l.MaxVUs, l.PreAllocatedVUs)
		for _, r := range l.ramps() {
			f.add(r.From >= 0 && r.To >= 0 && max(r.From, r.To) <= maxRate, "rate: %v to %v per second is not in 0 to %v", r.From, r.To, maxRate)
		}
	}
	most, _ := l.users()
	f.add(most >= 1 && most <= maxUsers, "vus: %d is not in 1 to %d", most, maxUsers)
}

func (l *Load) validateStages(f *faults) {
	f.add(len(l.Stages) >= 1 && len(l.Stages) <= maxStages, "stages: %d, not 1 to %d", len(l.Stages), maxStages)
	f.add(l.StartVUs >= 0, "startVUs: %d is below zero", l.StartVUs)
	f.add(l.length() > 0, "stages: their durations must come to more than zero")
	for i, stage := range l.Stages {
		f.add(stage.Duration >= 0, "stages: %d: duration: %s is below zero", i+1, stage.Duration)
		f.add(stage.Target >= 0 && !math.IsInf(stage.Target, 0), "stages: %d: target: %v", i+1, stage.Target)
		f.add(l.Executor != RampingVUs || stage.Target == math.Trunc(stage.Target), "stages: %d: target: %v is no number of VUs", i+1, stage.Target)
	}
}

// ParseStage reads a stage as -s has it: DURATION:TARGET.
func ParseStage(text string) (Stage, error) {
	length, target, ok := strings.Cut(text, ":")
	var stage Stage
	n, err := strconv.Atoi(target)
	if !ok || err != nil || n < 0 {
		return stage, errors.New("want DURATION:VUS, such as 10s:100")
	}
	stage.Target = float64(n)
	return stage, stage.Duration.UnmarshalText([]byte(length))
}

// Shortcut is the load that k6's -u, -i and -s ask for.
type Shortcut struct {
	VUs        int   // 0: 1
	Iterations int64 // of all VUs together
	Stages     []Stage
	Duration   Duration // 0: that of the scenario
}

// Apply puts one load in the place of all publications, requests and scenarios of s, as k6 does with these flags; it is named default, and does
// what the first of the scenarios did, or publishes.
func (c Shortcut) Apply(s *Scenario) error {
	if c.Iterations > 0 && len(c.Stages) > 0 {
		return errors.New("iterations and stages do not go together")
	}
	l := NewLoad(ConstantVUs)
	switch {
	case len(c.Stages) > 0:
		l.Executor = RampingVUs
	case c.Iterations > 0:
		l.Executor = SharedIterations
	}
	l.VUs, l.StartVUs = max(c.VUs, 1), max(c.VUs, 1)
	l.Iterations, l.Stages, l.Duration = c.Iterations, c.Stages, s.Resolved().Duration
	if c.Duration > 0 {
		l.Duration, l.MaxDuration = c.Duration, c.Duration
	}
	if names := s.names(); len(names) > 0 {
		l.Exec, l.Hold = s.Scenarios[names[0]].Exec, s.Scenarios[names[0]].Hold
	}
	s.Publish.Rate, s.Requests.Rate = 0, 0
	s.Scenarios = map[string]Load{"default": l}
	return nil
}
