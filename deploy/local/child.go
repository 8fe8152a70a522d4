package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	probeEvery   = 50 * time.Millisecond
	probeTimeout = time.Second
)

// child keeps one part running: it starts it, says when it is ready, and starts it again when it died.
type child struct {
	// Immutable after newChild.
	part    part
	timing  timing
	console *console
	log     *childLog
	ready   chan struct{} // closed when it was ready for the first time

	once sync.Once // closes ready

	mu    sync.Mutex
	probe error // Guarded by mu. What the last probe said.
}

func newChild(p part, t timing, c *console) *child {
	return &child{
		part: p, timing: t, console: c,
		log:   &childLog{console: c, name: p.name},
		ready: make(chan struct{}),
	}
}

// keep runs the child until stop is done, then asks it to end (SIGTERM) and kills it when it takes too long or kill
// is done. The error says that the child died young too often.
func (c *child) keep(stop, kill context.Context) error {
	r := restarts{timing: c.timing}
	for {
		start := time.Now()
		end := c.run(stop, kill)
		if stop.Err() != nil {
			c.console.say("%s has stopped (%s)", c.part.name, end)
			return nil
		}
		age := time.Since(start)
		wait, ok := r.died(age)
		if !ok {
			return fmt.Errorf("%s died %d times within %v of its start (%s); the last lines of its log:\n%s",
				c.part.name, c.timing.deaths, c.timing.young, end, c.log.last())
		}
		c.console.say("%s died after %v (%s), starting it again in %v", c.part.name, age.Round(time.Millisecond), end, wait)
		select {
		case <-time.After(wait):
		case <-stop.Done():
			return nil
		}
	}
}

// run is one life of the child, and says how it ended.
func (c *child) run(stop, kill context.Context) (end string) {
	cmd := exec.CommandContext(stop, c.part.path, c.part.args...)
	cmd.Env = append(os.Environ(), c.part.env...)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = c.timing.stop
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // the Ctrl-C of the terminal is for the supervisor alone, which keeps the order
		Pdeathsig: syscall.SIGKILL, // nothing is left behind when the supervisor is killed
	}
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	release := context.AfterFunc(kill, func() { _ = cmd.Process.Kill() }) // an error: it is gone already
	defer release()

	alive, died := context.WithCancel(stop)
	var probing sync.WaitGroup
	probing.Go(func() { c.waitReady(alive) })
	_ = cmd.Wait() // an error says the same as the state, or that it was told to stop
	died()
	probing.Wait()
	c.log.flush()
	return cmd.ProcessState.String()
}

// waitReady probes the child until it says that it is ready.
func (c *child) waitReady(ctx context.Context) {
	start := time.Now()
	for {
		err := probe(ctx, c.part.ready)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.probe = err
		c.mu.Unlock()
		if err == nil {
			c.console.say("%s is ready after %v", c.part.name, time.Since(start).Round(time.Millisecond))
			c.once.Do(func() { close(c.ready) })
			return
		}
		select {
		case <-time.After(probeEvery):
		case <-ctx.Done():
			return
		}
	}
}

// lastProbe is why the child is not ready.
func (c *child) lastProbe() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probe
}

func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// restarts decides when a child that died is started again.
type restarts struct {
	timing timing
	young  int           // deaths in a row before the age timing.young
	wait   time.Duration // before the last start
}

// died takes the age at which the child died, and gives the time to wait, or false to give up.
func (r *restarts) died(age time.Duration) (wait time.Duration, ok bool) {
	if age >= r.timing.young {
		r.young, r.wait = 0, 0
	} else if r.young++; r.young >= r.timing.deaths {
		return 0, false
	}
	r.wait = min(max(2*r.wait, r.timing.firstWait), r.timing.lastWait)
	return r.wait, true
}
