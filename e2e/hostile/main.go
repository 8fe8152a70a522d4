package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

const usageText = `Usage: hostile [flags]

Attacks a gateway in every way it knows, one after the other, with a healthy client beside. Exits 0 when that one
was answered within the limit and nothing was left behind, 1 when not, 2 when it could not run.

  --only NAME    attacks whose name contains it; "crowd" is the one of TLS connections
  --half N       connections that never get on (default 3000)
  --crowd N      TLS connections of which memory is measured and under which the certificate is replaced (default 5000)
  --limit D      for the slowest echo (default 250ms)
  --redis URL    (default: an embedded one)
  --bin DIR      where gateway is (default bin)
`

type options struct {
	only, redis, bin string
	exe              string // this program
	limit            time.Duration
	size             size
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "crowd" {
		os.Exit(crowdMain(os.Args[2:], os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == "redis" {
		os.Exit(redisMain(os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		os.Exit(probeMain(os.Args[2:], os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // the deferred stop is for panics
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := options{size: size{some: 200, time: 5 * time.Second}}
	fs := flag.NewFlagSet("hostile", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.only, "only", "", "")
	fs.StringVar(&o.redis, "redis", "", "")
	fs.StringVar(&o.bin, "bin", "bin", "")
	fs.DurationVar(&o.limit, "limit", 250*time.Millisecond, "")
	fs.IntVar(&o.size.half, "half", 3000, "")
	fs.IntVar(&o.size.crowd, "crowd", 5000, "")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, usageText)
		return 0
	}
	var held bool
	if err == nil {
		o.exe, err = os.Executable()
	}
	if err == nil {
		held, err = attackAll(ctx, o, stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "hostile: %v\n", err)
		return 2
	case !held:
		return 1
	}
	return 0
}

// arena is both targets.
type arena struct {
	plain, tls *target
	pair       *issued
}

// newArena starts everything in dir; close ends it.
func newArena(ctx context.Context, o options, dir string) (a *arena, end func() error, err error) {
	ends := []func() error{}
	end = func() (err error) {
		for _, end := range slices.Backward(ends) {
			err = errors.Join(err, end())
		}
		return err
	}
	a = &arena{}
	if o.redis == "" {
		var stop func() error
		if o.redis, stop, err = startRedis(ctx, o.exe); err != nil {
			return nil, end, err
		}
		ends = append(ends, stop)
	}
	if a.pair, err = newIssued(dir); err != nil {
		return nil, end, err
	}
	// With compression, or else nobody inflates a bomb.
	if a.plain, err = startTarget(ctx, "plain", o.exe, o.bin, dir, o.redis, nil, "--compression"); err != nil {
		return nil, end, err
	}
	ends = append(ends, a.plain.stop)
	if a.tls, err = startTarget(ctx, "tls", o.exe, o.bin, dir, o.redis, a.pair); err != nil {
		return nil, end, err
	}
	ends = append(ends, a.tls.stop)
	return a, end, nil
}

func attackAll(ctx context.Context, o options, out io.Writer) (held bool, err error) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return false, err
	}
	a, end, err := newArena(ctx, o, dir)
	defer func() {
		err = errors.Join(err, end())
		if held && err == nil {
			_ = os.RemoveAll(dir)
		}
	}()
	if err != nil {
		return false, err
	}
	held = a.run(ctx, o, out)
	return held, nil
}

// settled is how long what an attack has cost may take to be gone: the deadlines of the gateway are 5 s, twice.
const settled = 20 * time.Second

// More than before may be in use: by connections to Redis that come and go, and by pools that are bounded.
const (
	moreDescriptors = 3
	moreGoroutines  = 5
	moreHeap        = 8 << 20
)
