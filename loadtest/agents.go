package loadtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millracehq/millrace/loadtest/internal/fleet"
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

const (
	agentTimeout = 10 * time.Second // to reach one, and for it to be done with another run
	busyPause    = 100 * time.Millisecond
)

// Agent is one of the processes that did the work of a run.
type Agent struct {
	Address   string    `json:"address"`
	AheadMS   float64   `json:"clock_ahead_ms"` // its clock, of this process's; latencies are corrected by it
	BoundMS   float64   `json:"clock_bound_ms"` // how wrong that can be
	Generator Generator `json:"generator"`
}

// agents is the engine of a run that others do.
type agents struct {
	list                  []*worker
	connections, channels int // of the scenario

	marks   chan swarm.Mark
	done    chan struct{}
	reading sync.WaitGroup

	mu      sync.Mutex
	recent  metric.Set  // what came since the last Take
	phase   swarm.Phase // that all have reached
	joined  int
	drained int
	lost    error // the first that was
}

// worker is one agent. What it has told belongs to agents.mu.
type worker struct {
	Agent
	ahead    int64 // ns
	conn     *fleet.Conn
	phase    swarm.Phase
	roll     swarm.Roll
	closing  swarm.Closing
	progress swarm.Progress
	final    *final
}

// runAgents is Run with agents.
func runAgents(ctx context.Context, s *Scenario, o Options) (*Report, error) {
	if err := s.validateShares(len(o.Agents)); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrConfig, err)
	}
	e := &agents{connections: s.Connections, channels: s.Channels.Count, marks: make(chan swarm.Mark, swarm.PhaseDone+1), done: make(chan struct{})}
	e.recent, _ = swarm.NewMetrics(s.labels()...).Set().With(s.selectors()) // Validate has told the errors
	r := newRun(s, o, e)
	if err := r.watchServer(ctx); err != nil {
		return nil, err
	}
	defer r.server.close()
	defer e.close()
	for _, address := range o.Agents {
		w, err := await(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("%w: agent %s: %w", ErrStart, address, err)
		}
		e.list = append(e.list, w)
	}
	return r.whole(ctx, func() error { return e.begin(s, o.Version) }, func() {})
}

// share is the scenario as agents do it: thresholds are judged here, on what all of them have measured, and the server is watched here.
func (s Scenario) share() *Scenario {
	s.Target = Target{}
	thresholds := make(map[string][]Assertion, len(s.Thresholds))
	for name := range s.Thresholds {
		if !strings.HasPrefix(name, "server_") {
			for _, a := range s.Thresholds[name] { // for the parts of metrics that they name
				thresholds[name] = append(thresholds[name], Assertion{Threshold: a.Threshold})
			}
		}
	}
	s.Thresholds = thresholds
	return &s
}

// validateShares refuses what cannot be shared.
func (s *Scenario) validateShares(n int) error {
	var f faults
	f.add(s.Cut.Share == 0, "cut: agents do not do that; use one process")
	f.add(s.StopReading.Connections == 0, "stop_reading: agents do not do that; use one process")
	f.add(len(s.LocalAddresses) == 0, "local_addresses: agents choose their own, each has the ports of one; leave it out")
	f.add(s.Connections == 0 || s.Connections >= n, "connections: %d for %d agents", s.Connections, n)
	for _, name := range s.names() {
		l := s.Scenarios[name]
		if _, ready := l.users(); ready < n {
			f.add(false, "scenarios.%s: %d VUs for %d agents; each needs one (preallocated)", name, ready, n)
		}
	}
	if len(f) == 0 {
		return nil
	}
	return errors.New(strings.Join(f, "\n"))
}

// await is reach, with patience for one that is busy.
func await(ctx context.Context, address string) (*worker, error) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	for {
		w, err := reach(ctx, address)
		if !errors.Is(err, fleet.ErrBusy) {
			return w, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(busyPause):
		}
	}
}

