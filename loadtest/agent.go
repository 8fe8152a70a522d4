package loadtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/loadtest/internal/fleet"
	"github.com/millracehq/millrace/loadtest/internal/metric"
	"github.com/millracehq/millrace/loadtest/internal/swarm"
)

// AgentOptions are those of [ServeAgent].
type AgentOptions struct {
	Version string       // of the program: runs of others are refused
	URL     string       // to connect to in the place of the scenario's: one gateway of several; empty: the scenario's
	Logger  *slog.Logger // nil: none
}

// ServeAgent does shares of runs that others ask for at l, one run at a time, until ctx ends; it closes l. There is no authentication.
func ServeAgent(ctx context.Context, l net.Listener, o AgentOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	var busy atomic.Bool
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		serving.Go(func() {
			conn := fleet.NewConn(c)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if !busy.CompareAndSwap(false, true) {
				_ = conn.Send(fleet.Message{Fault: fleet.Busy}) // who asked may be gone
				return
			}
			defer busy.Store(false)
			a := agent{conn: conn, version: o.Version, url: o.URL, logger: o.Logger.With("run_of", c.RemoteAddr().String())}
			if err := a.serve(ctx); err != nil {
				a.logger.Error("share", "error", err)
				_ = conn.Send(fleet.Message{Fault: err.Error()}) // it may be gone
			}
		})
	}
}

// agent does its share of one run.
type agent struct {
	conn    *fleet.Conn
	version string
	url     string // in the place of the scenario's, unless it is empty
	logger  *slog.Logger
	run     *run
	swarm   *swarm.Swarm
	sending sync.WaitGroup // of what the swarm's loop has to say
	gone    atomic.Bool    // the run is
}

// final is the end of a share.
type final struct {
	Account   swarm.Account
	Generator Generator
}

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}

// serve tells the time until it is told what to do, and does that.
func (a *agent) serve(ctx context.Context) error {
	for {
		m, err := a.conn.Receive()
		switch {
		case err != nil:
			return nil //nolint:nilerr // somebody looked in, and has gone without asking for anything
		case m.Clock != nil:
			if err := a.conn.Send(fleet.Message{Clock: &fleet.Clock{Nanos: monotonic()}}); err != nil {
				return err
			}
		case m.Hello != nil:
			return a.share(ctx, m.Hello)
		default:
			return errors.New("a message that does not belong at the beginning")
		}
	}
}

// share does the share of a run that h hands out, and tells what it came to.
func (a *agent) share(ctx context.Context, h *fleet.Hello) error {
	s, err := a.scenario(h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := Options{Logger: a.logger, Outputs: []Output{a}, marks: func(m swarm.Mark) { a.say(fleet.Message{Mark: &m}) }}
	s.part.Joined = func(r swarm.Roll) { a.tell(fleet.Message{Joined: &r}) }
	s.part.Drained = func(c swarm.Closing) { a.tell(fleet.Message{Drained: &c}) }
	if a.run, err = prepare(ctx, s, options, s.part); err != nil {
		return err
	}
	a.swarm = a.run.engine.(*alone).Swarm
	a.logger.Info("begins", "share", h.Index+1, "of", h.Of, "url", s.URL)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		a.listen(cancel)
	}()
	rep, err := a.run.alone(ctx)
	a.sending.Wait()
	if err == nil {
		err = a.finish(rep)
	}
	if err != nil {
		_ = a.conn.Send(fleet.Message{Fault: err.Error()}) // it may be gone
		a.conn.Close()
	}
	<-listening // the run closes the connection when it has everything
	a.logger.Info("is done")
	return err
}

// scenario is the agent's part of what the run does.
func (a *agent) scenario(h *fleet.Hello) (*Scenario, error) {
	if h.Protocol != fleet.Protocol || h.Version != a.version {
		return nil, fmt.Errorf("this is loadtest %s and the run is of %s: use the same everywhere", a.version, h.Version)
	}
	if h.Index < 0 || h.Index >= h.Of {
		return nil, fmt.Errorf("share %d of %d", h.Index, h.Of)
	}
	var s Scenario
	if err := gob.NewDecoder(bytes.NewReader(h.Scenario)).Decode(&s); err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	s.URL = cmp.Or(a.url, s.URL)
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrConfig, err)
	}
	s.part = swarm.Part{Index: h.Index, Of: h.Of, Run: h.Run, Offset: h.Offset}
	return &s, nil
}

func (a *agent) finish(rep *Report) error {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(final{rep.account, rep.Generator}); err != nil {
		return err
	}
	return a.conn.Send(fleet.Message{Final: b.Bytes()})
}

// listen takes what the run says until it is gone or silent: then the share ends.
func (a *agent) listen(cancel func()) {
	for {
		m, err := a.conn.Receive()
		switch {
		case err != nil:
			a.gone.Store(true)
			cancel()
			a.swarm.Conclude(nil)
			return
		case m.Begin != nil:
			a.swarm.Begin(m.Begin.Reach)
		case m.Conclude != nil:
			a.swarm.Conclude(m.Conclude.All)
		case m.Stop:
			cancel()
		}
	}
}

// say sends a message. Who is not there any more needs none, and the share ends.
func (a *agent) say(m fleet.Message) {
	if a.conn.Send(m) != nil {
		a.gone.Store(true)
		a.conn.Close() // listen sees it
	}
}

// tell says something from the swarm's loop, which does not wait for it.
func (a *agent) tell(m fleet.Message) {
	a.sending.Go(func() {
		a.say(m)
		if a.gone.Load() {
			a.swarm.Conclude(nil)
		}
	})
}

// Start implements Output.
func (a *agent) Start(Info) error { return nil }

// Second implements Output.
func (a *agent) Second(snap metric.Snapshot) error {
	second := fleet.Second{Samples: fleet.Pack(snap.Samples[:len(a.run.set)]), Progress: a.run.engine.Progress()}
	a.say(fleet.Message{Second: &second})
	return nil
}

// Stop implements Output.
func (a *agent) Stop(*Report) error { return nil }
