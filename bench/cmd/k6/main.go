// Command k6 does the same work with k6 and with the harness: connections that subscribe and time every delivery of a fixed rate, through
// the gateway. What it compares is the load generators: their memory for each connection and their processor time for each delivery.
// `make bench-k6` runs it; docs/BENCHMARKS.md says what its figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millracehq/millrace/bench/internal/contest"
	"github.com/millracehq/millrace/bench/internal/results"
)

const usage = `Usage: k6 [flags]        in the repository's root

Builds k6 from its Go module (bench/k6) and does the same work with it and with the harness: memory for each connection, processor
time for each delivery. Then the harness alone with as many connections as one process can have. Exits 1 when the harness missed
its target (1 KB a connection), 2 when nothing could be measured.

      --connections N   of the comparison, a multiple of 100 that k6 can hold (default 2000)
      --most N          of the harness alone, a multiple of 100 (default 19000; 0: not at all)
      --seconds N       measured, of each run (default 15)
      --quick           200 and 1000 connections, 3 s: to see that it works
      --out DIR         of the results (default bench/results/DATE-k6, .tmp/bench-k6 with --quick)
`

// options are the flags.
type options struct {
	connections, most, seconds int
	quick                      bool
	out                        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	var r *report
	if err == nil {
		r, err = measure(ctx, o, stderr)
	}
	if err == nil {
		err = r.save(o.out)
	}
	if err != nil {
		fmt.Fprintf(stderr, "k6: %v\n", err)
		return 2
	}
	fmt.Fprintf(stdout, "\n%s\nThe same, and every figure as JSON: %s\n", r.markdown(), o.out)
	if !r.met() {
		return 1
	}
	return 0
}

func parse(args []string) (o options, err error) {
	fs := flag.NewFlagSet("k6", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&o.connections, "connections", 2000, "")
	fs.IntVar(&o.most, "most", 19_000, "")
	fs.IntVar(&o.seconds, "seconds", 15, "")
	fs.BoolVar(&o.quick, "quick", false, "")
	fs.StringVar(&o.out, "out", "", "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag (k6 --help)", fs.Arg(0))
	}
	if o.quick {
		o.connections, o.most, o.seconds = 200, 1000, 3
	}
	if o.connections < 2*few || o.connections%perChannel != 0 || o.most%perChannel != 0 || o.most < 0 || o.seconds < 2 {
		return o, fmt.Errorf("--connections: %d, --most: %d: want multiples of %d, the first at least %d; --seconds: %d, want at least 2",
			o.connections, o.most, perChannel, 2*few, o.seconds)
	}
	if o.out == "" {
		o.out = filepath.Join("bench", "results", time.Now().UTC().Format(time.DateOnly)+"-k6")
		if o.quick {
			o.out = filepath.Join(".tmp", "bench-k6")
		}
	}
	return o, nil
}

// measure makes all runs, each tool with few connections first: what it needs without any is not the cost of one more.
func measure(ctx context.Context, o options, stderr io.Writer) (*report, error) {
	dir, err := os.MkdirTemp("", "bench-k6")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	b := &bench{root: root, dir: dir, bin: filepath.Join(dir, "bin"), seconds: o.seconds}
	fmt.Fprintln(stderr, "k6: building k6, the gateway and the harness …")
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	r := &report{Time: time.Now(), Version: version(ctx), Machine: results.ReadMachine(), Seconds: o.seconds, Rate: perSecond(o.connections)}
	if r.K6, err = b.k6Version(ctx); err != nil {
		return nil, err
	}
	tools := []tool{{name: "k6, a VU a connection", perVU: 1}, {name: "k6, 100 connections a VU", perVU: 100}, {name: "loadtest"}}
	for _, t := range tools {
		for _, n := range []int{few, o.connections} {
			fmt.Fprintf(stderr, "k6: %s · %d connections\n", t.name, n)
			one, err := b.run(ctx, t, n)
			if err != nil {
				return nil, fmt.Errorf("%s, %d connections: %w", t.name, n, err)
			}
			r.Runs = append(r.Runs, one)
		}
	}
	if o.most > 0 {
		fmt.Fprintf(stderr, "k6: loadtest · %d connections\n", o.most)
		one, err := b.run(ctx, tools[2], o.most)
		if err != nil {
			return nil, fmt.Errorf("loadtest, %d connections: %w", o.most, err)
		}
		r.Runs = append(r.Runs, one)
	}
	return r, nil
}

// build builds all programs; only the first build of k6 takes long.
func (b *bench) build(ctx context.Context) error {
	direct, err := contest.Select([]string{"direct"}, nil)
	if err != nil {
		return err
	}
	b.contestant, b.paths = direct[0], contest.Paths{Root: b.root, Bin: b.bin}
	if err := b.contestant.Prepare(ctx, b.paths); err != nil {
		return err
	}
	for _, p := range []struct{ dir, pkg string }{{b.root, "./loadtest/cmd/loadtest"}, {filepath.Join(b.root, "bench", "k6"), "go.k6.io/k6"}} {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-o", b.bin+string(filepath.Separator), p.pkg)
		cmd.Dir = p.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s\nGo modules are fetched through GOPROXY: is it set, and can it be reached?", p.pkg, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func (b *bench) k6Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "k6"), "version").Output()
	return strings.TrimSpace(string(out)), err
}

func version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
