// Command bench measures this gateway beside a bare epoll loop and other servers, all by one load generator and in one run.
// `make bench` runs it; docs/BENCHMARKS.md says what its figures mean.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millracehq/millrace/bench/internal/contest"
	"github.com/millracehq/millrace/bench/internal/results"
)

const usage = `Usage: bench [flags]        in the repository's root

Measures each contestant, one after the other, and that in several rounds: limit, direct, direct-1, direct-jwt, backend,
gorilla, gws, nats, socketio. Exits 1 when a contestant could not be measured to its end, 2 when nothing could be measured.

      --only NAMES        these, separated by commas (default all)
      --skip NAMES        not these; the table says so
      --variant V         one more, direct with something changed; may be repeated: "gogc50: GOGC=50", "six: --loops 6",
                          "before: bin=/tmp/gateway"
      --measure NAMES     only these: deliveries, requests, highest, bursts (default all); connections always are
      --quick             2,000 connections, 3 s a load, one round: to see that everything works, not to compare
      --rounds N          (default 3)
      --connections N     a multiple of the channels, of which there is one for each 100 (default 15000)
      --out DIR           of the results (default bench/results/DATE, .tmp/bench with --quick)
      --render DIR        only make the tables and plots in DIR again, from its run.json
`

// options are the flags.
type options struct {
	quick      bool
	only, skip []string
	measure    measures
	variants   []contest.Contestant
	out        string
	render     string
	size       results.Size
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
	if err == nil && o.render != "" {
		var r *results.Run
		if r, err = results.Read(o.render); err == nil {
			err = r.Save(o.render)
		}
		if err == nil {
			return 0
		}
	}
	var r *results.Run
	if err == nil {
		r, err = measure(ctx, o, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	fmt.Fprintf(stdout, "\n%s\nThe same with plots, and every figure as JSON: %s\n", r.Markdown(), o.out)
	for _, row := range r.Rows {
		if row.Error != "" {
			return 1
		}
	}
	return 0
}

func parse(args []string) (o options, err error) {
	var only, skip, measure string
	var rounds, connections int
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.quick, "quick", false, "")
	fs.StringVar(&only, "only", "", "")
	fs.StringVar(&skip, "skip", "", "")
	fs.StringVar(&measure, "measure", "", "")
	fs.Func("variant", "", func(text string) error {
		c, err := contest.Variant(text)
		o.variants = append(o.variants, c)
		return err
	})
	fs.StringVar(&o.out, "out", "", "")
	fs.StringVar(&o.render, "render", "", "")
	fs.IntVar(&rounds, "rounds", 0, "")
	fs.IntVar(&connections, "connections", 0, "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag (bench --help)", fs.Arg(0))
	}
	names := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	}
	o.only, o.skip, o.measure = names(only), names(skip), names(measure)
	for _, name := range o.measure {
		if !slices.Contains(measureNames, name) {
			return o, fmt.Errorf("--measure: %q is none of %s", name, strings.Join(measureNames, ", "))
		}
	}
	if o.size, err = newSize(o.quick, rounds, connections); err != nil {
		return o, err
	}
	if o.out == "" {
		o.out = filepath.Join("bench", "results", time.Now().UTC().Format(time.DateOnly))
		if o.quick {
			o.out = filepath.Join(".tmp", "bench")
		}
	}
	return o, nil
}

// measure runs all rounds. The results are saved after each contestant: a run that is broken off has what it came to.
func measure(ctx context.Context, o options, stderr io.Writer) (*results.Run, error) {
	chosen, err := contest.Select(o.only, o.skip)
	if err != nil {
		return nil, err
	}
	chosen = append(chosen, o.variants...)
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	paths := contest.Paths{Root: root, Bin: filepath.Join(dir, "bin")}
	fmt.Fprintln(stderr, "bench: building and fetching what is to be measured …")
	for _, c := range chosen {
		if err := c.Prepare(ctx, paths); err != nil {
			return nil, err
		}
	}
	r := &results.Run{Time: time.Now(), Version: version(ctx), Machine: results.ReadMachine(), Size: o.size}
	for _, c := range chosen {
		r.Contestants = append(r.Contestants, results.Entrant{Name: c.Name, About: c.About})
	}
	r.LeftOut = leftOut(chosen)
	total := estimate(o.size, chosen, o.measure)
	fmt.Fprintf(stderr, "bench: %d contestants, %d round(s), about %v. Leave the machine alone meanwhile.\n", len(chosen), o.size.Rounds, total.Round(time.Minute))
	began := time.Now()
	for round := 1; round <= o.size.Rounds; round++ {
		for _, c := range chosen {
			fmt.Fprintf(stderr, "bench: %5s of %v · round %d · %s\n", time.Since(began).Round(time.Second), total.Round(time.Second), round, c.Name)
			s := session{contestant: c, paths: paths, size: o.size, settle: settle, measure: o.measure, progress: stderr}
			row, err := s.run(ctx, dir)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("broken off; what was measured is in %s", o.out)
			}
			row.Contestant, row.Round = c.Name, round
			if err != nil {
				row.Error = err.Error()
				fmt.Fprintf(stderr, "bench: %s: %v\n", c.Name, err)
			}
			r.Rows = append(r.Rows, row)
			if err := r.Save(o.out); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// leftOut names the contestants that were not chosen.
func leftOut(chosen []contest.Contestant) (names []string) {
	in := make(map[string]bool)
	for _, c := range chosen {
		in[c.Name] = true
	}
	for _, c := range contest.All() {
		if !in[c.Name] {
			names = append(names, c.Name)
		}
	}
	return names
}

func version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
