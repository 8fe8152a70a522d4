package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/millracehq/millrace/e2e/internal/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main. Exit codes: 0 all cases passed, 1 some did not, 2 it could not run.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.SetOutput(stderr)
	binary := fs.String("gateway", "bin/gateway", "the gateway's `FILE`")
	only := fs.String("only", "", "run the cases that have `TEXT` in group and name")
	skip := fs.String("skip", "", "leave out those that have `TEXT`")
	list := fs.Bool("list", false, "print the cases and exit")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	s := newSuite()
	s.keep(*only, *skip)
	if *list {
		for _, c := range s.all {
			_, _ = fmt.Fprintf(stdout, "%s: %s\n", c.group, c.name)
		}
		return 0
	}
	r, err := rig.New()
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "conformance: %v\n", err)
		return 2
	}
	code := s.test(ctx, r, *binary, stdout, stderr)
	if err := r.Stop(); err != nil {
		_, _ = fmt.Fprintf(stderr, "conformance: %v\n", err)
		return max(code, 1)
	}
	return code
}

const namespaces = "namespaces:\n  direct: {publish: direct}\n  raw: {publish: direct, compress: false}\n"

// test runs the cases against gateways of r.
func (s *suite) test(ctx context.Context, r *rig.Rig, binary string, stdout, stderr io.Writer) (code int) {
	compressing, err := r.Start(ctx, binary, namespaces, "--compression")
	if err == nil {
		var plain rig.Gateway
		if plain, err = r.Start(ctx, binary, namespaces, "--origins", "https://app.example,https://*.apps.example"); err == nil {
			if report(stdout, s.run(gateways{compressing.Addr, plain.Addr})) > 0 {
				return 1
			}
			return 0
		}
	}
	_, _ = fmt.Fprintf(stderr, "conformance: %v\n", err)
	return 2
}

// keep leaves the cases that have only in group and name, and not skip, where that is not empty.
func (s *suite) keep(only, skip string) {
	kept := s.all[:0]
	for _, c := range s.all {
		if name := c.group + ": " + c.name; strings.Contains(name, only) && (skip == "" || !strings.Contains(name, skip)) {
			kept = append(kept, c)
		}
	}
	s.all = kept
}

// report prints a table by group and each failure, and returns how many there are.
func report(w io.Writer, results []result) (failed int) {
	type line struct {
		group          string
		passed, failed int
	}
	var lines []line
	for _, r := range results {
		if len(lines) == 0 || lines[len(lines)-1].group != r.group {
			lines = append(lines, line{group: r.group})
		}
		if l := &lines[len(lines)-1]; r.err == nil {
			l.passed++
		} else {
			l.failed++
			_, _ = fmt.Fprintf(w, "FAIL  %s: %s\n      %v\n", r.group, r.name, r.err)
		}
	}
	all := line{group: "all"}
	for _, l := range lines {
		all.passed += l.passed
		all.failed += l.failed
	}
	_, _ = fmt.Fprintf(w, "%-16s %7s %7s\n", "group", "passed", "failed")
	for _, l := range append(lines, all) {
		_, _ = fmt.Fprintf(w, "%-16s %7d %7d\n", l.group, l.passed, l.failed)
	}
	return all.failed
}
