// Command proof shows that the promise holds on this machine: it starts a real redis-server, a gateway, a backend and the load
// harness as processes of their own, runs the proof scenarios through them, and prints one report. `make proof` runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `Usage: proof [flags]

Starts redis-server, gateway and backend on free ports and measures them with the harness:
  backend  publications through the application, to every subscriber
  direct   publications straight to the channel
  idle     memory and goroutines of connections that do nothing
  storm    all subscribers reset at one moment and back at once
  slow     readers that stop, for each policy of the gateway
  kill     the gateway killed under load and started again: all come back, nothing is lost
  drain    the same with a gateway that sends everybody away first
  multiplex  one connection with 100 channels against 100 connections: what the gateway needs
  polling    clients that ask every 5 s against clients that subscribe: the servers' cost, and how late news are
  soak     the load of the proof for --duration, with a plot of the memory in .tmp/soak.svg
Exits 1 when a target is missed, 2 when it could not measure.

      --quick       2,000 connections for 10 s; latency and memory are shown, but hardly judged
      --only PARTS  of these, separated by commas (default backend,direct,idle)
      --duration D  of soak (default 30m)
      --pairs N     of slow: how often each policy is compared with a run in which nobody stops (default 3)
      --rate N      publications a second of backend and direct, each to 100 subscribers (default 200; 100 with --quick)
      --profile DIR of backend and direct: profiles of the gateway under the load
      --bin DIR     where gateway, backend and loadtest are (default bin)
      --json FILE   write the report as JSON (default .tmp/proof.json; empty: none)
  -v                show what the harness prints
`

// options are the flags.
type options struct {
	quick    bool
	parts    []string
	pairs    int
	duration time.Duration
	rate     float64
	profile  string
	bin      string
	json     string
	verbose  io.Writer
}

// profileDir is where the profiles of a part go, "" when there are to be none.
func (o options) profileDir(part string) string {
	if o.profile == "" {
		return ""
	}
	return filepath.Join(o.profile, part)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	var rep *report
	if err == nil {
		rep, err = prove(ctx, o, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "proof: %v\n", err)
		return 2
	}
	rep.write(stdout)
	for _, t := range rep.Traffic {
		if dir := o.profileDir(t.Path); dir != "" {
			guide(stdout, dir)
		}
	}
	if o.json != "" {
		if err := rep.writeJSON(o.json); err != nil {
			fmt.Fprintf(stderr, "proof: %v\n", err)
			return 2
		}
		fmt.Fprintf(stdout, "\nThe same as JSON: %s\n", o.json)
	}
	if len(rep.Missed) > 0 {
		return 1
	}
	return 0
}

// allParts are what can be measured.
var allParts = []string{"backend", "direct", "idle", "storm", "slow", "kill", "drain", "multiplex", "polling", "soak"}

func parse(args []string, stderr io.Writer) (o options, err error) {
	var only string
	var verbose bool
	fs := flag.NewFlagSet("proof", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.quick, "quick", false, "")
	fs.StringVar(&only, "only", "backend,direct,idle", "")
	fs.DurationVar(&o.duration, "duration", 30*time.Minute, "")
	fs.IntVar(&o.pairs, "pairs", 3, "")
	fs.Float64Var(&o.rate, "rate", 0, "")
	fs.StringVar(&o.profile, "profile", "", "")
	fs.StringVar(&o.bin, "bin", "bin", "")
	fs.StringVar(&o.json, "json", filepath.Join(".tmp", "proof.json"), "")
	fs.BoolVar(&verbose, "v", false, "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag (proof --help)", fs.Arg(0))
	}
	o.parts = strings.Split(only, ",")
	for _, p := range o.parts {
		if !slices.Contains(allParts, p) {
			return o, fmt.Errorf("--only: %q is none of %s", p, strings.Join(allParts, ", "))
		}
	}
	if o.pairs < 1 {
		return o, fmt.Errorf("--pairs: %d, want at least 1", o.pairs)
	}
	if o.rate < 0 {
		return o, fmt.Errorf("--rate: %g, want more than 0", o.rate)
	}
	if verbose {
		o.verbose = stderr
	}
	return o, nil
}

// prove measures the parts one after the other, each on processes of its own.
func prove(ctx context.Context, o options, stderr io.Writer) (*report, error) {
	dir, err := os.MkdirTemp("", "proof")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	rep := newReport(o)
	for _, part := range o.parts {
		fmt.Fprintf(stderr, "proof: measuring %s …\n", part)
		b := bench{options: o, dir: dir, size: rep.Size}
		switch part {
		case "idle":
			rep.Idle, err = b.idle(ctx)
		case "storm":
			rep.Storms, err = b.storms(ctx)
		case "slow":
			rep.Slow, err = b.slow(ctx)
		case "kill", "drain":
			var s *storm
			if s, err = b.ended(ctx, part); err == nil {
				rep.Ended = append(rep.Ended, s)
			}
		case "multiplex":
			rep.Multiplex, err = b.multiplex(ctx)
		case "polling":
			rep.Polling, err = b.polling(ctx)
		case "soak":
			rep.Soak, err = b.soak(ctx)
		default:
			var t *traffic
			if t, err = b.traffic(ctx, part); err == nil {
				rep.Traffic = append(rep.Traffic, t)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
	}
	rep.judge()
	return rep, nil
}

func (rep *report) writeJSON(file string) error {
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(file, string(b)+"\n")
}

func writeFile(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// waitFor tries f until it succeeds or the time is over.
func waitFor(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
