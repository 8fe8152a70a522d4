// Command loadtest runs load scenarios against a millrace.v1 server and judges them, with k6's habits. `loadtest --help` says
// how; loadtest/README.md says more.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/millracehq/millrace/loadtest"
)

// version is set by the linker.
var version = "dev"

const usage = `Load scenarios for millrace.v1 servers: delivery to every subscriber, timed and accounted for.

Usage:
  loadtest run [flags] SCENARIO      run a scenario and judge it
  loadtest inspect [flags] SCENARIO  check a scenario, print it with all defaults and what it needs
  loadtest archive [flags] SCENARIO  put it and its -e variables into archive.tar (-O FILE), which run takes too
  loadtest new [FILE]                write a scenario to start from (to standard output, or to a new file)
  loadtest agent [--listen ADDR]     do shares of the runs of others (run --agents)
  loadtest version

SCENARIO is a file, or the name of one that comes with the program:
  %s

` + "`loadtest run --help`" + ` lists the flags. Exit codes, as k6's where it has them:
    0  passed
   99  a threshold was crossed, or the evidence is missing (no samples, too few connections)
  104  the scenario or a flag is not valid
  105  interrupted
  107  the run could not start (limits, addresses)
  109  a fault of this program
  111  nothing was crossed, but the generator itself was the limit: no verdict
  112  nothing was crossed for certain, but a threshold is inconclusive: run longer, or again
  113  an agent was lost: no verdict
  255  there is no such file
`

func main() { os.Exit(guarded()) }

// guarded is the whole program; a panic of its own ends it as k6's does.
func guarded() (exit int) {
	defer func() {
		if fault := recover(); fault != nil {
			fmt.Fprintf(os.Stderr, "loadtest: a fault of this program: %v\n%s", fault, debug.Stack())
			exit = loadtest.ExitPanic
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return program{stdout: os.Stdout, stderr: os.Stderr}.main(ctx, os.Args[1:])
}

// program is the command with what it writes to.
type program struct {
	stdout, stderr io.Writer
}

func (p program) main(ctx context.Context, args []string) (exit int) {
	if len(args) == 0 {
		fmt.Fprintf(p.stderr, usage, strings.Join(loadtest.Shipped(), " "))
		return loadtest.ExitConfig
	}
	switch command, args := args[0], args[1:]; command {
	case "run":
		return p.run(ctx, args)
	case "inspect":
		return p.inspect(args)
	case "new":
		return p.new(args)
	case "archive":
		return p.archive(args)
	case "agent":
		return p.agent(ctx, args)
	case "version", "-version", "--version":
		fmt.Fprintln(p.stdout, "loadtest", version)
		return loadtest.ExitOK
	case "help", "-h", "-help", "--help":
		fmt.Fprintf(p.stdout, usage, strings.Join(loadtest.Shipped(), " "))
		return loadtest.ExitOK
	default:
		return p.fail(loadtest.ExitConfig, fmt.Errorf("there is no command %q; there are run, inspect, archive, new, agent and version (loadtest --help)", command))
	}
}

func (p program) fail(exit int, err error) int {
	fmt.Fprintf(p.stderr, "loadtest: %v\n", err)
	return exit
}

func (p program) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
}

// exitOf is the exit code for an error of loadtest.Run.
func exitOf(err error) int {
	if errors.Is(err, loadtest.ErrConfig) {
		return loadtest.ExitConfig
	}
	if errors.Is(err, loadtest.ErrAgent) {
		return loadtest.ExitAgent
	}
	return loadtest.ExitStart
}
