package contest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Launch starts a program that is no contestant, such as a load generator; its output goes to NAME.log in dir, and env is added to the environment.
func Launch(dir, name string, env []string, path string, args ...string) (*Process, error) {
	return start(dir, name, env, path, args...)
}

// CPU is the processor time used so far.
func (p *Process) CPU() (time.Duration, error) { return p.cpu() }

// Anonymous is the resident memory that is not backed by files, bytes.
func (p *Process) Anonymous() (int64, error) { return p.anonymous() }

// Descriptors is how many files and sockets the process has open.
func (p *Process) Descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(entries), err
}

// Await polls check until it holds. The end of the process is an error, as is that of ctx; both show the end of its log.
func (p *Process) Await(ctx context.Context, within time.Duration, check func() error) error {
	return p.await(ctx, within, check)
}

// Wait waits for the process to end by itself and returns its exit code.
func (p *Process) Wait(ctx context.Context) (exit int, err error) {
	select {
	case <-p.gone:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, errors.Join(fmt.Errorf("%s did not end", p.name), ctx.Err())
	}
}

// Output is what the process has written so far.
func (p *Process) Output() ([]byte, error) { return os.ReadFile(p.log.Name()) }

// Stop asks the process to end and sees to it.
func (p *Process) Stop() { p.stop() }
