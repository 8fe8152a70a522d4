package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	stopTimeout = 20 * time.Second       // what a program has to end in order, before it is killed
	againAfter  = 500 * time.Millisecond // a program that died by itself is started again, as a supervisor would
)

// Process is one program that is killed and started again, with one log for all its lives.
type Process struct {
	// Immutable after its making.
	Name string
	path string
	args []string
	log  string                      // file
	up   func(context.Context) error // says whether it is ready
	note func(text string)           // is told of deaths nobody asked for

	keeping sync.WaitGroup

	// Guarded by mu.
	mu     sync.Mutex
	wanted chan struct{} // closed when it is no longer to run; nil: it is not to run
	pid    int           // of the life that runs; 0: none
	starts int
	deaths int // that nobody asked for
}

// Start runs the program until Kill, Drain or Stop, and starts it again whenever it ends by itself. It does not wait until it is ready.
func (p *Process) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted != nil {
		return
	}
	unwanted := make(chan struct{})
	p.wanted = unwanted
	p.keeping.Go(func() { p.keep(unwanted) })
}

// keep is the one goroutine of a Process. It is tied to its thread, as the death signal is: when the thread that forked
// ends, so does the child.
func (p *Process) keep(unwanted <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		how := p.live(unwanted)
		select {
		case <-unwanted:
			return
		default:
		}
		p.mu.Lock()
		p.deaths++
		p.mu.Unlock()
		p.note(fmt.Sprintf("%s ended by itself (%s)", p.Name, how))
		t := time.NewTimer(againAfter)
		select {
		case <-t.C:
		case <-unwanted:
			t.Stop()
			return
		}
	}
}

// live is one life.
func (p *Process) live(unwanted <-chan struct{}) (how string) {
	log, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...) //nolint:noctx // ends by signals, in an order
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	p.mu.Lock()
	select {
	case <-unwanted: // since the last look
		p.mu.Unlock()
		return "not started"
	default:
	}
	err = cmd.Start()
	if err == nil {
		p.pid = cmd.Process.Pid
		p.starts++
	}
	p.mu.Unlock()
	if err != nil {
		return err.Error()
	}
	_, _ = fmt.Fprintf(log, "--- started by the fault runner at %s, pid %d\n", time.Now().Format(time.RFC3339Nano), cmd.Process.Pid)
	_ = cmd.Wait() // the state says the same
	p.mu.Lock()
	p.pid = 0
	p.mu.Unlock()
	return cmd.ProcessState.String()
}

// Kill is kill -9. It returns when the process is gone; it stays so until Start.
func (p *Process) Kill() { p.end(syscall.SIGKILL, 0) }

// Drain is SIGTERM, and SIGKILL when that takes too long. It returns when the process is gone.
func (p *Process) Drain() { p.end(syscall.SIGTERM, stopTimeout) }

func (p *Process) end(sig syscall.Signal, patience time.Duration) {
	p.mu.Lock()
	if p.wanted == nil {
		p.mu.Unlock()
		return
	}
	close(p.wanted)
	p.wanted = nil
	p.send(sig)
	p.mu.Unlock()
	if patience > 0 {
		stuck := time.AfterFunc(patience, func() {
			p.note(p.Name + " did not end when asked to, and is killed")
			p.signal(syscall.SIGKILL)
		})
		defer stuck.Stop()
	}
	p.keeping.Wait()
}

// Pause is SIGSTOP: connections stay open and nothing answers.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (p *Process) Continue() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send(sig)
}

// send needs mu. The process has been waited for only when pid is 0, so the signal reaches nobody else.
func (p *Process) send(sig syscall.Signal) {
	if p.pid != 0 {
		_ = syscall.Kill(p.pid, sig) // an error: it has ended, and is about to be waited for
	}
}

// Counts are how often it was started, and how often it ended though nobody asked it to.
func (p *Process) Counts() (starts, deaths int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts, p.deaths
}

// Ready waits until the process is ready.
func (p *Process) Ready(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := p.up(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (its log: %s)", p.Name, err, p.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
