package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millracehq/millrace/bench/internal/contest"
	"github.com/millracehq/millrace/bench/internal/generator"
	"github.com/millracehq/millrace/bench/internal/results"
)

// session is one contestant in one round.
type session struct {
	contestant contest.Contestant
	paths      contest.Paths
	size       results.Size
	settle     time.Duration // before memory is measured
	measure    measures
	progress   io.Writer

	stack *contest.Stack
	gen   *generator.Generator
}

// run starts the contestant, measures it and ends it. The row has what was measured, also with an error.
func (s *session) run(ctx context.Context, parent string) (row results.Row, err error) {
	dir, err := os.MkdirTemp(parent, s.contestant.Name)
	if err != nil {
		return row, err
	}
	defer os.RemoveAll(dir)
	if s.stack, err = s.contestant.Start(ctx, s.paths, dir); err != nil {
		return row, err
	}
	defer s.stack.Stop()
	s.gen, err = generator.New(generator.Config{
		Remote: s.stack.Remote, Dialect: s.contestant.Dialect, Token: s.stack.Token,
		Clients: s.size.Connections, Channels: s.size.Channels, PerClient: s.size.PerClient, Body: s.size.Body,
	})
	if err != nil {
		return row, err
	}
	defer s.gen.Stop()
	if err := s.connections(ctx, &row); err != nil || s.contestant.Connect {
		return row, err
	}
	return row, s.traffic(ctx, &row)
}

// connections measures what it takes to accept and to hold them. What few make the server set up once is not the cost of one more.
func (s *session) connections(ctx context.Context, row *results.Row) error {
	if err := s.gen.Bring(ctx, few, generator.Plain, s.size.ConnectRate); err != nil {
		return err
	}
	before, err := s.memory(ctx)
	if err != nil {
		return err
	}
	more := float64(s.size.Connections - few)
	row.Connect, err = s.metered(s.size.ConnectRate, func() (r generator.Result, err error) {
		began := time.Now()
		err = s.gen.Bring(ctx, s.size.Connections, generator.Plain, s.size.ConnectRate)
		r.Sent, r.Expected, r.Received, r.Seconds = int64(more), int64(more), int64(more), time.Since(began).Seconds()
		return r, err
	})
	if err != nil {
		return err
	}
	after, err := s.memory(ctx)
	if err != nil {
		return err
	}
	perConn := float64(after-before) / more
	row.BytesPerConn = &perConn
	s.say("%.0f bytes and %.0f us a connection", perConn, row.Connect.CPU[contest.Server])
	return nil
}

func (s *session) memory(ctx context.Context) (int64, error) {
	if err := pause(ctx, s.settle); err != nil {
		return 0, err
	}
	return s.stack.Memory(ctx)
}

// traffic measures deliveries and replies at fixed rates, then the highest rates.
func (s *session) traffic(ctx context.Context, row *results.Row) (err error) {
	if s.measure.want(deliveries) {
		for _, rate := range s.size.Rates {
			t, err := s.steady(ctx, float64(rate), generator.Load{Rate: float64(rate) / subscribers})
			if err != nil {
				return err
			}
			s.say("%d deliveries/s: %.1f us, p99 %.1f ms, %d lost", rate, t.CPU[contest.Server], t.P99, t.Lost())
			row.Rates = append(row.Rates, *t)
		}
	}
	if s.measure.want(requests) && s.contestant.Asks {
		t, err := s.steady(ctx, float64(s.size.Requests), generator.Load{Rate: float64(s.size.Requests), Requests: true})
		if err != nil {
			return err
		}
		s.say("%d requests/s: %.1f us, p99 %.1f ms, %d lost", s.size.Requests, t.CPU[contest.Server], t.P99, t.Lost())
		row.Requests = t
	}
	if s.measure.want(highest) {
		if row.Highest, err = s.highest(ctx, generator.Plain); err != nil {
			return err
		}
	}
	if s.measure.want(bursts) {
		if err := s.gen.Bring(ctx, s.size.Connections, generator.Many, s.size.ConnectRate); err != nil {
			return err
		}
		row.Bursts, err = s.highest(ctx, generator.Many)
	}
	return err
}

// steady puts a load on twice: to warm up, and to measure.
func (s *session) steady(ctx context.Context, rate float64, l generator.Load) (*results.Traffic, error) {
	if err := s.repair(ctx, generator.Plain); err != nil {
		return nil, err
	}
	l.Duration = seconds(warming(s.size.Seconds))
	if _, err := s.gen.Run(ctx, l); err != nil {
		return nil, err
	}
	l.Duration = seconds(s.size.Seconds)
	return s.metered(rate, func() (generator.Result, error) { return s.gen.Run(ctx, l) })
}

// highest searches for the highest rate of deliveries that the server bears; with Many, publications come in bursts. A step that fails is tried once
// more, so that one hiccup of the machine does not decide.
func (s *session) highest(ctx context.Context, set generator.Set) (*results.Peak, error) {
	p := new(results.Peak)
	step := func(rate float64) (bool, error) {
		if err := s.repair(ctx, set); err != nil {
			return false, err
		}
		t, err := s.metered(rate, func() (generator.Result, error) {
			return s.gen.Run(ctx, generator.Load{Rate: rate / subscribers, Duration: seconds(s.size.StepSeconds), Burst: set == generator.Many})
		})
		if err != nil {
			return false, err
		}
		p.Steps = append(p.Steps, *t)
		return t.Good(s.size.Target), nil
	}
	var err error
	p.Rate, err = search(searchStart, searchEnd, precision, func(rate float64) (bool, error) {
		ok, err := step(rate)
		if !ok && err == nil {
			ok, err = step(rate)
		}
		return ok, err
	})
	s.say("highest rate, %s: %.0f deliveries/s", map[generator.Set]string{generator.Plain: "one by one", generator.Many: "in bursts"}[set], p.Rate)
	return p, err
}

// repair connects again whom the server has cut off, and lets it come to rest.
func (s *session) repair(ctx context.Context, set generator.Set) error {
	if err := s.gen.Bring(ctx, s.size.Connections, set, s.size.ConnectRate); err != nil {
		return err
	}
	return pause(ctx, 300*time.Millisecond)
}

// metered measures what a load takes, per delivery (or reply, or connection) that came.
func (s *session) metered(rate float64, load func() (generator.Result, error)) (*results.Traffic, error) {
	before, err := s.stack.CPU()
	if err != nil {
		return nil, err
	}
	own, machine, began := ownCPU(), results.ReadMachineTime(), time.Now()
	t := &results.Traffic{Rate: rate, CPU: make(map[string]float64)}
	if t.Result, err = load(); err != nil {
		return nil, err
	}
	own, span := ownCPU()-own, time.Since(began)
	after, err := s.stack.CPU()
	if err != nil {
		return nil, err
	}
	all := own
	for name, used := range after {
		used -= before[name]
		all += used
		t.CPU[name] = rounded(used.Seconds() * 1e6 / float64(max(t.Received, 1)))
	}
	c := &t.Conditions
	others, steal := results.ReadMachineTime().Since(machine, all)
	c.Generator, c.Others, c.Steal = rounded(own.Seconds()/span.Seconds()), rounded(others), rounded(steal)
	c.Judge(t.LagP99)
	return t, nil
}

func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.progress, "         "+format+"\n", args...)
}

// ownCPU is the processor time of this process, which is nearly all the generator's.
func ownCPU() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r) // cannot fail
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// rounded has three digits behind the point: run.json is read by people too.
func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
