package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/millracehq/millrace/e2e/faults/internal/plan"
)

const usage = `Usage: faults [flags]

Starts two gateways, two backends and Redis, breaks them by a plan, and checks what became of every publication.
Exits 0 when every promise was kept, 1 when one was broken, 2 when it could not run.

  --seed N           of the plan (default: one of the clock, which is printed)
  --minutes M        of faults, all modes together (default 20)
  --faults N         at least so many, all modes together (default 10 a minute); a tenth more is planned
  --redis MODE       single, sentinel, or both: half of the time each (default both)
  --plan             print the plan and exit

  --rate N           publications a second (default 300)
  --echo N           channels behind the backends (default 24)
  --direct N         channels straight to the subscribers (default 12)
  --subscribers N    each subscribed to all channels (default 4)
  --fsync POLICY     appendfsync of Redis: always, everysec (default always)
  --bin DIR          where gateway and backend are (default bin)
  --dir DIR          for logs and data (default: a new one, kept when a promise was broken)
  --keep             keep that directory in any case
  --out FILE         write the verdict as JSON
`

// options are the flags.
type options struct {
	seed          uint64
	minutes       float64
	faults        int
	modes         []plan.Mode
	planOnly      bool
	rate          float64
	echo, direct  int
	subscribers   int
	fsync         string
	bin, dir, out string
	keep          bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the runner at once, and the kernel its children
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if err == nil && o.planOnly {
		printPlans(stdout, o)
		return 0
	}
	var rep *report
	if err == nil {
		rep, err = breakAndCheck(ctx, o, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "faults: %v\n", err)
		return 2
	}
	rep.write(stdout)
	if o.out != "" {
		if err := writeJSON(o.out, rep); err != nil {
			fmt.Fprintf(stderr, "faults: %v\n", err)
			return 2
		}
	}
	if !rep.Clean {
		return 1
	}
	return 0
}

func parse(args []string) (o options, err error) {
	var mode string
	fs := flag.NewFlagSet("faults", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Uint64Var(&o.seed, "seed", 0, "")
	fs.Float64Var(&o.minutes, "minutes", 20, "")
	fs.IntVar(&o.faults, "faults", 0, "")
	fs.StringVar(&mode, "redis", "both", "")
	fs.BoolVar(&o.planOnly, "plan", false, "")
	fs.Float64Var(&o.rate, "rate", 300, "")
	fs.IntVar(&o.echo, "echo", 24, "")
	fs.IntVar(&o.direct, "direct", 12, "")
	fs.IntVar(&o.subscribers, "subscribers", 4, "")
	fs.StringVar(&o.fsync, "fsync", "always", "")
	fs.StringVar(&o.bin, "bin", "bin", "")
	fs.StringVar(&o.dir, "dir", "", "")
	fs.StringVar(&o.out, "out", "", "")
	fs.BoolVar(&o.keep, "keep", false, "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag (faults --help)", fs.Arg(0))
	}
	switch mode {
	case "both":
		o.modes = []plan.Mode{plan.Single, plan.Sentinel}
	case string(plan.Single), string(plan.Sentinel):
		o.modes = []plan.Mode{plan.Mode(mode)}
	default:
		return o, fmt.Errorf("--redis: %q is none of single, sentinel and both", mode)
	}
	if o.minutes <= 0 || o.rate <= 0 || o.echo < 1 || o.direct < 1 || o.subscribers < 1 || o.faults < 0 {
		return o, errors.New("--minutes, --rate, --echo, --direct and --subscribers must be above zero, and --faults not below it")
	}
	if o.fsync != "always" && o.fsync != "everysec" {
		return o, fmt.Errorf("--fsync: %q is neither always nor everysec", o.fsync)
	}
	if o.faults == 0 {
		o.faults = max(1, int(o.minutes*10))
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	return o, nil
}

// planOf is the plan of one mode: its share of the time and of the faults, and a tenth more in the place of those that may be left out.
func (o options) planOf(mode plan.Mode) (plan.Options, []plan.Fault) {
	n := len(o.modes)
	po := plan.Options{
		Mode: mode, Length: time.Duration(o.minutes * float64(time.Minute) / float64(n)), Faults: (o.faults*11 + 10*n - 1) / (10 * n),
	}
	return po, plan.New(o.seed, po)
}

// again is the command that runs the same plan on the same load.
func (o options) again() string {
	mode := "both"
	if len(o.modes) == 1 {
		mode = string(o.modes[0])
	}
	return fmt.Sprintf("make faults SEED=%d MINUTES=%g FAULTS=%d FAULTARGS='--redis %s --rate %g --echo %d --direct %d --subscribers %d --fsync %s'",
		o.seed, o.minutes, o.faults, mode, o.rate, o.echo, o.direct, o.subscribers, o.fsync)
}

func printPlans(w io.Writer, o options) {
	for _, mode := range o.modes {
		po, faults := o.planOf(mode)
		fmt.Fprintf(w, "%s, seed %d: %d faults in %v\n", mode, o.seed, len(faults), po.Length)
		for _, f := range faults {
			fmt.Fprintf(w, "%9.2fs  #%-4d %s\n", f.At.Seconds(), f.Number, f)
		}
	}
}

// breakAndCheck runs the modes one after the other, each on a system of its own.
func breakAndCheck(ctx context.Context, o options, stderr io.Writer) (*report, error) {
	dir := o.dir
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "millrace-faults-")
	} else {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	rep := &report{Seed: o.seed, Again: o.again(), Clean: true, Dir: dir}
	fmt.Fprintf(stderr, "faults: seed %d; logs in %s\n", o.seed, dir)
	for _, mode := range o.modes {
		if ctx.Err() != nil {
			break
		}
		r := runner{o: o, mode: mode, dir: filepath.Join(dir, string(mode)), stderr: stderr}
		result, err := r.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (logs in %s)", mode, err, r.dir)
		}
		rep.Runs = append(rep.Runs, result)
		rep.Clean = rep.Clean && result.clean()
	}
	if rep.Clean && o.dir == "" && !o.keep {
		rep.Dir = ""
		return rep, os.RemoveAll(dir)
	}
	return rep, writeJSON(filepath.Join(dir, "verdict.json"), rep)
}