// reach connects to an agent and compares clocks.
func reach(ctx context.Context, address string) (*worker, error) {
	dialer := net.Dialer{Timeout: agentTimeout}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w := &worker{Agent: Agent{Address: address}, conn: fleet.NewConn(c)}
	offset, err := fleet.Measure(w.conn, monotonic)
	if err != nil {
		w.conn.Close()
		return nil, fmt.Errorf("compare clocks: %w", err)
	}
	w.AheadMS, w.BoundMS = float64(offset.Ahead)/1e6, float64(offset.Bound)/1e6
	w.ahead = offset.Ahead
	return w, nil
}

// begin hands out the shares.
func (e *agents) begin(s *Scenario, version string) error {
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(s.share()); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	run := rand.Uint32()
	for i, w := range e.list {
		h := &fleet.Hello{
			Protocol: fleet.Protocol, Version: version, Scenario: text.Bytes(), Index: i, Of: len(e.list), Run: run, Offset: w.ahead,
		}
		if err := w.conn.Send(fleet.Message{Hello: h}); err != nil {
			return fmt.Errorf("agent %s: %w", w.Address, err)
		}
	}
	for i := range e.list {
		e.reading.Go(func() { e.follow(i) })
	}
	go func() {
		e.reading.Wait()
		close(e.marks)
		close(e.done)
	}()
	return nil
}

// follow takes what an agent tells until it is done. One that is lost ends the run: what it would have measured is missing.
func (e *agents) follow(i int) {
	w := e.list[i]
	for {
		m, err := w.conn.Receive()
		if err == nil && m.Fault != "" {
			err = errors.New(m.Fault)
		}
		if err == nil {
			err = e.take(i, m)
		}
		if err == nil && m.Second != nil {
			err = w.conn.Send(fleet.Message{Heard: true})
		}
		if err != nil {
			e.lose(w, err)
			return
		}
		if m.Final != nil {
			return
		}
	}
}

// lose ends the run, since an agent is not there any more, or never began.
func (e *agents) lose(w *worker, err error) {
	e.mu.Lock()
	kind := ErrAgent
	if w.phase < swarm.PhaseConnect {
		kind = ErrStart
	}
	if e.lost == nil {
		e.lost = fmt.Errorf("%w: agent %s: %w", kind, w.Address, err)
	}
	e.mu.Unlock()
	e.close()
}

// take enters a message.
func (e *agents) take(i int, m fleet.Message) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.list[i]
	switch {
	case m.Mark != nil:
		w.phase = max(w.phase, min(m.Mark.Phase, swarm.PhaseDone))
		e.advance()
	case m.Second != nil:
		snap, err := fleet.Unpack(m.Second.Samples, e.recent)
		if err != nil {
			return err
		}
		e.recent.Add(snap, metric.Source{Index: i, Of: len(e.list)})
		snap.Release()
		w.progress = m.Second.Progress
	case m.Joined != nil:
		w.roll = *m.Joined
		if e.joined++; e.joined == len(e.list) {
			return e.allJoined()
		}
	case m.Drained != nil:
		w.closing = *m.Drained
		if e.drained++; e.drained == len(e.list) {
			all := make([]swarm.Closing, len(e.list))
			for i, w := range e.list {
				all[i] = w.closing
			}
			return e.say(fleet.Message{Conclude: &fleet.Conclude{All: all}})
		}
	case m.Final != nil:
		w.final = new(final)
		if err := gob.NewDecoder(bytes.NewReader(m.Final)).Decode(w.final); err != nil {
			return err
		}
		w.Generator = w.final.Generator
	}
	return nil
}

// advance tells the phase that all agents have reached: what they measured before it has come already, since each tells that first.
func (e *agents) advance() {
	slowest := slices.MinFunc(e.list, func(a, b *worker) int { return cmp.Compare(a.phase, b.phase) }).phase
	if slowest > e.phase {
		e.phase = slowest
		e.marks <- swarm.Mark{Phase: slowest, Nanos: monotonic(), At: time.Now()} // there is room for each phase
	}
}

