package main

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
)

// process is one program under measurement, with its output in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	gone chan struct{} // closed when it has ended
}

// startProcess starts a program. It dies with this one.
func startProcess(dir, name, path string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(path, args...), log: log, gone: make(chan struct{})} //nolint:noctx // stop ends it, in order
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

// ready waits until check succeeds; a process that ends before is an error with the end of its log.
func (p *process) ready(ctx context.Context, check func() error) error {
	err := waitFor(ctx, 20*time.Second, func() error {
		select {
		case <-p.gone:
			return nil
		default:
			return check()
		}
	})
	select {
	case <-p.gone:
		err = errors.New("it ended")
	default:
	}
	if err != nil {
		return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.tail())
	}
	return nil
}

// tail is the end of the process's log.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log.Name())
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-10):], []byte("\n")))
}

// stop asks the process to end and sees to it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
	p.log.Close()
}

// cpu is the processor time used so far, user and system.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name before may contain anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64) // proc(5): utime is field 14 of all
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick
}

// anonymous is the resident memory that is not backed by files, bytes: heap and stacks.
func (p *process) anonymous() (int64, error) {
	kb, err := p.status("RssAnon:")
	return kb * 1024, err
}

// status is the number in the line of /proc/PID/status that begins with name, in the unit that stands there.
func (p *process) status(name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no %s in /proc/PID/status", name)
}
