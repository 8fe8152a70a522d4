package contest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readyWithin = 20 * time.Second
	stopWithin  = 5 * time.Second
	pollEvery   = 50 * time.Millisecond
)

// Process is one program under measurement, with its output in a file.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	gone chan struct{} // closed when it has ended
}

// start starts a program. It dies with this one.
func start(dir, name string, env []string, path string, args ...string) (*Process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, cmd: exec.Command(path, args...), log: log, gone: make(chan struct{})} //nolint:noctx // stop ends it, in order
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.gone)
	}()
	return p, nil
}

// until is await for what is to be ready.
func (p *Process) until(ctx context.Context, check func() error) error {
	return p.await(ctx, readyWithin, check)
}

// await polls check; the end of the process and of the time are errors that show the end of its log.
func (p *Process) await(ctx context.Context, within time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pollEvery):
			continue
		case <-p.gone:
			err = errors.New("it ended")
		case <-ctx.Done():
		}
		b, _ := os.ReadFile(p.log.Name())
		lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
		return fmt.Errorf("%s: %w\n%s", p.name, err, bytes.Join(lines[max(0, len(lines)-8):], []byte("\n")))
	}
}

// stop asks the process to end and sees to it.
func (p *Process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.gone:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
	p.log.Close()
}

// collect has a program of the benchmark collect its garbage, which it says in its log when it is done.
func (p *Process) collect(ctx context.Context) error {
	said := func() int {
		b, _ := os.ReadFile(p.log.Name())
		return bytes.Count(b, []byte("collected\n"))
	}
	before := said()
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return p.until(ctx, func() error {
		if said() == before {
			return errors.New("it does not say that it has collected its garbage")
		}
		return nil
	})
}

// cpu is the processor time used so far, user and system, in nanoseconds: the clock of another process, whose number is made of its
// id (clock_getcpuclockid(3)). /proc/PID/stat counts in steps of 10 ms.
func (p *Process) cpu() (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduler), &ts); err != nil {
		return 0, fmt.Errorf("%s: its processor time: %w", p.name, err)
	}
	return time.Duration(ts.Nano()), nil
}

// anonymous is the resident memory that is not backed by files, bytes: heap and stacks.
func (p *Process) anonymous() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kb * 1024, err
		}
	}
	return 0, errors.New("there is no RssAnon in /proc/PID/status")
}