// allJoined has the load begin, unless nobody is there.
func (e *agents) allJoined() error {
	all := swarm.Roll{Reach: make([]int64, e.channels)}
	for _, w := range e.list {
		if len(w.roll.Reach) != e.channels {
			return fmt.Errorf("%d channels, want %d", len(w.roll.Reach), e.channels)
		}
		for c, n := range w.roll.Reach {
			all.Reach[c] += n
		}
		all.Members += w.roll.Members
		all.Writers += w.roll.Writers
		all.Failures += w.roll.Failures
	}
	if all.Nobody(e.connections) {
		return e.say(fleet.Message{Stop: true})
	}
	return e.say(fleet.Message{Begin: &fleet.Begin{Reach: all.Reach}})
}

// say tells all agents something.
func (e *agents) say(m fleet.Message) (err error) {
	for _, w := range e.list {
		if failed := w.conn.Send(m); failed != nil && err == nil {
			err = fmt.Errorf("tell %s: %w", w.Address, failed)
		}
	}
	return err
}

func (e *agents) close() {
	for _, w := range e.list {
		w.conn.Close()
	}
}

// Marks implements engine.
func (e *agents) Marks() <-chan swarm.Mark { return e.marks }

// Done implements engine.
func (e *agents) Done() <-chan struct{} { return e.done }

// Stop implements engine. An agent that cannot be told is lost, which follow finds.
func (e *agents) Stop() { _ = e.say(fleet.Message{Stop: true}) }

// Err implements engine.
func (e *agents) Err() error { return e.lost }

// Take implements engine.
func (e *agents) Take() metric.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	snap := e.recent.Take()
	for _, w := range e.list {
		snap.Ready += int64(w.progress.Ready)
	}
	return snap
}

// Progress implements engine: the first agent's, with what all have.
func (e *agents) Progress() swarm.Progress {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.list[0].progress
	p.Loads = slices.Clone(p.Loads)
	for _, w := range e.list[1:] {
		p.Ready += w.progress.Ready
		p.Failures += w.progress.Failures
		p.Published += w.progress.Published
		p.Received += w.progress.Received
		for i, l := range w.progress.Loads {
			if i < len(p.Loads) {
				p.Loads[i].Busy += l.Busy
				p.Loads[i].Complete += l.Complete
				p.Loads[i].Interrupt += l.Interrupt
			}
		}
	}
	return p
}

// Account implements engine: the sum.
func (e *agents) Account() (sum swarm.Account) {
	for i, w := range e.list {
		a := w.final.Account
		if i == 0 {
			sum = a
			sum.Missing = nil
			sum.Loads = slices.Clone(a.Loads)
		} else {
			sum.Add(a)
		}
		sum.Missing = append(sum.Missing, a.Missing...)
	}
	slices.SortStableFunc(sum.Missing, func(a, b swarm.Missing) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Publisher, b.Publisher), cmp.Compare(a.Number, b.Number))
	})
	sum.Missing = swarm.JoinMissing(sum.Missing)
	return sum
}

// Judge implements engine: the verdict is that on the worst.
func (e *agents) Judge(m *swarm.Metrics) (g Generator, list []Agent) {
	order := []string{"", VerdictValid, VerdictSuspect, VerdictInvalid}
	for _, w := range e.list {
		one := w.final.Generator
		if slices.Index(order, one.Verdict) > slices.Index(order, g.Verdict) {
			g.Verdict = one.Verdict
		}
		for _, reason := range one.Reasons {
			g.Reasons = append(g.Reasons, w.Address+": "+reason)
		}
		g.SendLagP99 = max(g.SendLagP99, one.SendLagP99)
		g.CPU = max(g.CPU, one.CPU)
		g.SchedDelay = max(g.SchedDelay, one.SchedDelay)
		g.Resident += one.Resident
		list = append(list, w.Agent)
	}
	m.GeneratorCPU.Set(g.CPU)
	m.GeneratorDelay.Set(g.SchedDelay)
	m.GeneratorResident.Set(float64(g.Resident))
	return g, list
}
